"""Reading one snapshot file. Nothing in it is trusted: each number is checked before it is used."""

from __future__ import annotations

import json
import os
import uuid
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Any

from memtop.dump.files import OpenFiles, data_ranges, is_sparse, read_at
from memtop.dump.image import Origin
from memtop.dump.snapshot_format import (
    ABOUT_AT,
    COMPRESSED,
    END_MAGIC,
    FRAME_PAGES,
    HASH,
    HEADER,
    HEADER_SIZE,
    MAGIC,
    TRAILER,
    VERSION,
    Damaged,
    padded,
)  # fmt: skip
from memtop.dump.snapshot_index import IndexParser, Stored
from memtop.dump.zstd import Unpacker
from memtop.linux.closing import Closing
from memtop.linux.errors import Failed
from memtop.linux.vmread import hash_bytes, hash_pages
from memtop.model.layout import PAGE
from memtop.model.names import clean_text

MOST_NOTES = 1 << 30
"""Bytes; of a thread there are some 12 KiB."""


class Snapshot(Closing):
    """One snapshot file, for reading.

    Args:
        path: of the file.
        files: what opens it, where it is one of many.

    Attributes:
        id, chain_id, parent_id: 16 bytes each; the parent's is all zeros in a full snapshot.
        sequence: 0 in a full one, else one more than the parent's.
        about: what the header says in JSON.
        parent_name: file name of the parent, to be looked for in the same directory.

    Raises:
        Failed: no such file, no snapshot, or an unknown version.
        Damaged: its header, trailer or index is.
    """

    def __init__(self, path: str, files: OpenFiles | None = None) -> None:
        self.path = path
        self._files = files or OpenFiles()
        try:
            self.size = os.fstat(self._fd).st_size
            self._read_header()
            self._read_trailer()
            self._read_index()
        except BaseException:
            self.close()
            raise
        self._unpacker: Unpacker | None = None
        self._frame: tuple[int, bytes] = (-1, b"")

    def close(self) -> None:
        """Closes the file. Idempotent."""
        self._files.close(self.path)

    @property
    def _fd(self) -> int:
        return self._files.fd(self.path)

    # ---- header, trailer, index --------------------------------------------------------------------------

    def bad(self, offset: int, why: str) -> Damaged:
        """The error for a part of this file."""
        return Damaged(self.path, offset, why)

    def read(self, at: int, length: int) -> bytes:
        """Bytes of the file; shorter only at its end."""
        return read_at(self._fd, at, length, self.path)

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a range of the file that are no hole."""
        return data_ranges(self._fd, start, end)

    def _read_header(self) -> None:
        header = self.read(0, HEADER_SIZE)
        if header[: len(MAGIC)] != MAGIC:
            if hash_bytes(MAGIC + header[len(MAGIC) : -HASH.size]) == int.from_bytes(
                header[-HASH.size :], "little"
            ):
                raise self.bad(0, "its first eight bytes were changed")
            core = header[:4] == b"\x7fELF"
            what = "an ELF core, which has no hashes; gdb reads it" if core else "something else"
            raise Failed(f"{clean_text(self.path)} is no snapshot of memtop", f"it is {what}")
        if len(header) < HEADER_SIZE:
            raise self.bad(len(header), "the file ends in its header")
        fields = HEADER.unpack_from(header)
        if fields[1] != VERSION and hash_bytes(header[:-8]) == HASH.unpack(header[-8:])[0]:
            what = f"{clean_text(self.path)} has version {fields[1]}"
            raise Failed(what, f"this memtop reads version {VERSION}")
        if hash_bytes(header[:-8]) != HASH.unpack(header[-8:])[0]:
            raise self.bad(0, "the header does not match its hash")
        (_, _, size, page, flags, self.chain_id, self.id, self.parent_id, self.sequence, self.pid,
         self.start_time, self.time_ns, length, boot) = fields  # fmt: skip
        fits = size == HEADER_SIZE and page == PAGE and length <= HEADER_SIZE - ABOUT_AT - 8
        if not fits or flags & ~COMPRESSED or any(self.parent_id) != bool(self.sequence):
            raise self.bad(8, "the header makes no sense")
        self.compressed = bool(flags & COMPRESSED)
        self.boot_id = str(uuid.UUID(bytes=boot)) if any(boot) else ""
        try:
            about = json.loads(header[ABOUT_AT : ABOUT_AT + length])
        except (ValueError, RecursionError):  # nested a thousand deep
            about = None
        if not isinstance(about, dict):
            raise self.bad(ABOUT_AT, "the header's text is no JSON")
        self.about: dict[str, Any] = about

    def _read_trailer(self) -> None:
        at = self.size - TRAILER.size
        if at < HEADER_SIZE:
            raise self.bad(self.size, "the file ends before its trailer")
        trailer = self.read(at, TRAILER.size)
        fields = TRAILER.unpack(trailer)
        if fields[0] != END_MAGIC and fields[3] != self.size:
            raise self.bad(self.size, "the file ends before its trailer")
        if fields[0] != END_MAGIC or hash_bytes(trailer[:-8]) != fields[-1]:
            raise self.bad(at, "the trailer does not match its hash")
        _, version, zero, size, index_at, index_length, index_hash, notes_at, notes_length, notes_hash = (
            fields[:10]
        )
        self.mappings, self.runs, *self.totals = fields[10:-1]
        inside = index_at >= HEADER_SIZE and index_at + index_length == notes_at
        fits = size == self.size and inside and padded(notes_at + notes_length) == at
        if version != VERSION or zero or not fits:
            raise self.bad(at, "the trailer does not fit the file")
        self.index_at, self.index_length, self._index_hash = index_at, index_length, index_hash
        self.notes_at, self.notes_length, self._notes_hash = notes_at, notes_length, notes_hash
        if notes_length > MOST_NOTES or is_sparse(self._fd, notes_at, notes_length):
            raise self.bad(notes_at, f"{notes_length} bytes of notes there can't be")
        _ = self.notes

    @property
    def notes(self) -> bytes:
        """Those of an ELF core; read each time, as they are not small and hardly needed.

        Raises:
            Damaged: they do not match their hash.
        """
        notes = self.read(self.notes_at, self.notes_length)
        if hash_bytes(notes) != self._notes_hash:
            raise self.bad(self.notes_at, "the notes do not match their hash")
        return notes

    def _read_index(self) -> None:
        if is_sparse(self._fd, self.index_at, self.index_length):
            raise self.bad(self.index_at, "the index is hardly stored at all")
        index = self.read(self.index_at, self.index_length)
        if hash_bytes(index) != self._index_hash:
            raise self.bad(self.index_at, "the index does not match its hash")
        parser = IndexParser(self, index)
        self.areas = tuple(parser.areas())
        self.stored, self._parser = parser.stored, parser
        if (
            self.stored.kinds != self.totals
            or len(self.stored) != self.runs
            or len(self.areas) != self.mappings
        ):
            raise self.bad(self.size - TRAILER.size, "the totals are not those of the index")

    @property
    def hashes(self) -> array[int]:
        """All hashes, in the order of the pages."""
        return self._parser.hashes

    # ---- pages ---------------------------------------------------------------------------------------------

    def within(self, start: int, end: int) -> Iterator[Stored]:
        """The runs of the index that a range touches, uncut."""
        first = max(bisect_right(self.stored.starts, start) - 1, 0)
        for i in range(first, bisect_left(self.stored.starts, end, first)):
            run = self.stored[i]
            if run.end > start:
                yield run

    def contents(self, run: Stored, start: int, end: int) -> bytes:
        """Bytes of a part of a run with contents, checked against their hashes.

        Raises:
            Damaged: they do not match.
        """
        first, pages = (start - run.start) // PAGE, (end - start) // PAGE
        if self.compressed:
            frame = self._unpack(run)
            data = frame[(run.skip + first) * PAGE : (run.skip + first + pages) * PAGE]
        else:
            data = self.read(run.position + first * PAGE, pages * PAGE)
        wanted = self.hashes[run.hashes + first : run.hashes + first + pages]
        if len(data) != pages * PAGE:
            raise self.bad(run.position, "contents are missing")
        found = hash_pages(data)
        if found != wanted:
            bad = next(i for i in range(pages) if found[i] != wanted[i])
            offset = run.position if self.compressed else run.position + (first + bad) * PAGE
            raise self.bad(offset, f"the page {start + bad * PAGE:#x} does not match its hash")
        return data

    def _unpack(self, run: Stored) -> bytes:
        if self._frame[0] != run.position:
            self._unpacker = self._unpacker or Unpacker()
            frame = self.read(run.position, run.length)
            size = self._unpacker.size(frame) if hash_bytes(frame) == run.check else 0
            data = self._unpacker.unpack(frame, size) if 0 < size <= FRAME_PAGES * PAGE else None
            if data is None:
                raise self.bad(run.position, "the compressed frame is damaged")
            self._frame = run.position, data
        return self._frame[1]

    @property
    def parent_name(self) -> str | None:
        """File name of the parent, or None."""
        name = self.about.get("parent")
        return os.path.basename(name) if isinstance(name, str) and any(self.parent_id) else None

    @property
    def origin(self) -> Origin:
        """Whose memory it is."""
        text = {key: clean_text(str(self.about.get(key, ""))) for key in ("kernel", "host", "comm")}
        machine = self.about.get("machine")
        return Origin(
            pid=self.pid,
            start_time=self.start_time,
            boot_id=self.boot_id,
            kernel=text["kernel"],
            host=text["host"],
            comm=text["comm"],
            machine=machine if isinstance(machine, int) and 0 <= machine < 65536 else 62,
            time=self.time_ns / 1e9,
        )
