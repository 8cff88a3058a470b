"""Contents of pages as zstd frames, appended to a file one after another."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from memtop.dump.extents import page_index
from memtop.dump.files import clear, write_at
from memtop.dump.image import PageKind
from memtop.dump.snapshot_format import FRAME_PAGES, RUN
from memtop.dump.zstd import Packer
from memtop.linux.runsets import chop
from memtop.linux.vmread import Pieces, hash_bytes
from memtop.model.layout import PAGE
from memtop.model.layout import RUN as PAGE_RUN
from memtop.model.runs import PageRuns


@dataclass(slots=True)
class _Frame:
    """Attributes: check: hash of its bytes; first: address of its first page; live: pages that count."""

    position: int
    length: int
    check: int
    first: int
    hashes: array[int]
    live: int


class Frames:
    """Which frame holds which page; a frame without a page that counts is cleared in the file.

    Attributes:
        at: where the next frame goes.
    """

    def __init__(self, fd: int, at: int) -> None:
        self.at = at
        self._fd, self._packer = fd, Packer()
        self._starts: list[int] = []
        self._parts: list[tuple[int, _Frame]] = []  # end, frame; by start

    def put(self, runs: PageRuns, data: PageRuns, contents: memoryview, hashes: array[int]) -> int:
        """Compresses pages; returns the bytes written.

        Args:
            runs: the pages that ``contents`` and ``hashes`` are of.
            data: those that are to be kept; none of them is there already.
        """
        before, index = self.at, Pieces.of_runs(runs)
        for start, pages, _ in PAGE_RUN.iter_unpack(data.packed):
            for part in chop(PageRuns(PAGE_RUN.pack(start, pages, 0)), FRAME_PAGES):
                run = part[0]
                first = page_index(index, run.start)
                last = first + run.pages
                self._append(run.start, contents[first * PAGE : last * PAGE], hashes[first:last])
        return self.at - before

    def _append(self, start: int, contents: memoryview, hashes: array[int]) -> None:
        packed = self._packer.pack(contents)
        write_at(self._fd, self.at, packed)
        frame = _Frame(self.at, len(packed), hash_bytes(packed), start, hashes, len(hashes))
        self.at += len(packed)
        self._insert(start, start + len(hashes) * PAGE, frame)

    def _insert(self, start: int, end: int, frame: _Frame) -> None:
        i = bisect_right(self._starts, start)
        self._starts.insert(i, start)
        self._parts.insert(i, (end, frame))

    def forget(self, runs: PageRuns) -> None:
        """These pages count no more."""
        for start, pages, _ in PAGE_RUN.iter_unpack(runs.packed):
            self._cut(start, start + pages * PAGE)

    def _cut(self, start: int, end: int) -> None:
        i = max(bisect_right(self._starts, start) - 1, 0)
        while i < len(self._starts) and self._starts[i] < end:
            low, (high, frame) = self._starts[i], self._parts[i]
            if high <= start:
                i += 1
                continue
            del self._starts[i], self._parts[i]
            frame.live -= (min(high, end) - max(low, start)) // PAGE
            if low < start:
                self._insert(low, start, frame)
                i += 1
            if high > end:
                self._insert(end, high, frame)
                i += 1
            if frame.live == 0:
                clear(self._fd, frame.position, frame.length)

    def runs(self, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
        """Packed runs of the index for the pages of a range, each with its hashes."""
        i = max(bisect_right(self._starts, start) - 1, 0)
        while i < len(self._starts) and self._starts[i] < end:
            high, frame = self._parts[i]
            low, high = max(self._starts[i], start), min(high, end)
            if low < high:
                skip, pages = (low - frame.first) // PAGE, (high - low) // PAGE
                packed = RUN.pack(
                    low, frame.position, frame.length, frame.check, pages, skip, PageKind.DATA, 0
                )
                yield packed, frame.hashes[skip : skip + pages].tobytes()
            i += 1
