"""The index of a snapshot, taken apart. Nothing in it is trusted: each number is checked before its use."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, overload

from memtop.dump.image import Area, Fates, PageKind
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
from memtop.linux.fates import columns, count_kinds, record_runs
from memtop.model.layout import PAGE, Kind, Perm
from memtop.native import ffi, lib

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


class StoredRuns(Sequence[Stored]):
    """Runs as packed records of the index; one becomes an object where somebody looks at it.

    Attributes:
        starts: the address of each.
    """

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self.starts, self._hashes = columns(packed, PageKind.DATA)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> Stored: ...
    @overload
    def __getitem__(self, index: slice) -> list[Stored]: ...
    def __getitem__(self, index: int | slice) -> Stored | list[Stored]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        at = range(len(self))[index]
        fields = RUN.unpack_from(self._packed, at * RUN.size)
        start, position, length, check, pages, skip, kind, error = fields
        end = start + pages * PAGE
        return Stored(start, end, PageKind(kind), error, position, length, check, skip, self._hashes[at])

    @property
    def kinds(self) -> list[int]:
        """Pages of each kind, from 1 on."""
        return count_kinds(self._packed)[1 : KINDS + 1]


class Holder(Protocol):
    """The file that an index is of."""

    index_at: int
    compressed: bool

    def bad(self, offset: int, why: str) -> Damaged:
        """The error for a part of it."""
        ...


class IndexParser:
    """Takes the index apart: ``areas`` first."""

    def __init__(self, snapshot: Holder, index: bytes) -> None:
        self._snapshot, self._index, self._at = snapshot, memoryview(index), 0
        self._top = 0
        self._records: list[bytes] = []
        self._hashes: list[memoryview] = []
        packed = snapshot.compressed
        self._check = ffi.new(
            "mt_index *",
            {
                "low": HEADER_SIZE,
                "high": snapshot.index_at,
                "kinds": KINDS,
                "data": PageKind.DATA,
                "frame_pages": FRAME_PAGES if packed else 0,
                "frame_bytes": MOST_FRAME if packed else 0,
            },
        )

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
            name = bytes(self._index[words : words + name_length])
            why = self._index[words + name_length : words + name_length + why_length]
            runs = self._runs(start, end)
            if runs and (runs[0].start != start or runs[-1].end != end):
                raise self._bad("the runs are not all of the mapping")
            if bool(runs) != bool(wanted):
                raise self._bad("a mapping has runs that is left out, or none that is not")
            self._top = end
            yield Area(
                start, end, Perm(perms), Kind(kind), offset, major, minor, inode, name, bool(wanted),
                str(why, "utf-8", "replace"), runs,
            )  # fmt: skip
        if self._at != len(self._index):
            raise self._bad("the index goes on behind its end")

    def _runs(self, start: int, end: int) -> Fates:
        self._check.at, self._check.end = start, end
        parts = []
        while True:
            count, hashes = CHUNK.unpack_from(self._index, self._take(CHUNK.size))
            if count == 0 and hashes == 0:
                break
            if not 0 < count <= CHUNK_RUNS:
                raise self._bad("a chunk of so many runs there is not")
            at, before = self._take(count * RUN.size), self._check.pages
            parts.append(self._index[at : at + count * RUN.size])
            found = lib.mt_index_check(ffi.from_buffer("mt_record[]", parts[-1]), count, self._check)
            if found:
                raise self._bad(_WRONG[found])
            if self._check.pages - before != hashes:
                raise self._bad("not as many hashes as pages")
            at = self._take(8 * hashes)
            self._hashes.append(self._index[at : at + 8 * hashes])
        packed = b"".join(parts)
        self._records.append(packed)
        return Fates(record_runs(packed))

    @property
    def stored(self) -> StoredRuns:
        """All runs, by rising address."""
        return StoredRuns(b"".join(self._records))

    @cached_property
    def hashes(self) -> array[int]:
        """All hashes, in the order of the pages; put together when somebody asks, as not everybody does."""
        parts, self._hashes = self._hashes, []
        return array("Q", b"".join(parts))


_WRONG = {
    lib.MT_INDEX_NO_RUN: "this is no run",
    lib.MT_INDEX_OUTSIDE: "contents lie where none can be",
    lib.MT_INDEX_MISFIT: "contents and pages do not fit",
    lib.MT_INDEX_GAP: "a run does not begin where the last one ended",
}
