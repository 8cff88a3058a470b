"""Where in a file the pages of an address space are: a map from addresses to offsets that only grows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from memtop.linux.vmread import Pieces
from memtop.model.layout import PAGE, PIECE, RUN
from memtop.model.runs import PageRuns


class Extents:
    """Address ranges and the file offset of each; neighbours that go on in the file are one.

    Args:
        at: offset of the first byte that may be given out.
        granule: room is given out in so many bytes, aligned by address.
        gap: ranges that are less than so many bytes apart get the room between them, too.
    """

    def __init__(self, at: int, granule: int = PAGE, gap: int = 0) -> None:
        self.at = at
        self._granule, self._gap = granule, gap
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._offsets: list[int] = []

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """start, end, offset by rising address."""
        return iter(zip(self._starts, self._ends, self._offsets, strict=True))

    def cover(self, runs: PageRuns) -> None:
        """Makes room for all of these pages that have none yet."""
        for start, end in self._widened(runs):
            at = start
            for low, high, _ in list(self.within(start, end)):
                self._add(at, low)
                at = high
            self._add(at, end)

    def _widened(self, runs: PageRuns) -> Iterator[tuple[int, int]]:
        mask, first, last = self._granule - 1, 0, 0
        for start, pages, _ in RUN.iter_unpack(runs.packed):
            low, high = start & ~mask, (start + pages * PAGE + mask) & ~mask
            if last and low - last <= self._gap:
                last = max(last, high)
                continue
            if last:
                yield first, last
            first, last = low, high
        if last:
            yield first, last

    def _add(self, start: int, end: int) -> None:
        if start >= end:
            return
        offset, self.at = self.at, self.at + end - start
        i = bisect_right(self._starts, start)
        if i and self._ends[i - 1] == start and self._offsets[i - 1] + start - self._starts[i - 1] == offset:
            self._ends[i - 1] = end
            return
        self._starts.insert(i, start)
        self._ends.insert(i, end)
        self._offsets.insert(i, offset)

    def within(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The parts of a range that have room: start, end, offset."""
        i = max(bisect_right(self._starts, start) - 1, 0)
        while i < len(self._starts) and self._starts[i] < end:
            low, high = max(self._starts[i], start), min(self._ends[i], end)
            if low < high:
                yield low, high, self._offsets[i] + low - self._starts[i]
            i += 1

    def pieces(self, runs: PageRuns) -> Pieces:
        """Where these pages belong; ones without room are left out."""
        parts, pages = [], 0
        for start, n, _ in RUN.iter_unpack(runs.packed):
            for low, high, offset in self.within(start, start + n * PAGE):
                count = (high - low) // PAGE
                parts.append(PIECE.pack(low, offset, count, 0))
                pages += count
        return Pieces(b"".join(parts), pages)


def page_index(index: Pieces, address: int) -> int:
    """Which page of sorted runs lies at an address; ``index`` is ``Pieces.of_runs``."""
    low, high = 0, len(index)
    while high - low > 1:
        middle = (low + high) // 2
        if PIECE.unpack_from(index.packed, middle * PIECE.size)[0] <= address:
            low = middle
        else:
            high = middle
    start, offset, _, _ = PIECE.unpack_from(index.packed, low * PIECE.size)
    return int((offset + address - start) // PAGE)
