"""The timeline's cells: how fast each row was written in each span of time. No drawing here.

A row is a part of one mapping (``PartRows``) or a whole mapping (``MappingRows``). Columns are spans of equal
length, cut at round clock times, so that the picture stands still but for one new column now and then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Protocol

from memtop.linux.runs import runs_bin, runs_count, runs_pages, runs_within
from memtop.model.coverage import Coverage
from memtop.model.layout import PAGE
from memtop.model.mapping import Mapping
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

    def pages(self, kept: Kept) -> Pages:
        """Written in the span of one kept sample, per row."""
        ...


@dataclass(frozen=True)
class _Cells:
    start: int
    cell_pages: int
    cells: int


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
        self._mapping = mapping
        self._cells = _Cells(mapping.start, pages, -(-mapping.pages // pages))
        self.row_bytes = pages * PAGE
        self.labels = tuple(f"{mapping.start + i * self.row_bytes:x}" for i in range(self._cells.cells))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartRows) and (self._mapping.id, self._cells) == (
            other._mapping.id,
            other._cells,
        )

    __hash__ = None  # type: ignore[assignment]

    def pages(self, kept: Kept) -> Pages:
        """Written per part."""
        index = kept.sample.table.index_of(self._mapping.id)
        if index is None or not kept.tracked or not Coverage(kept.sample.coverage[index]).tracked:
            return (None,) * self._cells.cells
        # The last row may end behind the mapping.
        here = runs_within(kept.runs, self._mapping.start, self._mapping.end)
        return tuple(memoryview(runs_bin(here, self._cells)).cast("I"))


class MappingRows:
    """The mappings that were written most, in the order of their addresses.

    Args:
        kept: the samples that decide which.
        rows: how many there is room for.
    """

    row_bytes = 0

    def __init__(self, kept: Sequence[Kept], rows: int) -> None:
        total: Counter[int] = Counter()
        last: dict[int, Mapping] = {}
        table, ids = None, []
        for each in kept:
            if each.sample.table is not table:
                table = each.sample.table
                # Neighbours mostly share it, and an array makes a number at each look.
                ids = table.ids.tolist()
            total.update(written_of(each, ids))
        for mapping_id, _ in sorted(total.items(), key=lambda item: (-item[1], item[0])):
            index = None if table is None else table.index_of(mapping_id)
            if table is not None and index is not None:
                last[mapping_id] = table[index]
            if len(last) == rows:
                break
        self.mappings = sorted(last.values(), key=lambda m: m.start)
        self.labels = tuple(f"{m.start:x} {short_title(m)}" for m in self.mappings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MappingRows) and [m.id for m in self.mappings] == [
            m.id for m in other.mappings
        ]

    __hash__ = None  # type: ignore[assignment]

    def pages(self, kept: Kept) -> Pages:
        """Written per mapping."""
        table = kept.sample.table
        answer: list[int | None] = []
        for m in self.mappings:
            index = table.index_of(m.id) if kept.tracked else None
            if index is None or not Coverage(kept.sample.coverage[index]).tracked:
                answer.append(None)
            else:
                answer.append(runs_pages(runs_within(kept.runs, *table.range_of(index))))
        return tuple(answer)


def written_of(kept: Kept, ids: Sequence[int]) -> dict[int, int]:
    """Pages per mapping, those that were written only.

    Args:
        ids: of all mappings of the sample.
    """
    if not kept.runs:
        return {}
    pages = runs_count(kept.runs, kept.sample.table)
    return dict(zip(compress(ids, pages), filter(None, pages), strict=True))


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
