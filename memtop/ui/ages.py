"""Cells of the maps: how long ago each part of a mapping was written, and whether it is resident."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from math import inf, nextafter

from memtop.linux.columns import nonzero
from memtop.linux.runs import runs_count
from memtop.model.layout import MAPPING, PAGE
from memtop.model.mapping import Mapping, MappingTable
from memtop.model.runs import PageRuns
from memtop.model.sample import Watched
from memtop.native import ffi, lib
from memtop.sampler.history import LEAST_CELLS, MOST_CELLS, NEVER, AgeMap, bound, mark, room

SECONDS, MINUTE = 10.0, 60.0
"""Bounds of the ages, seconds."""

BITS = 64
"""Cells of ``resident_map`` and ``written_map``."""


class Age(IntEnum):
    """What a cell shows; ordered by brightness."""

    ABSENT = 0
    RESIDENT = 1
    EARLIER = 2
    MINUTE = 3
    SECONDS = 4
    NOW = 5


class Ages:
    """When the parts of every mapping of one process were last written.

    A mapping that was never seen written has no history here, so memory grows with what is written, up to
    ``history.MOST_TOTAL``.
    """

    def __init__(self) -> None:
        self._maps: dict[int, AgeMap] = {}  # that which was not written for longest comes first
        self._ids: array[int] = array("Q")
        self._table: MappingTable | None = None
        self._written: list[int] = []
        self._places: array[int] = array("Q")  # of what was written in the sample before

    def update(self, table: MappingTable, runs: PageRuns, time: float) -> None:
        """Takes in what was written (by unix second ``time``); every sample must pass here, drawn or not."""
        if table.ids != self._ids:
            self._ids, self._table = table.ids, None  # a place may be of a history that goes now
            if self._maps:
                gone = self._maps.keys() - set(self._ids)
                for mapping_id in gone:
                    del self._maps[mapping_id]
        if not runs:
            return
        written = nonzero(runs_count([runs], table))
        if self._table is table and written == self._written:
            mark(runs, self._places, time)
            return
        grown = self._find(table, written)
        mark(runs, self._places, time)
        if grown and bound(self._maps.values()):
            self._table = None  # some are coarser and elsewhere now

    def _find(self, table: MappingTable, written: list[int]) -> bool:
        """Finds or makes the histories of what is written, and puts them last; True: some are larger now."""
        places, left, grown, resized = array("Q"), 0, False, False
        words, step = memoryview(table.packed).cast("Q"), MAPPING.size // 8
        for index in written:
            mapping_id, start, end = self._ids[index], words[index * step], words[index * step + 1]
            age = self._maps.pop(mapping_id, None)
            if age is None:
                left, grown = left if grown else room(self._maps.values()), True
                age = AgeMap(start, end, MOST_CELLS if left > 0 else LEAST_CELLS)
                left -= len(age.times)
            elif age.start != start or age.end != end:
                age.resize(start, end)
                resized = True
            self._maps[mapping_id] = age
            places.extend(age.record)
        self._table, self._written, self._places = table, written, places
        return grown or resized

    def copy(self) -> Ages:
        """The same history, on its own from now on."""
        twin = Ages()
        twin._ids = self._ids
        twin._maps = {mapping_id: age.copy() for mapping_id, age in self._maps.items()}
        return twin

    @property
    def bytes(self) -> int:
        """About how much memory it takes."""
        return sum(8 * len(age.times) + 200 for age in self._maps.values())

    def of(self, mapping: Mapping) -> AgeMap | None:
        """The history of a mapping, fitted to its range in the sample shown; None: never seen written.

        What is kept stays as it is: it may be of a newer sample already, in which the mapping has grown.
        """
        age = self._maps.get(mapping.id)
        if age is None or age.covers(mapping.start, mapping.end):
            return age
        age = age.copy()
        age.resize(mapping.start, mapping.end)
        return age

    def cells(self) -> Iterator[tuple[int, int, array[float]]]:
        """Of every mapping with a history: byte address of its first cell, bytes a cell, and their times."""
        for age in self._maps.values():
            yield age.first * age.cell_bytes, age.cell_bytes, age.times


def classify(times: Sequence[float], resident: Sequence[int], now: float, mark: float | None = None) -> bytes:
    """One ``Age`` a cell.

    Args:
        times: unix seconds of the last write, or NEVER.
        resident: pages, or whether any.
        now: unix seconds of the sample: a cell written in it is NOW.
        mark: a marked moment: what was written since is SECONDS, what was written before EARLIER.
    """
    recent = now - SECONDS if mark is None else nextafter(mark, inf)
    later = now - MINUTE if mark is None else inf
    ages = bytearray(len(times))
    lib.mt_ages_look(
        ffi.from_buffer("double[]", array("d", times)),
        ffi.from_buffer("uint32_t[]", array("I", resident)),
        len(times),
        now,
        recent,
        later,
        ffi.from_buffer("uint8_t[]", ages),
    )
    return bytes(ages)


@lru_cache(maxsize=4096)
def _masks(pages: int, columns: int) -> tuple[int, ...]:
    """Per column, the bits of a 64-cell map that lie in it, wholly or partly."""
    cell = -(-pages // BITS)
    masks = []
    for i in range(columns):
        first = pages * i // columns // cell
        last = -(-pages * (i + 1) // (columns * cell))
        masks.append((1 << last) - (1 << first))
    return tuple(masks)


@lru_cache(maxsize=4096)
def _resident_columns(resident_map: int, pages: int, columns: int) -> tuple[int, ...]:
    return tuple(int(bool(resident_map & mask)) for mask in _masks(pages, columns))


def row_cells(
    mapping: Mapping,
    resident_map: int,
    age: AgeMap | None,
    now: float,
    width: int,
    mark: float | None = None,
) -> bytes:
    """The map of a table row: at most ``width`` cells, never more than the mapping has pages."""
    columns = min(width, mapping.pages)
    resident = _resident_columns(resident_map, mapping.pages, columns)
    if age is None:
        return bytes(resident)  # ABSENT is 0, RESIDENT is 1
    return classify(age.parts(columns), resident, now, mark)


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of the large map of one mapping, or of a window of it.

    Cells hold a power of two of pages and are aligned to absolute addresses, so that they nest with
    those of ``AgeMap``, match huge pages, and stand still when the mapping grows.

    Attributes:
        start, end: of the mapping.
        first: byte address of cell 0; where the window begins with the mapping, at or before ``start``.
        cell_pages: pages in a cell.
        columns, rows: room on the screen.
    """

    start: int
    end: int
    first: int
    cell_pages: int
    columns: int
    rows: int

    @classmethod
    def of(cls, mapping: Mapping, columns: int, rows: int, least_pages: int = 1) -> Grid:
        """The finest grid of at least ``least_pages`` a cell that shows the whole mapping."""
        pages = least_pages
        while True:
            size = pages * PAGE
            if -(-mapping.end // size) - mapping.start // size <= columns * rows:
                return cls(mapping.start, mapping.end, mapping.start // size * size, pages, columns, rows)
            pages *= 2

    @property
    def cell_bytes(self) -> int:
        """Bytes in a cell."""
        return self.cell_pages * PAGE

    @property
    def cells(self) -> int:
        """How many cells show a part of the mapping."""
        return min(-(-(self.end - self.first) // self.cell_bytes), self.room)

    @property
    def last(self) -> bool:
        """The mapping ends in it."""
        return self.first + self.room * self.cell_bytes >= self.end

    @property
    def room(self) -> int:
        """How many cells there is room for."""
        return self.columns * self.rows

    def address(self, cell: int) -> int:
        """Byte address where a cell begins, within the mapping."""
        return max(self.first + cell * self.cell_bytes, self.start)

    def cells_of(self, span: tuple[int, int], row: int) -> range:
        """Which cells of a row hold a part of a range of byte addresses, counted from the row's first."""
        begin = self.first + row * self.columns * self.cell_bytes
        low, high = span[0] - begin, span[1] - begin
        size = self.cell_bytes
        return range(min(max(low // size, 0), self.columns), min(max(-(-high // size), 0), self.columns))

    def shown_by(self, watched: Watched | None, mapping_id: int) -> bool:
        """Whether this range was watched in these very cells."""
        return (
            watched is not None
            and (watched.mapping_id, watched.start, watched.cell_pages)
            == (mapping_id, self.first, self.cell_pages)
            and watched.cells >= self.cells
        )


def grid_cells(
    grid: Grid,
    mapping: Mapping,
    resident_map: int,
    watched: Watched | None,
    age: AgeMap | None,
    now: float,
    mark: float | None = None,
) -> bytes:
    """The large map: one ``Age`` a cell.

    Until the range was watched in fine cells, residency is as coarse as the 64 cells of the row.
    """
    bit = -(-mapping.pages // BITS)

    def coarse(cell: int) -> int:
        first = (grid.address(cell) - grid.start) // PAGE // bit
        last = (min(grid.address(cell + 1), grid.end) - 1 - grid.start) // PAGE // bit
        return int(bool(resident_map >> first & ((2 << last - first) - 1)))

    resident: list[int]
    if grid.shown_by(watched, mapping.id):
        assert watched is not None
        resident = memoryview(watched.resident).cast("I")[: grid.cells].tolist()
        # A cell that the mapping takes only a part of may hold pages of its neighbour.
        if grid.first < grid.start and not coarse(0):
            resident[0] = 0
        if grid.first + grid.cells * grid.cell_bytes > grid.end and not coarse(grid.cells - 1):
            resident[-1] = 0
    else:
        resident = [coarse(cell) for cell in range(grid.cells)]
    times = [NEVER] * grid.cells if age is None else age.latest(grid.first, grid.cell_pages, grid.cells)
    return classify(times, resident, now, mark)
