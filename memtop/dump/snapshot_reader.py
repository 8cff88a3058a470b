"""Reading one snapshot file. Nothing in it is trusted: each number is checked before it is used."""

from __future__ import annotations

import json
import os
import uuid
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from memtop.dump.files import data_ranges, open_dump, read_at
from memtop.dump.image import Area, Origin, PageKind, Run
from memtop.dump.snapshot_format import (
    ABOUT_AT,
    CHUNK,
    CHUNK_RUNS,
    COMPRESSED,
    END_MAGIC,
    FRAME_PAGES,
    HASH,
    HEADER,
    HEADER_SIZE,
    KINDS,
    MAGIC,
    MAPPING,
    RUN,
    TRAILER,
    VERSION,
    Damaged,
    padded,
)  # fmt: skip
from memtop.dump.zstd import Unpacker
from memtop.linux.errors import Failed
from memtop.linux.vmread import hash_bytes, hash_pages
from memtop.model.layout import PAGE, Kind, Perm
from memtop.model.names import clean_text

TOP = 1 << 64


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


class Snapshot:
    """One snapshot file, open for reading.

    Attributes:
        id, chain_id, parent_id: 16 bytes each; the parent's is all zeros in a full snapshot.
        sequence: 0 in a full one, else one more than the parent's.
        about: what the header says in JSON.
        notes: of an ELF core.
        parent_name: file name of the parent, to be looked for in the same directory.

    Raises:
        Failed: no such file, no snapshot, or an unknown version.
        Damaged: its header, trailer or index is.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = open_dump(path)
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
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
        if size != HEADER_SIZE or page != PAGE or flags & ~COMPRESSED or length > HEADER_SIZE - ABOUT_AT - 8:
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
        self.notes_at = notes_at
        self.notes = self.read(notes_at, notes_length)
        if hash_bytes(self.notes) != notes_hash:
            raise self.bad(notes_at, "the notes do not match their hash")

    def _read_index(self) -> None:
        index = self.read(self.index_at, self.index_length)
        if hash_bytes(index) != self._index_hash:
            raise self.bad(self.index_at, "the index does not match its hash")
        parser = IndexParser(self, index)
        self.areas = tuple(parser.areas())
        self.stored, self.hashes = parser.stored, parser.hashes
        self._starts = [run.start for run in self.stored]
        totals = [0] * KINDS
        for run in self.stored:
            totals[run.kind - 1] += run.pages
        if totals != self.totals or len(self.stored) != self.runs or len(self.areas) != self.mappings:
            raise self.bad(self.size - TRAILER.size, "the totals are not those of the index")

    # ---- pages ---------------------------------------------------------------------------------------------

    def within(self, start: int, end: int) -> Iterator[Stored]:
        """The runs of the index that a range touches, uncut."""
        i = max(bisect_right(self._starts, start) - 1, 0)
        while i < len(self.stored) and self.stored[i].start < end:
            if self.stored[i].end > start:
                yield self.stored[i]
            i += 1

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


class IndexParser:
    """Takes the index apart.

    Attributes:
        stored: all runs, by rising address.
        hashes: all hashes, in the order of the pages.
    """

    def __init__(self, snapshot: Snapshot, index: bytes) -> None:
        self._snapshot, self._index, self._at = snapshot, index, 0
        self._top = 0
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
            if start % PAGE or end % PAGE or not self._top <= start < end:
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
                fits = length > 0 and skip + pages <= FRAME_PAGES
            else:
                fits = length == pages * PAGE and not skip and not check
            if not fits:
                raise self._bad("contents and pages do not fit")
        return Stored(
            start, start + pages * PAGE, PageKind(kind), error, position, length, check, skip, hashes
        )
