"""Pages of program and libraries that a snapshot lacks, from their files, if those are what they were.

A snapshot says of them "absent": what the mapped file holds there. A debugger that takes each segment in one
piece needs them in a core.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from memtop.dump.chain import Chain
from memtop.dump.file_source import FileSource, object_areas
from memtop.dump.image import Area, Image, PageKind, Run, pack, runs_of
from memtop.dump.plan import Range
from memtop.dump.source import STEP
from memtop.linux.mapped_file import open_unchanged
from memtop.linux.runsets import runs_intersect
from memtop.model.layout import PAGE, RUN, Perm
from memtop.model.names import clean
from memtop.model.runs import PageRuns

Key = tuple[int, int, int, bytes]


@dataclass(frozen=True, slots=True)
class Files:
    """What files have of a snapshot.

    Attributes:
        source: of files that are what they were; the caller's to close.
        refused: names of the others.
    """

    source: FileSource
    refused: tuple[str, ...]


def unchanged_files(chain: Chain, image: Image) -> Files:
    """Looks for the files of program and libraries on this machine.

    A file is taken for the one that was mapped if it has its name, device and inode, nobody has changed it
    since, by its times, and each page of its code that the snapshot holds is the same in it, of which there
    has to be one. So a snapshot that somebody has made up gets nothing out of a file that he does not know.

    Raises:
        Damaged: the snapshot is.
    """
    wanted: dict[Key, list[Area]] = {}
    for area in object_areas(image.areas, _key):
        wanted.setdefault(_key(area), []).append(area)
    mapped: list[tuple[Area, Range]] = []
    refused = []
    for areas in wanted.values():
        if not any(len(runs_of(area.runs, PageKind.ABSENT)) for area in areas):
            continue
        if _is_unchanged(chain, image, areas):
            mapped += [(area, Range(area.start, area.end)) for area in areas]
        else:
            refused.append(clean(areas[0].name))
    when = image.origin.time
    return Files(FileSource(mapped, lambda area: _open(area, when)), tuple(refused))


def with_data(area: Area, filled: PageRuns) -> list[Run]:
    """The runs of a mapping, where these pages have got contents."""
    runs: list[Run] = []
    for run in area.runs:
        found = runs_intersect(pack([run]), filled) if run.kind is PageKind.ABSENT else PageRuns()
        at = run.start
        for start, pages, _ in RUN.iter_unpack(found.packed):
            if at < start:
                runs.append(Run(at, (start - at) // PAGE, run.kind))
            runs.append(Run(start, pages, PageKind.DATA))
            at = start + pages * PAGE
        if at < run.end:
            runs.append(Run(at, (run.end - at) // PAGE, run.kind, run.error))
    return runs


def _key(area: Area) -> Key:
    return area.major, area.minor, area.inode, area.name


def _open(area: Area, when: float) -> int | None:
    return open_unchanged(area.name, area.major, area.minor, area.inode, when)


def _is_unchanged(chain: Chain, image: Image, areas: Sequence[Area]) -> bool:
    fd = _open(areas[0], image.origin.time)
    if fd is None:
        return False
    try:
        fixed = [a for a in areas if not a.perms & Perm.WRITE and (a.perms & Perm.EXEC or a.offset == 0)]
        same = [_is_same(chain, a, start, count, fd) for a in fixed for start, count in _pieces(a)]
        return bool(same) and all(same)
    except (OSError, OverflowError):  # it can't be read, or there is no such offset
        return False
    finally:
        os.close(fd)


def _pieces(area: Area) -> Iterator[tuple[int, int]]:
    """What the snapshot holds of a mapping: address and bytes, not too many at once."""
    for first, pages, _ in RUN.iter_unpack(runs_of(area.runs, PageKind.DATA).packed):
        for start in range(first, first + pages * PAGE, STEP * PAGE):
            yield start, min(STEP * PAGE, first + pages * PAGE - start)


def _is_same(chain: Chain, area: Area, start: int, count: int, fd: int) -> bool:
    """The last page of a file has zeros behind its end."""
    held, _ = chain.load(PageRuns(RUN.pack(start, count // PAGE, 0)), hashed=False)
    return os.pread(fd, count, area.offset + start - area.start).ljust(count, b"\0") == held
