"""What CRIU images say of a process besides its pages: from the mappings and the notes of a dump."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from struct import unpack, unpack_from

from memtop import __version__
from memtop.dump import criu_images as images
from memtop.dump.image import Area, Image, PageKind, Run
from memtop.dump.notes import NT_AUXV, NT_PRPSINFO, NT_PRSTATUS, layout_of, notes_of
from memtop.model.layout import PAGE, Kind, Perm

AT_PHDR = 3
PGRP_AT = 32
"""Offset of pgrp and sid in NT_PRPSINFO."""

TID_AT = 32
"""Offset of the thread's id in NT_PRSTATUS."""


class Files:
    """Mapped files, each with a number."""

    def __init__(self, areas: Sequence[Area]) -> None:
        self._numbers: dict[tuple[int, int, int, bytes], int] = {}
        self._writable: set[int] = set()
        for area in areas:
            if area.inode and area.name.startswith(b"/") and not images.is_shared_memory(area):
                number = self._numbers.setdefault(_file(area), len(self._numbers) + 1)
                if area.perms & Perm.SHARED and area.perms & Perm.WRITE:
                    self._writable.add(number)

    def number(self, area: Area | None) -> int:
        """Of the file of a mapping; of shared memory its inode; 0: it has none."""
        if area is None:
            return 0
        return self._numbers.get(_file(area), area.inode)

    def messages(self) -> Iterator[bytes]:
        """files.img."""
        for (_, _, _, name), number in self._numbers.items():
            yield images.regular_file(number, name, number in self._writable)


def _file(area: Area) -> tuple[int, int, int, bytes]:
    return area.major, area.minor, area.inode, area.name


def tree(image: Image) -> bytes:
    """pstree.img: this process alone, the root."""
    pgrp = sid = 0
    tids: list[int] = []
    for kind, content in notes_of(image.notes):
        if kind == NT_PRPSINFO and len(content) >= PGRP_AT + 8:
            pgrp, sid = unpack_from("<II", content, PGRP_AT)
        elif kind == NT_PRSTATUS and len(content) >= TID_AT + 4:
            tids += unpack_from("<I", content, TID_AT)
    return images.pstree(image.origin.pid, pgrp, sid, tids or [image.origin.pid])


def memory(image: Image, files: Files) -> bytes:
    """mm-PID.img. What the kernel did not tell is 0."""
    auxv = next((content for kind, content in notes_of(image.notes) if kind == NT_AUXV), b"")
    words = unpack(f"<{len(auxv) // 8}Q", auxv[: len(auxv) // 8 * 8])
    headers = dict(zip(words[::2], words[1::2], strict=False)).get(AT_PHDR, 0)
    program = next((a for a in image.areas if a.inode and a.start <= headers < a.end), None)
    heap = max((a.end for a in image.areas if a.kind is Kind.HEAP), default=0)
    told = layout_of(image.notes)
    told.setdefault("brk", heap or told.get("start_brk", 0))
    layout = [told.get(name, 0) for name in images.LAYOUT]
    vmas = (images.vma(area, files.number(area)) for area in image.areas)
    return images.mm(layout, files.number(program), words, vmas)


def _left_out(area: Area) -> Run:
    return Run(area.start, (area.end - area.start) // PAGE, PageKind.LEFT_OUT)


def mark(image: Image) -> bytes:
    """What CRIU has no place for."""
    unknown = [
        {"start": run.start, "end": run.end, "why": run.kind.name.lower(), "errno": run.error}
        for area in image.areas
        for run in area.runs or (_left_out(area),)
        if not run.kind.known
    ]
    words = {
        "memtop": __version__,
        "memory_only": True,
        "pid": image.origin.pid,
        "comm": image.origin.comm,
        "time": image.origin.time,
        "says": image.statement.sentence,
        **asdict(image.statement),
        "not_known": unknown,
    }
    return json.dumps(words, indent=1).encode() + b"\n"
