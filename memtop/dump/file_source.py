"""Pages of program and libraries that are not in memory, from their files: the process does not get them.

gcore and the kernel read them through the process, which fills its memory. A debugger that takes each segment
of a library in one piece, as jhsdb does, needs them in a core.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Sequence

from memtop.dump.image import Area
from memtop.dump.plan import Plan, Range, ranges_runs
from memtop.dump.source import copy_loaded
from memtop.linux.vmread import Copied, OutFile, Pieces, hash_pages
from memtop.model.layout import PAGE, RUN, Perm
from memtop.model.runs import PageRuns


def object_areas(areas: Iterable[Area], file_of: Callable[[Area], object]) -> list[Area]:
    """The private mappings of files that the process also has code from.

    Args:
        file_of: what two mappings of the same file have in common.
    """
    areas = list(areas)
    code = {file_of(a) for a in areas if a.perms & Perm.EXEC}
    return [a for a in areas if a.inode and not a.perms & Perm.SHARED and file_of(a) in code]


def object_files(plan: Plan) -> list[tuple[Area, Range]]:
    """What is to be dumped of these mappings."""
    found = object_areas((part.area for part in plan.parts), lambda a: (a.major, a.minor, a.inode))
    starts = {area.start for area in found}
    return [
        (part.area, part.take)
        for part in plan.parts
        if part.area.start in starts and part.take.start < part.take.end
    ]


class FileSource:
    """Contents of these mappings as their files have them now.

    Args:
        mapped: mappings and what is wanted of each; see ``object_files``.
        opener: of the file of a mapping; None: it can't be had.

    Attributes:
        runs: pages that it has; none behind the end of a file.
    """

    whole = False

    def __init__(self, mapped: Sequence[tuple[Area, Range]], opener: Callable[[Area], int | None]) -> None:
        self._parts: list[tuple[int, int, int, int]] = []  # start, end, offset, fd
        for area, take in mapped:
            fd = opener(area)
            if fd is None:
                continue
            offset = area.offset + take.start - area.start
            there = max(-(-(os.fstat(fd).st_size - offset) // PAGE) * PAGE, 0)
            self._parts.append((take.start, min(take.end, take.start + there), offset, fd))
        self.runs = ranges_runs([Range(start, end) for start, end, _, _ in self._parts if start < end])

    def close(self) -> None:
        """Closes the files. Idempotent."""
        while self._parts:
            os.close(self._parts.pop()[3])

    def copy(self, pieces: Pieces, out: OutFile, *, hashed: bool, overwrite: bool) -> Copied:
        """See ``PageSource``."""
        return copy_loaded(self, pieces, out, hashed=hashed, overwrite=overwrite)

    def load(self, runs: PageRuns, *, hashed: bool) -> tuple[memoryview, Copied]:
        """See ``PageSource``. A page that can't be read now has the errno for a state."""
        contents, states = bytearray(), bytearray()
        for start, pages, _ in RUN.iter_unpack(runs.packed):
            for low, high, offset, fd in self._within(start, start + pages * PAGE):
                try:
                    data, state = os.pread(fd, high - low, offset), 0
                except OSError as error:
                    data, state = b"", error.errno or 5
                contents += data.ljust(high - low, b"\0")
                states += bytes([state]) * ((high - low) // PAGE)
        view = memoryview(contents)
        return view, Copied(states, hash_pages(view) if hashed else array("Q"), len(states))

    def _within(self, start: int, end: int) -> list[tuple[int, int, int, int]]:
        """The parts of a range that files have: first byte, byte behind, offset in the file, descriptor."""
        return [
            (max(low, start), min(high, end), offset + max(start - low, 0), fd)
            for low, high, offset, fd in self._parts
            if low < end and start < high
        ]
