"""When each part of a mapping was last written: the ageing cells of the write map.

Cells are aligned to absolute addresses and hold a power of two of pages, so that a mapping that
grows or shrinks at either end keeps its history; when it outgrows the room, cells merge in pairs.
"""

from __future__ import annotations

from array import array

from memtop.model.layout import PAGE
from memtop.model.runs import PageRuns
from memtop.native import ffi, lib

MOST_CELLS = 8192
"""Cells kept for one mapping at most: 64 KiB of history each."""

NEVER = 0.0
"""The time of a cell that was never seen written."""


class AgeMap:
    """Unix time of the last seen write per cell of one mapping.

    Args:
        start, end: byte addresses of the mapping.
    """

    __slots__ = ("cell_pages", "first", "times")

    def __init__(self, start: int, end: int) -> None:
        self.cell_pages = 1
        while self._cells(start, end) > MOST_CELLS:
            self.cell_pages *= 2
        self.first = start // self.cell_bytes
        self.times = array("d", bytes(8 * self._cells(start, end)))

    def copy(self) -> AgeMap:
        """The same history, on its own from now on."""
        twin = AgeMap.__new__(AgeMap)
        twin.cell_pages, twin.first, twin.times = self.cell_pages, self.first, self.times[:]
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
        while self._cells(start, end) > MOST_CELLS:
            self._halve()
        first, count = start // self.cell_bytes, self._cells(start, end)
        if first == self.first and count == len(self.times):
            return
        times = array("d", bytes(8 * count))
        low, high = max(first, self.first), min(first + count, self.first + len(self.times))
        if low < high:
            times[low - first : high - first] = self.times[low - self.first : high - self.first]
        self.first, self.times = first, times

    def _halve(self) -> None:
        old, first = self.times, self.first
        self.cell_pages *= 2
        self.first = first // 2
        merged = array("d", bytes(8 * (-(-(first + len(old)) // 2) - self.first)))
        for i, time in enumerate(old):
            cell = (first + i) // 2 - self.first
            if time > merged[cell]:
                merged[cell] = time
        self.times = merged

    def update(self, runs: PageRuns, time: float) -> None:
        """Marks the cells of these runs as written at this time (unix seconds)."""
        lib.mt_runs_age(
            ffi.from_buffer("mt_run[]", runs.packed),
            len(runs),
            self.first * self.cell_bytes,
            self.cell_pages,
            time,
            ffi.from_buffer("double[]", self.times),
            len(self.times),
        )

    def latest(self, start: int, cell_pages: int, cells: int) -> list[float]:
        """Last write per cell of another grid: cell i is [start + i * cell_pages * PAGE, …)."""
        answer = []
        size, have = self.cell_bytes, self.times
        for i in range(cells):
            low = (start + i * cell_pages * PAGE) // size - self.first
            high = -(-(start + (i + 1) * cell_pages * PAGE) // size) - self.first
            low, high = max(low, 0), min(high, len(have))
            answer.append(max(have[low:high]) if low < high else NEVER)
        return answer
