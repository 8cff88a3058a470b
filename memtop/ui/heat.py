"""The timeline's cells: how fast each row was written in each span of time. No drawing here.

A row is a part of one mapping (``PartRows``) or a whole mapping (``MappingRows``). Columns are spans of equal
length, cut at round clock times, so that the picture stands still but for one new column now and then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import groupby
from typing import Protocol

from memtop.linux.columns import nonzero
from memtop.linux.runs import runs_count, runs_counts
from memtop.model.layout import MAPPING, PAGE
from memtop.model.mapping import Mapping, MappingTable
from memtop.sampler.past import Kept
from memtop.ui.ages import Age
from memtop.ui.columns import short_title

STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
"""Seconds that a column may stand for."""

LEVELS = (Age.EARLIER, Age.MINUTE, Age.SECONDS, Age.NOW)
"""From the slowest rate to the fastest; each starts at four times the rate of the one before."""

Pages = tuple[int | None, ...]
"""Pages written per row; None: not tracked then, or not there."""


class Rows(Protocol):
    """What the rows of a timeline stand for."""

    @property
    def labels(self) -> Sequence[str]:
        """One per row."""
        ...

    def pages(self, kept: Sequence[Kept]) -> list[Pages]:
        """Written in the span of each kept sample, per row."""
        ...


class PartRows:
    """One mapping cut into equal parts.

    Args:
        mapping: which.
        rows: how many there is room for.
    """

    def __init__(self, mapping: Mapping, rows: int) -> None:
        pages = -(-mapping.pages // rows)
        nice = 1 << max(pages.bit_length() - 4, 0)  # round addresses, and the room is used all the same
        pages = -(-pages // nice) * nice
        self.row_bytes = pages * PAGE
        self._id = mapping.id
        starts = range(mapping.start, mapping.end, self.row_bytes)
        # The last part ends with the mapping: what is behind it is another one's.
        self._parts = b"".join(_range(start, min(start + self.row_bytes, mapping.end)) for start in starts)
        self.labels = tuple(f"{start:x}" for start in starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartRows) and (self._id, self._parts) == (other._id, other._parts)

    __hash__ = None  # type: ignore[assignment]

    def pages(self, kept: Sequence[Kept]) -> list[Pages]:
        """Written per part."""
        answer: list[Pages] = []
        for each, pages in zip(kept, runs_counts([each.runs for each in kept], self._parts), strict=True):
            index = each.sample.table.index_of(self._id)
            known = index is not None and each.follows(index)
            answer.append(tuple(pages) if known else (None,) * len(pages))
        return answer


class MappingRows:
    """The mappings that were written most, in the order of their addresses.

    Args:
        kept: the samples that decide which.
        rows: how many there is room for.
    """

    row_bytes = 0

    def __init__(self, kept: Sequence[Kept], rows: int) -> None:
        total: Counter[int] = Counter()
        table = MappingTable()
        for table, those in groupby(kept, lambda each: each.sample.table):  # neighbours mostly share it
            pages = runs_count([each.runs for each in those], table)
            total.update({table.ids[index]: pages[index] for index in nonzero(pages)})
        there = total.keys() & set(table.ids)
        most = nlargest(rows, there, key=lambda mapping: (total[mapping], -mapping))
        found = sorted(index for mapping in most if (index := table.index_of(mapping)) is not None)
        self.mappings = [table[index] for index in found]
        self.labels = tuple(f"{m.start:x} {short_title(m)}" for m in self.mappings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MappingRows) and [m.id for m in self.mappings] == [
            m.id for m in other.mappings
        ]

    __hash__ = None  # type: ignore[assignment]

    def pages(self, kept: Sequence[Kept]) -> list[Pages]:
        """Written per mapping."""
        answer: list[Pages] = []
        for table, group in groupby(kept, lambda each: each.sample.table):
            those = list(group)
            places = [table.index_of(m.id) for m in self.mappings]
            there = sorted(index for index in places if index is not None)
            ranges = b"".join(_range(*table.range_of(index)) for index in there)
            rows = {index: row for row, index in enumerate(there)}
            for each, pages in zip(those, runs_counts([each.runs for each in those], ranges), strict=True):
                answer.append(
                    tuple(
                        pages[rows[index]] if index is not None and each.follows(index) else None
                        for index in places
                    )
                )
        return answer


def _range(start: int, end: int) -> bytes:
    """A record of which only the addresses count."""
    return MAPPING.pack(start, end, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Heat:
    """A timeline.

    Attributes:
        first: unix seconds where the first column begins.
        step: seconds in a column.
        rates: per row and column, bytes a second; None: not known.
    """

    first: float
    step: float
    rates: tuple[tuple[float | None, ...], ...]

    @property
    def most(self) -> float:
        """The fastest rate."""
        return max((rate for row in self.rates for rate in row if rate), default=0.0)

    @property
    def bounds(self) -> tuple[float, ...]:
        """Bytes a second from which on each level above the lowest begins: powers of four."""
        top = float(PAGE)
        while top * 4 <= self.most:
            top *= 4
        return tuple(top / 4**i for i in reversed(range(len(LEVELS) - 1)))

    def cells(self, row: int) -> bytes:
        """One ``Age`` a column, as brightness: blank where nothing is known, a dot for no write."""
        bounds = self.bounds
        return bytes(
            Age.ABSENT
            if rate is None
            else LEVELS[sum(rate >= bound for bound in bounds)]
            if rate
            else Age.RESIDENT
            for rate in self.rates[row]
        )


def step_for(kept: Sequence[Kept], columns: int) -> float:
    """The shortest step with which so many columns show them all, none shorter than the newest interval."""
    span, newest = kept[-1].sample.time - kept[0].since, round(kept[-1].span, 1)
    return next((step for step in STEPS if step * columns >= span and step >= newest), STEPS[-1])


def heat(kept: Sequence[Kept], pages: Sequence[Pages], rows: int, columns: int, step: float) -> Heat:
    """Rates per row and column, from pages per kept sample and row.

    A sample that spans several columns gives each the same rate; several in one column share it by the time
    that they take of it.

    Args:
        kept: oldest first.
        pages: of each of them, per row.
        rows: in each of ``pages``.
        columns: how many there is room for; the last one holds the newest sample.
        step: seconds.
    """
    if not kept:
        return Heat(0.0, step, ((None,) * columns,) * rows)
    last = -(-kept[-1].sample.time // step) * step
    first = last - columns * step
    amount = [[0.0] * columns for _ in range(rows)]
    known = [[0.0] * columns for _ in range(rows)]
    for each, counts in zip(kept, pages, strict=True):
        start, end = max(each.since, first), each.sample.time
        if each.span <= 0 or end <= first:
            continue
        low, high = int((start - first) / step), min(int((end - first) / step), columns - 1)
        for column in range(low, high + 1):
            share = min(end, first + (column + 1) * step) - max(start, first + column * step)
            if share <= 0:
                continue
            for row, count in enumerate(counts):
                if count is not None:
                    known[row][column] += share
                    amount[row][column] += share * count * PAGE / each.span
    rates = tuple(
        tuple(a / k if k else None for a, k in zip(a_row, k_row, strict=True))
        for a_row, k_row in zip(amount, known, strict=True)
    )
    return Heat(first, step, rates)
