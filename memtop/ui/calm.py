"""Whether a sample brought anything: where nothing happens the picture stands, and costs no bytes."""

from __future__ import annotations

from itertools import compress

from memtop.model.layout import CountFlag
from memtop.model.sample import Sample
from memtop.ui import packed

CALM_S = 10.0
"""Seconds without anything new, after which a picture may stand: by then nothing is left of the last change
that only time takes away, such as what is said of it, rows of what is gone, and the brightest cells."""

STANDS_S = 60.0
"""Seconds that a picture may stand: its clock is a sign of life, and cells of the last minute grow old."""


_ZERO = int(CountFlag.ZERO)
_NOT_ALWAYS = int(CountFlag.ZERO | CountFlag.NO_GUARD)
"""What only some samples of a tracked mapping count: zero pages and guards."""


class Stirs:
    """Since when nothing has happened to a process, nor to what is known of it.

    Attributes:
        last: unix seconds of the last sample that brought something.
    """

    def __init__(self) -> None:
        self.last = 0.0
        self._before: Sample | None = None
        self._counted: Sample | None = None  # the last one that knows zero pages

    def take(self, now: Sample) -> None:
        """The next sample. What each measures anew does not count: its time, how long it took, its cost."""
        if self._new(now):
            self.last = now.time
        self._before = now

    def _new(self, now: Sample) -> bool:
        before = self._before
        table, its = now.table, None if before is None else before.table
        return (
            before is None
            or its is None
            or bool(now.runs or now.faults.minor_per_s or now.faults.major_per_s)
            or (now.totals, now.life, now.process) != (before.totals, before.life, before.process)
            or (now.message, now.stretched) != (before.message, before.stretched)
            or (now.tracker, now.baseline) != (before.tracker, before.baseline)
            or now.swapped != before.swapped
            or now.coverage != before.coverage
            or (table.packed, table.ids, table.names) != (its.packed, its.ids, its.names)
            or (now.counts != before.counts and self._counts_new(before, now))
        )

    def _counts_new(self, before: Sample, now: Sample) -> bool:
        always = (packed.resident, packed.huge, packed.swapped, packed.resident_maps, _flags)
        if any(column(now) != column(before) for column in always):
            return True
        counted = self._counted
        same = counted is not None and counted.table.ids == now.table.ids
        if counted is None or not same or _knowing(now) >= _knowing(counted):
            self._counted = now
        return _zeros_differ(before, now) or (counted is not None and same and _zeros_differ(counted, now))


def _knowing(sample: Sample) -> int:
    """How many of its mappings have their zero pages counted."""
    return sum(1 for bits in packed.flags(sample) if bits & _ZERO)


def _zeros_differ(one: Sample, other: Sample) -> bool:
    """Of the same mappings, where both know."""
    both = [bool(a & b & _ZERO) for a, b in zip(packed.flags(one), packed.flags(other), strict=True)]
    return any(
        list(compress(column(one), both)) != list(compress(column(other), both))
        for column in (packed.zero, packed.guard)
    )


def _flags(sample: Sample) -> list[int]:
    return [bits & ~_NOT_ALWAYS for bits in packed.flags(sample)]
