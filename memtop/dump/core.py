"""The ELF core sink: a file that gdb opens; see core(5), elf(5).

Pages go straight to their final place, so a later round writes over what an earlier one wrote. The file is
sparse: room is given out by address in windows, and pages of zeros cost nothing on the disk. Address space
without any page is not in the file at all: program headers can point at one and the same hole of it, however
much they describe. So 16 TiB of empty mapping take no room, on file systems that end at 16 TiB, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from memtop.dump.elf import EHDR, ET_CORE, IDENT, PF_R, PF_W, PF_X, PHDR, PN_XNUM, PT_LOAD, PT_NOTE, SHDR
from memtop.dump.extents import Extents
from memtop.dump.files import write_at
from memtop.dump.image import Area, Image, PageKind
from memtop.dump.in_place import InPlaceSink
from memtop.dump.output import Output
from memtop.model.layout import PAGE, Perm

WINDOW = 2 << 20
GAP = 16 << 20
HOLE = 4 << 30
"""Bytes: the longest stretch of empty address space that one program header describes, unless there is so
much of it that this would take more than ``MOST_HOLES`` headers."""

MOST_HOLES = 1 << 18

PIPED_HOLE = 256 << 20
"""The same where holes have to be sent as zeros."""

ZERO_KINDS = (PageKind.DATA, PageKind.ZERO, PageKind.HOLE)
"""What can be read from the core; of all else it says that it is not there."""


class CoreSink(InPlaceSink):
    """Writes an ELF core.

    Args:
        output: where to.
    """

    whole_files = True

    def __init__(self, output: Output) -> None:
        super().__init__(output, Extents(at=PAGE, granule=WINDOW, gap=GAP))
        self._hole = PIPED_HOLE if output.is_piped else HOLE

    def finish(self, image: Image) -> None:
        """Writes the headers: what is where, the threads, and how the dump came about."""
        space = sum(area.end - area.start for area in image.areas if area.runs)
        while self._hole * MOST_HOLES < space:
            self._hole *= 2
        segments = [s for area in image.areas for s in self._segments(area)]
        hole = max((s.size for s in segments if s.offset < 0 and s.in_file), default=0)
        notes_at = self._extents.at
        headers_at = notes_at + -(-len(image.notes) // PAGE) * PAGE
        count = len(segments) + 1
        sections_at = headers_at + count * PHDR.size
        hole_at = -(-(sections_at + SHDR.size) // PAGE) * PAGE
        headers = [PHDR.pack(PT_NOTE, 0, notes_at, 0, 0, len(image.notes), 0, 4)]
        for s in segments:
            offset = hole_at if s.offset < 0 else s.offset
            headers.append(
                PHDR.pack(PT_LOAD, s.flags, offset, s.start, 0, s.size if s.in_file else 0, s.size, PAGE)
            )
        many = count >= PN_XNUM  # then section header 0 says how many, elf(5)
        section = SHDR.pack(0, 0, 0, 0, 0, 0, 0, count if many else 0, 0, 0)
        ident = IDENT + b"\x01" + bytes(9)
        ehdr = EHDR.pack(
            ident, ET_CORE, image.origin.machine, 1, 0, headers_at, sections_at if many else 0, 0,
            EHDR.size, PHDR.size, PN_XNUM if many else count, SHDR.size, 1 if many else 0, 0,
        )  # fmt: skip
        write_at(self._output.fd, notes_at, image.notes)
        write_at(self._output.fd, headers_at, b"".join(headers) + section)
        write_at(self._output.fd, 0, ehdr)
        os.ftruncate(self._output.fd, hole_at + hole)

    def _segments(self, area: Area) -> Iterator[_Segment]:
        flags = (PF_R if area.perms & Perm.READ else 0) | (PF_W if area.perms & Perm.WRITE else 0)
        flags |= PF_X if area.perms & Perm.EXEC else 0
        if not area.runs:
            yield _Segment(area.start, area.end - area.start, flags, -1, in_file=False)
        for start, end, known in _stretches(area):
            if not known:
                yield _Segment(start, end - start, flags, -1, in_file=False)
                continue
            at = start
            for low, high, offset in self._extents.within(start, end):
                yield from _empty(at, low, flags, self._hole)
                yield _Segment(low, high - low, flags, offset, in_file=True)
                at = high
            yield from _empty(at, end, flags, self._hole)


class _Segment:
    """A program header to be; offset -1: the common hole.

    None may point at the file's own header: BFD would take it for a library's, and read all notes again.
    """

    __slots__ = ("flags", "in_file", "offset", "size", "start")

    def __init__(self, start: int, size: int, flags: int, offset: int, *, in_file: bool) -> None:
        self.start, self.size, self.flags, self.offset, self.in_file = start, size, flags, offset, in_file


def _stretches(area: Area) -> Iterator[tuple[int, int, bool]]:
    """start, end, and whether its contents are known; neighbours of the same answer are one."""
    begun: tuple[int, int, bool] | None = None
    for run in area.runs:
        known = run.kind in ZERO_KINDS
        if begun and begun[2] == known:
            begun = (begun[0], run.end, known)
            continue
        if begun:
            yield begun
        begun = (run.start, run.end, known)
    if begun:
        yield begun


def _empty(start: int, end: int, flags: int, hole: int) -> Iterator[_Segment]:
    while start < end:
        size = min(end - start, hole)
        yield _Segment(start, size, flags, -1, in_file=True)
        start += size
