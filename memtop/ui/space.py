"""The whole address space in as many cells as a screen has; what holds nothing resident is folded.

The arithmetic is in C (native/space.c), because a process can have 30 000 mappings and this runs at every
sample; what is left here are the cells of one screen.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from struct import Struct
from typing import NamedTuple

from memtop.model.layout import PAGE
from memtop.model.mapping import MappingTable
from memtop.model.sample import Sample
from memtop.native import ffi, lib
from memtop.sampler.history import NEVER
from memtop.ui.ages import Ages

FAR_GAP, FAR_WIDTH = int(lib.MT_FAR_GAP), int(lib.MT_FAR_WIDTH)
"""Bytes from which on the mark of a gap shows its size, and the cells that this one takes."""

BLOCK = Struct("<QQIIIHHBBB5x")
"""``mt_block``, field by field as in ``Block``."""


class Block(NamedTuple):
    """One cell.

    Attributes:
        start: byte address.
        gap: bytes folded in front of it: no mapping, or nothing resident.
        first, mappings: index of the first mapping that lies in it, wholly or partly, and how many do.
        main: index of the one with the most bytes in it.
        column, row: where it stands.
        kind: ``Kind`` with the most bytes in it; FILE for TEXT and DATA too.
        lettered: the kind's letter stands in front of it.
        resident: something in it is.
    """

    start: int
    gap: int
    first: int
    mappings: int
    main: int
    column: int
    row: int
    kind: int
    lettered: int
    resident: int


class Space:
    """Lays out one process, and keeps when each block was last written.

    Args:
        columns, rows: room on the screen.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.table = MappingTable()
        self.cell_bytes = PAGE
        self.blocks: list[Block] = []
        self.starts: list[int] = []
        self._raw = b""
        self.times = array("d")
        self._room = ffi.new("mt_block[]", columns * rows)

    def update(self, sample: Sample, ages: Ages) -> None:
        """Lays out a sample and takes in its written runs; every one must pass here.

        Args:
            ages: histories of the mappings, for what no block tells yet.
        """
        table = sample.table
        cell = ffi.new("uint64_t *")
        count = lib.mt_space_lay(
            ffi.from_buffer("mt_mapping[]", table.packed),
            ffi.from_buffer("mt_count[]", sample.counts),
            len(table),
            self.columns,
            self.rows,
            cell,
            self._room,
        )
        raw = bytes(ffi.buffer(self._room, count * BLOCK.size))
        if raw != self._raw:
            starts = memoryview(raw).cast("Q")[:: BLOCK.size // 8].tolist()
            if starts != self.starts or cell[0] != self.cell_bytes:
                self._carry(starts, cell[0], ages)
            self._raw, self.starts, self.cell_bytes = raw, starts, cell[0]
            self.blocks = [Block._make(fields) for fields in BLOCK.iter_unpack(raw)]
        self.table = table
        lib.mt_space_age(
            self._room,
            count,
            cell[0],
            ffi.from_buffer("mt_run[]", sample.runs.packed),
            len(sample.runs),
            sample.time,
            ffi.from_buffer("double[]", self.times),
        )

    def _carry(self, starts: list[int], cell: int, ages: Ages) -> None:
        """Ages of the new blocks: from the old ones of the same place, or from the mappings' histories."""
        if cell == self.cell_bytes and self.starts:
            old = dict(zip(self.starts, self.times, strict=True))
            self.times = array("d", (old.get(start, NEVER) for start in starts))
            return
        self.times = array("d", bytes(8 * len(starts)))
        mine = ffi.from_buffer("double[]", self.times)
        for start, size, times in ages.cells():
            theirs = ffi.from_buffer("double[]", times)
            lib.mt_space_mark(self._room, len(starts), cell, start, size, theirs, len(times), mine)

    def index_at(self, address: int) -> int:
        """The block of an address, or the nearest one before it; -1: there are no blocks."""
        return min(max(bisect_right(self.starts, address) - 1, 0), len(self.starts) - 1)

    def index_in(self, row: int, column: int) -> int:
        """The block that stands there, or the nearest in its row; -1: no such row."""
        found = [i for i, block in enumerate(self.blocks) if block.row == row]
        return min(found, key=lambda i: abs(self.blocks[i].column - column), default=-1)
