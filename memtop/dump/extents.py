"""Where in a file the pages of an address space are: a map from addresses to offsets that only grows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from memtop.linux.vmread import Pieces, native_pieces
from memtop.model.layout import PAGE, PIECE
from memtop.model.runs import PageRuns
from memtop.native import ffi, lib

SPLITS = 16
"""Records that have to be two, as a page count has 32 bits: more than there can be."""


class Extents:
    """Address ranges and the file offset of each; neighbours that go on in the file are one.

    There may be a hundred thousand of them: the loops are in C (``native/extents.c``).

    Args:
        at: offset of the first byte that may be given out.
        granule: room is given out in so many bytes, aligned by address.
        gap: ranges that are less than so many bytes apart get the room between them, too.
    """

    def __init__(self, at: int, granule: int = PAGE, gap: int = 0) -> None:
        self.at = at
        self._granule, self._gap = granule, gap
        self._have = Pieces()

    def __len__(self) -> int:
        return len(self._have)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """start, end, offset by rising address."""
        for address, offset, pages, _ in PIECE.iter_unpack(self._have.packed):
            yield address, address + pages * PAGE, offset

    def cover(self, runs: PageRuns) -> None:
        """Makes room for all of these pages that have none yet."""
        wide = ffi.new("mt_run[]", len(runs))
        native = ffi.from_buffer("mt_run[]", runs.packed)
        count = lib.mt_runs_widen(native, len(runs), self._granule, self._gap, wide)
        have, at = len(self._have), ffi.new("uint64_t *", self.at)
        out = ffi.new("mt_piece[]", 2 * have + count + SPLITS)
        made = lib.mt_extents_cover(native_pieces(self._have), have, wide, count, at, out)
        self._have, self.at = _packed(out, made), at[0]

    def within(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The parts of a range that have room: start, end, offset."""
        have, count = self._have, len(self._have)
        for i in range(lib.mt_extents_find(native_pieces(have), count, start), count):
            address, offset, pages, _ = PIECE.unpack_from(have.packed, i * PIECE.size)
            low, high = max(address, start), min(address + pages * PAGE, end)
            if low >= high:
                break
            yield low, high, offset + low - address

    def pieces(self, runs: PageRuns) -> Pieces:
        """Where these pages belong; ones without room are left out."""
        out = ffi.new("mt_piece[]", len(self._have) + len(runs))
        native = ffi.from_buffer("mt_run[]", runs.packed)
        made = lib.mt_extents_pieces(native_pieces(self._have), len(self._have), native, len(runs), out)
        return _packed(out, made)


def _packed(out: Any, count: int) -> Pieces:
    return Pieces(bytes(ffi.buffer(out, count * PIECE.size)) if count else b"")


def page_index(index: Pieces, address: int) -> int:
    """Which page of sorted runs lies at an address; ``index`` is ``Pieces.of_runs``."""
    starts = memoryview(index.packed).cast("Q")[:: PIECE.size // 8]
    at = bisect_right(starts, address) - 1
    start, offset, _, _ = PIECE.unpack_from(index.packed, at * PIECE.size)
    return int((offset + address - start) // PAGE)
