"""The last rounds ahead of others, on a machine with so much to do that memtop waits for a processor.

There a look at 2 GiB takes 50 ms in place of 4, and a copy ten times as long, while the process, with turns
of its own, writes on: what is left for the stop is many times as much, and the stop as long.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from memtop.dump.feed import Written
from memtop.linux.standstill import urgent

MOST = 1 << 15
"""Pages of a round (128 MiB), which take some 40 ms of a processor."""

BUDGET_S = 0.25
"""Seconds of a processor that a dump takes ahead of others, at most."""

LONG_S = 0.02
"""A look that takes so long a time of a processor would be in the way of others itself."""

WAITED = 2.0
"""Times as long as the processor's time: then memtop waits for one."""

PART = 512
"""Pages at a time: so few that copying starts no threads (``native/copy.c``), which would not be ahead."""


class Hurry:
    """Whether it is needed, and no more of it than that.

    Attributes:
        on: this thread is ahead of others, as far as it may (sched(7)).
    """

    def __init__(self) -> None:
        self.on = False
        self._ahead = contextlib.ExitStack()
        self._left = BUDGET_S
        self._since = 0.0
        self._waits = False

    def look(self, take: Callable[[], Written]) -> Written:
        """What was written, and whether asking for it had to wait for a processor."""
        began, used = time.monotonic(), time.thread_time()
        written = take()
        used = time.thread_time() - used
        waited = self.on or time.monotonic() - began > WAITED * used
        self._waits = waited and used < LONG_S
        return written

    def before(self, pages: int) -> None:
        """A round of so many pages comes."""
        if not self._waits or pages > MOST:
            self.end()
        elif not self.on and self._left > 0:
            self._ahead.enter_context(urgent())
            self.on, self._since = True, time.thread_time()

    def check(self) -> None:
        """Ends it when it has had its time."""
        if self.on and time.thread_time() - self._since > self._left:
            self.end()

    def end(self) -> None:
        """This thread is like others again. Idempotent."""
        if self.on:
            self._ahead.close()
            self.on = False
            self._left -= time.thread_time() - self._since
