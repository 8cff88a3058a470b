"""Samples that come less often than was asked for, so that the cost stays below ``--max-cost``."""

from __future__ import annotations

import logging

from memtop.model.sample import Process
from memtop.sampler import telling
from memtop.sampler.budget import Budget

_log = logging.getLogger(__name__)


class Stretch:
    """Whether a sample of one process came late, and when that is to be said.

    Args:
        budget: what made it wait; stays the caller's.
        bound: share of a processor that sampling may cost.
    """

    def __init__(self, budget: Budget, bound: float) -> None:
        self._budget, self._bound = budget, bound
        self._waiting = self._was_late = self._said = False

    def put_off(self) -> None:
        """The next sample is due and can't be afforded yet."""
        self._waiting = True

    def forget(self) -> None:
        """Another tracker costs something else: what holds of it is said anew."""
        self._said = False

    def taken(self, process: Process, interval: float, *, may_say: bool) -> tuple[bool, str]:
        """A sample is there at last: whether it came late, and a sentence where that is news, else nothing.

        Args:
            process: whose.
            interval: seconds since the sample before.
            may_say: nothing else is to be said with this sample; else it waits for the next.
        """
        late, self._waiting = self._waiting, False
        if late is not self._was_late:
            self._was_late = late
            what = self._why(process, interval) if late else "samples keep their interval again"
            _log.info("%d: %s", process.pid, what)
        if not late or self._said or not may_say:
            return late, ""
        self._said = True
        return late, self._why(process, interval)

    def _why(self, process: Process, interval: float) -> str:
        whom = f"{process.comm} {process.pid}" if self._budget.for_faults else ""
        return telling.stretched(interval, self._bound, whom)
