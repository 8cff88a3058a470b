"""When each part of a mapping was last written: the ageing cells of the write map.

Cells are aligned to absolute addresses and hold a power of two of pages, so that a mapping that
grows or shrinks at either end keeps its history; when it outgrows the room, cells merge in pairs. All
histories of a process together are bounded too: those of the mappings that were not written for longest
become coarser first.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection

from memtop.model.layout import PAGE
from memtop.model.runs import PageRuns
from memtop.native import ffi, lib

MOST_CELLS = 8192
"""Cells kept for one mapping at most: 64 KiB of history each."""

LEAST_CELLS = 64
"""Cells that a mapping keeps however many there are: as many as a table row has."""

MOST_TOTAL = 4 << 20
"""Cells of all mappings of a process together: 32 MiB. ``LEAST_CELLS`` for each of the 65 530 mappings that a
process may have by default fit."""

NEVER = 0.0
"""The time of a cell that was never seen written."""


class AgeMap:
    """Unix time of the last seen write per cell of one mapping.

    Args:
        start, end: byte addresses of the mapping.
        most: cells to begin with.

    Attributes:
        record: what C has to know of it (``mt_ages``).
    """

    __slots__ = ("cell_pages", "end", "first", "record", "start", "times")

    def __init__(self, start: int, end: int, most: int = MOST_CELLS) -> None:
        self.cell_pages = 1
        while self._cells(start, end) > most:
            self.cell_pages *= 2
        self.start, self.end = start, end
        self._keep(start // self.cell_bytes, array("d", bytes(8 * self._cells(start, end))))

    def _keep(self, first: int, times: array[float]) -> None:
        """Another history is another array: this one never becomes longer, for C knows where it is."""
        self.first, self.times = first, times
        self._note()

    def _note(self) -> None:
        address, cells = self.times.buffer_info()
        self.record = self.start, self.end, self.first * self.cell_bytes, self.cell_pages, address, cells

    def copy(self) -> AgeMap:
        """The same history, on its own from now on."""
        twin = AgeMap.__new__(AgeMap)
        twin.cell_pages, twin.start, twin.end = self.cell_pages, self.start, self.end
        twin._keep(self.first, self.times[:])
        return twin

    @property
    def cell_bytes(self) -> int:
        """Bytes in a cell."""
        return self.cell_pages * PAGE

    def _cells(self, start: int, end: int) -> int:
        return -(-end // self.cell_bytes) - start // self.cell_bytes

    def covers(self, start: int, end: int) -> bool:
        """Whether it is fitted to [start, end)."""
        return start // self.cell_bytes == self.first and self._cells(start, end) == len(self.times)

    def resize(self, start: int, end: int) -> None:
        """Follows a mapping that is now [start, end); what it lost is forgotten."""
        self.start, self.end = start, end
        while self._cells(start, end) > MOST_CELLS:
            self._merge(2)
        first, count = start // self.cell_bytes, self._cells(start, end)
        if first == self.first and count == len(self.times):
            self._note()
            return
        times = array("d", bytes(8 * count))
        low, high = max(first, self.first), min(first + count, self.first + len(self.times))
        if low < high:
            times[low - first : high - first] = self.times[low - self.first : high - self.first]
        self._keep(first, times)

    def coarsen(self, most: int = LEAST_CELLS) -> None:
        """Merges cells until there are at most so many."""
        factor = 1
        while -(-(self.first + len(self.times)) // factor) - self.first // factor > most:
            factor *= 2
        if factor > 1:
            self._merge(factor)

    def _merge(self, factor: int) -> None:
        before = self.first % factor
        old = array("d", bytes(8 * before)) + self.times
        self.cell_pages *= factor
        times = array("d", (max(old[i : i + factor]) for i in range(0, len(old), factor)))
        self._keep(self.first // factor, times)

    def update(self, runs: PageRuns, time: float) -> None:
        """Marks the cells of these runs as written at this time (unix seconds)."""
        mark(runs, array("Q", self.record), time)

    def latest(self, start: int, cell_pages: int, cells: int) -> list[float]:
        """Last write per cell of another grid: cell i is [start + i * cell_pages * PAGE, …)."""
        return latest(
            self.times, start - self.first * self.cell_bytes, cell_pages * PAGE, self.cell_bytes, cells
        )

    def parts(self, count: int) -> list[float]:
        """Last write in each of so many equal parts."""
        return latest(self.times, 0, len(self.times), count, count, whole=False)


def latest(
    times: array[float], first: int, step: int, cell: int, cells: int, *, whole: bool = True
) -> list[float]:
    """Last write per cell of another grid; see ``mt_ages_latest``."""
    answer = array("d", bytes(8 * cells))
    lib.mt_ages_latest(
        ffi.from_buffer("double[]", times), len(times), first, step, cell, whole,
        ffi.from_buffer("double[]", answer), cells,
    )  # fmt: skip
    return answer.tolist()


def mark(runs: PageRuns, maps: array[int], time: float) -> None:
    """Marks what was written in many mappings, in one call.

    Args:
        runs: sorted; they may cross mappings.
        maps: the ``record`` of each, in the order of the addresses; they must live until this returns.
        time: unix seconds.
    """
    lib.mt_runs_age(
        ffi.from_buffer("mt_run[]", runs.packed),
        len(runs),
        ffi.from_buffer("mt_ages[]", maps),
        len(maps) // 6,
        time,
    )


def room(ages: Collection[AgeMap]) -> int:
    """Cells that are left for the histories of further mappings; 0 or less: none."""
    return MOST_TOTAL - sum(len(age.times) for age in ages)


def bound(ages: Collection[AgeMap]) -> bool:
    """Where all together have more than ``MOST_TOTAL`` cells, makes some coarser until a quarter is free.

    Args:
        ages: those of all mappings of a process; the first ones become coarser first.

    Returns:
        Whether it did.
    """
    left = room(ages)
    if left >= 0:
        return False
    for age in ages:
        before = len(age.times)
        age.coarsen()
        left += before - len(age.times)
        if left >= MOST_TOTAL // 4:
            break
    return True
