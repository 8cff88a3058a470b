"""The index of a snapshot, taken apart. Nothing in it is trusted: each number is checked before its use."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from memtop.dump.image import Area, PageKind, Run
from memtop.dump.snapshot_format import (
    CHUNK,
    CHUNK_RUNS,
    FRAME_PAGES,
    HEADER_SIZE,
    KINDS,
    MAPPING,
    RUN,
    Damaged,
    padded,
)  # fmt: skip
from memtop.model.layout import PAGE, Kind, Perm

TOP = 1 << 64
USER_TOP = 1 << 56
"""Bytes: no machine of today maps memory of a process any higher."""

MOST_FRAME = 2 * FRAME_PAGES * PAGE
"""Bytes of a frame: zstd makes nothing longer than it was but for a header."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A run as the index has it.

    Attributes:
        position, length: where its contents are, bytes; of the whole frame where they are compressed.
        check: hash of the frame; 0 where they are not compressed.
        skip: pages of the frame that come before.
        hashes: index of the first page's hash.
    """

    start: int
    end: int
    kind: PageKind
    error: int
    position: int
    length: int
    check: int
    skip: int
    hashes: int

    @property
    def pages(self) -> int:
        """How many base pages."""
        return (self.end - self.start) // PAGE


class Holder(Protocol):
    """The file that an index is of."""

    index_at: int
    compressed: bool

    def bad(self, offset: int, why: str) -> Damaged:
        """The error for a part of it."""
        ...


class IndexParser:
    """Takes the index apart.

    Attributes:
        stored: all runs, by rising address.
        hashes: all hashes, in the order of the pages.
    """

    def __init__(self, snapshot: Holder, index: bytes) -> None:
        self._snapshot, self._index, self._at = snapshot, index, 0
        self._top = self._contents = 0
        self.stored: list[Stored] = []
        self.hashes = array("Q")

    def _bad(self, why: str) -> Damaged:
        return self._snapshot.bad(self._snapshot.index_at + self._at, why)

    def _take(self, size: int) -> int:
        """Where the next so many bytes begin."""
        at = self._at
        if at + size > len(self._index):
            raise self._bad("the index ends in a record")
        self._at += size
        return at

    def areas(self) -> Iterator[Area]:
        """All mappings; fills the other two."""
        while True:
            at = self._take(MAPPING.size)
            (tag, perms, kind, wanted, start, end, offset, inode, major, minor, name_length, why_length) = (
                MAPPING.unpack_from(self._index, at)
            )
            if tag == 0:
                break
            if tag != 1 or perms > 15 or kind > max(Kind) or wanted > 1:
                raise self._bad("this is no mapping")
            if start % PAGE or end % PAGE or not self._top <= start < end or (wanted and end > USER_TOP):
                raise self._bad("a mapping lies where none can be")
            words = self._take(padded(name_length + why_length))
            name = self._index[words : words + name_length]
            why = self._index[words + name_length : words + name_length + why_length]
            runs = tuple(self._runs(start, end))
            if runs and (runs[0].start != start or runs[-1].end != end):
                raise self._bad("the runs are not all of the mapping")
            if bool(runs) != bool(wanted):
                raise self._bad("a mapping has runs that is left out, or none that is not")
            self._top = end
            yield Area(
                start, end, Perm(perms), Kind(kind), offset, major, minor, inode, name, bool(wanted),
                why.decode("utf-8", "replace"), runs,
            )  # fmt: skip
        if self._at != len(self._index):
            raise self._bad("the index goes on behind its end")

    def _runs(self, start: int, end: int) -> Iterator[Run]:
        position = start
        while True:
            count, hashes = CHUNK.unpack_from(self._index, self._take(CHUNK.size))
            if count == 0 and hashes == 0:
                return
            if not 0 < count <= CHUNK_RUNS:
                raise self._bad("a chunk of so many runs there is not")
            at, data = self._take(count * RUN.size), 0
            for fields in RUN.iter_unpack(self._index[at : at + count * RUN.size]):
                stored = self._run(fields, len(self.hashes) + data)
                if stored.start != position or stored.end > end:
                    raise self._bad("a run does not begin where the last one ended")
                position = stored.end
                data += stored.pages if stored.kind is PageKind.DATA else 0
                self.stored.append(stored)
                yield Run(stored.start, stored.pages, stored.kind, stored.error)
            if data != hashes:
                raise self._bad("not as many hashes as pages")
            at = self._take(8 * hashes)
            self.hashes.frombytes(self._index[at : at + 8 * hashes])

    def _run(self, fields: tuple[int, ...], hashes: int) -> Stored:
        start, position, length, check, pages, skip, kind, error = fields
        if not 1 <= kind <= KINDS or pages == 0 or start % PAGE or start + pages * PAGE > TOP:
            raise self._bad("this is no run")
        if kind == PageKind.DATA:
            snapshot = self._snapshot
            if position < HEADER_SIZE or position + length > snapshot.index_at:
                raise self._bad("contents lie where none can be")
            if snapshot.compressed:
                fits = 0 < length <= MOST_FRAME and skip + pages <= FRAME_PAGES
            else:
                self._contents += length  # none is stored twice
                inside = self._contents <= snapshot.index_at - HEADER_SIZE
                fits = length == pages * PAGE and not skip and not check and inside
            if not fits:
                raise self._bad("contents and pages do not fit")
        return Stored(
            start, start + pages * PAGE, PageKind(kind), error, position, length, check, skip, hashes
        )
