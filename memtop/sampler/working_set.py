"""The written working set: how many different pages were written within the last seconds.

A set of pages can't be taken out of a union again, so the time is cut into a few parts, each with the union
of its own; the oldest one leaves as a whole. The span that the answer covers is therefore up to a part longer
than asked for, and is given with it.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from dataclasses import dataclass

from memtop.linux.runs import runs_pages, runs_union
from memtop.model.layout import PAGE
from memtop.model.runs import PageRuns
from memtop.model.sample import Sample

PARTS = 5


@dataclass(frozen=True, slots=True)
class SetSize:
    """Answer of a working set: ``size`` bytes were written at least once within the last ``span`` seconds."""

    size: int
    span: float


class WorkingSet:
    """Takes in every sample of one process.

    Args:
        seconds: how far back it looks.
    """

    def __init__(self, seconds: float) -> None:
        self._part, self._seconds = seconds / PARTS, seconds
        self._forget()

    def _forget(self) -> None:
        self._done: deque[tuple[float, PageRuns]] = deque()  # end of the part, unix seconds
        self._all_done = PageRuns()
        self._now = PageRuns()
        self._since: float | None = None  # begin of the part that grows
        self._first: float | None = None  # begin of all of it

    def copy(self) -> WorkingSet:
        """The same, on its own from now on."""
        twin = copy(self)
        twin._done = self._done.copy()
        return twin

    def add(self, sample: Sample) -> SetSize | None:
        """What the set is by now; None while writes are not tracked."""
        if sample.tracker.name == "off" or sample.baseline or sample.totals.written_pages is None:
            self._forget()
            return None
        if self._since is None or self._first is None:
            self._since = self._first = sample.time - sample.interval
        self._now = runs_union(self._now, sample.runs)
        if sample.time - self._since >= self._part:
            self._done.append((sample.time, self._now))
            self._since, self._now = sample.time, PageRuns()
            while len(self._done) > 1 and self._done[0][0] <= sample.time - self._seconds:
                self._first = self._done.popleft()[0]
            self._all_done = PageRuns()
            for _, runs in self._done:
                self._all_done = runs_union(self._all_done, runs)
        pages = runs_pages(runs_union(self._all_done, self._now))
        return SetSize(pages * PAGE, sample.time - self._first)
