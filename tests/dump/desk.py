"""A screen without a screen: a sampler that ticks, and dumps beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import PATIENCE

from memtop.dump.background import Dumps, Outcome
from memtop.dump.job import Job
from memtop.linux.features import probe_kernel
from memtop.model.actions import Care, Method, Notice
from memtop.model.sample import Sample
from memtop.sampler.loop import Sampler
from memtop.sampler.target import open_target


class Desk:
    """A sampler that ticks, and what makes dumps beside it."""

    def __init__(self, pid: int, interval: float = 0.1, method: Method = Method.WRITE_PROTECT) -> None:
        target = open_target(pid, probe_kernel(), care=Care(max_cost=0))  # a busy machine stretches no tick
        self.key = target.key
        self.samples: list[Sample] = []
        self.notices: list[Notice] = []
        self.sampler = Sampler([target], interval)
        if method is not Method.OFF:
            target.arm(method)
        self.sampler.start(self.samples.append, self.notices.append)
        self.dumps = Dumps(self.sampler)
        self.moved = threading.Event()

    def start(self, path: Path, *, on_move: Callable[[], None] | None = None, **options: Any) -> Waiting:
        over = Waiting()
        self.dumps.start(self.key, "it", Job(str(path), **options), on_move or self.moved.set, over.tell)
        return over

    def make(self, path: Path, **options: Any) -> Outcome:
        return self.start(path, **options).outcome()

    def close(self) -> None:
        self.dumps.close()
        self.sampler.stop()


class Waiting:
    def __init__(self) -> None:
        self._over = threading.Event()
        self._outcome: Outcome | None = None

    def tell(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._over.set()

    def outcome(self) -> Outcome:
        assert self._over.wait(PATIENCE)
        assert self._outcome is not None
        return self._outcome
