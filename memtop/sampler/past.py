"""The last ten minutes of one process, within a bound of memory: coarser the longer ago.

Samples stay as they were taken, so that a screen can go back to one. Where there are too many, two neighbours
become one: the later picture stays and takes over what the earlier one saw written. So no written page is
forgotten; what gets lost is only when exactly, within the span that the merged entry then covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memtop.linux.runs import runs_union, runs_without
from memtop.model.coverage import TRACKED
from memtop.model.runs import PageRuns
from memtop.model.sample import Sample

SPAN = 600.0
"""Seconds that are kept."""

BOUND = 64 << 20
"""Bytes of packed records that are kept for one process at most (the newest sample stays in any case)."""

LARGEST = 8
"""A merged sample takes one part in so many of the bound at most; else the oldest one goes."""

MOST = 1200
"""Samples that are kept at most: the screen looks at each of them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One sample, and all that was written since the kept one before it.

    Attributes:
        sample: as it was taken.
        since: unix seconds from which on ``runs`` tells what was written.
        runs: pages written in (since, sample.time], each once; without those of mappings that were gone by
            the time of ``sample``.
        tracked: writes were tracked in all of that span; else ``runs`` says nothing about what was not.
        stands_for: samples that were merged into it, itself included.
    """

    sample: Sample
    since: float
    runs: PageRuns
    tracked: bool
    stands_for: int = 1

    @property
    def span(self) -> float:
        """Seconds that ``runs`` covers."""
        return self.sample.time - self.since

    def follows(self, index: int) -> bool:
        """Whether the writes of this mapping of the sample were tracked in all of the span."""
        return self.tracked and TRACKED[self.sample.coverage[index]]

    @property
    def bytes(self) -> int:
        """What it takes, without the mapping table, which neighbours mostly share."""
        own = 0 if self.runs is self.sample.runs else len(self.runs.packed)
        return own + len(self.sample.runs.packed) + len(self.sample.counts) + len(self.sample.coverage)


class Past:
    """Kept samples, oldest first.

    Args:
        span: seconds.
        bound: bytes.
        most: samples.
    """

    def __init__(self, span: float = SPAN, bound: int = BOUND, most: int = MOST) -> None:
        self._span, self._bound, self._most = span, bound, most
        self._kept: list[Kept] = []
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def kept(self) -> Sequence[Kept]:
        """Oldest first; not to be changed."""
        return self._kept

    def copy(self) -> Past:
        """The same, on its own from now on; the samples are shared."""
        twin = Past(self._span, self._bound, self._most)
        twin._kept, twin.bytes = list(self._kept), self.bytes
        return twin

    def add(self, sample: Sample) -> None:
        """Takes in the newest sample. One that says nothing new (of a process that has ended) is left out."""
        if self._kept and sample.time <= self._kept[-1].sample.time:
            return
        tracked = sample.tracker.name != "off" and not sample.baseline
        runs = sample.runs if tracked else PageRuns()
        # Without a gap by the clock of ``time``: ``interval`` is measured by another one.
        since = self._kept[-1].sample.time if self._kept else sample.time - sample.interval
        self._kept.append(Kept(sample, since, runs, tracked))
        while self._kept[0].sample.time < sample.time - self._span:
            del self._kept[0]
        self.bytes = self._count()
        while len(self._kept) > 2 and (self.bytes > self._bound or len(self._kept) > self._most):
            self._merge(sample.time)
            self.bytes = self._count()

    def _count(self) -> int:
        total, table = 0, None
        for kept in self._kept:
            total += kept.bytes
            if kept.sample.table is not table:
                table = kept.sample.table
                total += len(table.packed) + len(table.names) + 8 * len(table)
        return total

    def _merge(self, now: float) -> None:
        """Merges the pair whose span is the least for its age, never the newest sample."""

        def coarse(i: int) -> float:
            first, second = self._kept[i], self._kept[i + 1]
            return (second.sample.time - first.since) / max(now - second.sample.time, 1e-9)

        at = min(range(len(self._kept) - 2), key=coarse)
        one = merged(*self._kept[at : at + 2])
        if one.bytes > self._bound // LARGEST:  # writes all over the place: merging saves nothing
            del self._kept[0]
        else:
            self._kept[at : at + 2] = [one]


def merged(first: Kept, second: Kept) -> Kept:
    """The second picture with what was written since before the first."""
    runs, before, after = first.runs, first.sample.table, second.sample.table
    if before is not after:
        there = set(after.ids)
        for index, mapping_id in enumerate(before.ids):
            if mapping_id not in there:
                runs = runs_without(runs, *before.range_of(index))
    return Kept(
        second.sample,
        first.since,
        runs_union(runs, second.runs),
        first.tracked and second.tracked,
        first.stands_for + second.stands_for,
    )
