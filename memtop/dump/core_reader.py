"""Reading an ELF core, whoever wrote it: memtop, gcore or the kernel; elf(5), core(5).

Nothing in it is trusted: each number is checked before it is used.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from struct import unpack_from

from memtop.dump.elf import EHDR, ET_CORE, IDENT, INFO_AT, PF_R, PF_W, PF_X, PHDR, PN_XNUM, PT_LOAD, PT_NOTE
from memtop.dump.files import data_ranges, is_sparse, open_dump, read_at
from memtop.dump.image import Area, PageKind, Run
from memtop.dump.notes import NT_FILE, NT_PRPSINFO, notes_of
from memtop.linux.errors import Failed
from memtop.linux.vmread import hash_pages
from memtop.model.layout import PAGE, Kind, Perm
from memtop.model.names import clean, clean_text

MOST_NOTES = 1 << 30
STEP = 1024 * PAGE


@dataclass(frozen=True, slots=True)
class Segment:
    """A PT_LOAD: byte addresses, and where in the file it is."""

    start: int
    end: int
    flags: int
    offset: int
    in_file: int

    @property
    def perms(self) -> Perm:
        """As those of a mapping; a core does not tell shared from private."""
        read, write, execute = self.flags & PF_R, self.flags & PF_W, self.flags & PF_X
        return Perm((1 if read else 0) | (2 if write else 0) | (4 if execute else 0))


class CoreFile:
    """An ELF core, open for reading.

    Attributes:
        path: the file.
        areas: its mappings; what they are for, a core does not tell.

    Raises:
        Failed: no such file, or no core that can be understood.
    """

    named = False

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = open_dump(path)
        try:
            self.size = os.fstat(self._fd).st_size
            self._segments = self._read_headers()
            self._starts = [segment.start for segment in self._segments]
            self._contents = 0
            self.areas = tuple(self._mappings())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _bad(self, why: str) -> Failed:
        return Failed(f"{clean_text(self.path)} is no core that memtop can read", why)

    def _read(self, at: int, size: int) -> bytes:
        data = read_at(self._fd, at, size, self.path) if at + size <= self.size else b""
        if len(data) != size:
            raise self._bad("it was cut short")
        return data

    def _stored(self, at: int, size: int) -> bytes:
        """The same of what is no hole, so that a small file takes little memory."""
        if at + size <= self.size and is_sparse(self._fd, at, size):
            raise self._bad("what tells where things are is hardly stored at all")
        return self._read(at, size)

    # ---- headers and notes ---------------------------------------------------------------------------------

    def _read_headers(self) -> list[Segment]:
        head = self._read(0, EHDR.size)
        ident, kind, _, _, _, phoff, shoff, _, _, phentsize, phnum, shentsize, shnum, _ = EHDR.unpack(head)
        if not ident.startswith(IDENT) or kind != ET_CORE or phentsize != PHDR.size:
            raise self._bad("it is no core of a 64-bit little-endian machine")
        if phnum == PN_XNUM and shnum and shentsize > INFO_AT:  # more than fit: elf(5)
            phnum = unpack_from("<I", self._read(shoff, INFO_AT + 4), INFO_AT)[0]
        self._notes = b""
        segments = []
        for kind, flags, offset, start, _, in_file, size, _ in PHDR.iter_unpack(
            self._stored(phoff, phnum * PHDR.size)
        ):
            if kind == PT_NOTE and not self._notes and in_file <= MOST_NOTES:  # a core has one of these
                self._notes = self._stored(offset, in_file)
            if kind != PT_LOAD or not size:
                continue
            if start % PAGE or size % PAGE or start + size >= 1 << 64 or in_file > size:
                raise self._bad("a segment is not of whole pages")
            there = min(in_file, max(self.size - offset, 0)) // PAGE * PAGE
            segments.append(Segment(start, start + size, flags, offset, there))
        segments.sort(key=lambda segment: segment.start)
        if any(before.end > after.start for before, after in pairwise(segments)):
            raise self._bad("two segments overlap")
        return segments

    def _files(self) -> list[tuple[int, int, int, bytes]]:
        """start, end, offset in bytes and name of each mapped file: NT_FILE."""
        note = next((content for kind, content in notes_of(self._notes) if kind == NT_FILE), b"")
        if len(note) < 16:
            return []
        count, unit = unpack_from("<QQ", note)
        if count > len(note) // 24:
            return []
        names = note[16 + 24 * count :].split(b"\0")
        found = []
        for i in range(min(count, len(names))):
            start, end, offset = unpack_from("<QQQ", note, 16 + 24 * i)
            found.append((start, end, offset * unit, names[i]))
        return sorted(found)

    @property
    def words(self) -> str:
        """Name and number of the process, as far as the core tells."""
        note = next((content for kind, content in notes_of(self._notes) if kind == NT_PRPSINFO), b"")
        if len(note) < 56:
            return "an ELF core"
        comm, pid = note[40:56].split(b"\0")[0], unpack_from("<i", note, 24)[0]
        return f"{clean(comm)} {pid}, an ELF core"

    # ---- mappings ------------------------------------------------------------------------------------------

    def _mappings(self) -> Iterator[Area]:
        """Neighbouring segments of one file, or of none, and the same permissions are one mapping."""
        files, at = self._files(), 0
        group: list[Segment] = []
        known: tuple[int, int, int, bytes] | None = None
        for segment in self._segments:
            while at < len(files) and files[at][1] <= segment.start:
                at += 1
            file = files[at] if at < len(files) and files[at][0] <= segment.start else None
            goes_on = group and group[-1].end == segment.start and group[-1].flags == segment.flags
            if group and not (goes_on and file == known):
                yield self._area(group, known)
                group = []
            group.append(segment)
            known = file
        if group:
            yield self._area(group, known)

    def _area(self, group: list[Segment], file: tuple[int, int, int, bytes] | None) -> Area:
        start, end, perms = group[0].start, group[-1].end, group[0].perms
        offset = file[2] + start - file[0] if file else 0
        kind = Kind.FILE if file else Kind.ANON
        if file and perms & Perm.EXEC:
            kind = Kind.TEXT
        runs = tuple(run for segment in group for run in self._runs(segment))
        return Area(start, end, perms, kind, offset, 0, 0, 0, file[3] if file else b"", True, runs=runs)

    def _runs(self, segment: Segment) -> Iterator[Run]:
        """Contents, holes of the file (zeros), and what the core does not have."""
        at, there = segment.start, segment.start + segment.in_file
        for low, high in data_ranges(self._fd, segment.offset, segment.offset + segment.in_file):
            first = segment.start + max(low - segment.offset, 0) // PAGE * PAGE
            last = min(segment.start + -(-(high - segment.offset) // PAGE) * PAGE, there)
            first = max(first, at)
            self._contents += max(last - first - 2 * PAGE, 0)  # the first and the last may be shared
            if self._contents > self.size:
                raise self._bad("its segments have the same contents")
            if at < first:
                yield Run(at, (first - at) // PAGE, PageKind.ZERO)
            if first < last:
                yield Run(first, (last - first) // PAGE, PageKind.DATA)
            at = max(at, last)
        if at < there:
            yield Run(at, (there - at) // PAGE, PageKind.ZERO)
        if there < segment.end:
            yield Run(there, (segment.end - there) // PAGE, PageKind.ABSENT)

    # ---- pages ---------------------------------------------------------------------------------------------

    def contents(self, start: int, end: int) -> bytes:
        """Pages that it has."""
        at = bisect_right(self._starts, start) - 1
        parts = []
        while start < end:
            segment = self._segments[at]
            stop = min(end, segment.end)
            parts.append(self._read(segment.offset + start - segment.start, stop - start))
            start, at = stop, at + 1
        return b"".join(parts)

    def hashes(self, start: int, end: int) -> array[int]:
        """XXH64 of these pages."""
        found = array("Q")
        for low in range(start, end, STEP):
            found += hash_pages(self.contents(low, min(low + STEP, end)))
        return found
