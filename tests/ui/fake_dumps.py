"""Dumps that touch nothing: what was asked for is kept, and ends when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from memtop.dump.background import Dumps, Outcome, Underway
from memtop.dump.job import Job
from memtop.linux.errors import Failed
from memtop.sampler.source import Key


class FakeDumps(Dumps):
    """Keeps what was asked for.

    Attributes:
        started: process and job of every dump.
    """

    def __init__(self) -> None:
        self.busy, self.last, self.speed, self.overhead = None, None, None, None
        self.snapshots: dict[Key, str] = {}
        self.started: list[tuple[Key, Job]] = []
        self._over: Callable[[Outcome], None] = lambda outcome: None

    def start(
        self, key: Key, title: str, job: Job, moved: Callable[[], None], over: Callable[[Outcome], None]
    ) -> None:
        if self.busy is not None:
            raise Failed("a dump is under way")
        self.started.append((key, job))
        self.busy, self._over = Underway(key, title, job, 0.0, 0.0), over

    def cancel(self) -> None:
        self.end(cancelled=True)

    def end(self, **said: Any) -> None:
        """The dump that runs is over."""
        if (busy := self.busy) is not None:
            self.busy = None
            self._over(Outcome(busy.key, busy.title, busy.job, **said))

    @staticmethod
    def free(path: str) -> int | None:
        return None if "/" in path else 12 << 30

    @staticmethod
    def core_filter(pid: int) -> int:
        return 0x33

    def continues(self, key: Key, parent: str) -> bool:
        return False
