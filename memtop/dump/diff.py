"""What differs between two dumps: by mapping, and by runs of pages.

Two lists of runs are swept at once, and pages that both have are compared by their hashes: those of a
snapshot are in its index, so that its contents are not read at all; an ELF core is hashed in small steps.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from typing import Protocol

from memtop.dump.chain import Chain
from memtop.dump.core_reader import CoreFile
from memtop.dump.files import open_dump, read_at
from memtop.dump.image import Area, PageKind, Run
from memtop.linux.runsets import state_runs
from memtop.linux.vmread import Pieces, hash_pages, mark_same
from memtop.model.layout import PAGE, PIECE, RUN
from memtop.model.names import clean_text
from memtop.model.runs import PageRuns

STEP = 1024 * PAGE
SAME = 1
BLANK = (PageKind.ZERO, PageKind.HOLE)
ZERO_HASH = hash_pages(bytes(PAGE))[0]


class Memory(Protocol):
    """One of the two.

    Attributes:
        path: the file.
        words: whose memory it is, for people.
        named: it tells what each mapping is for; an ELF core only tells its file.
        areas: all mappings by rising address, no run of them of kind PARENT.
    """

    path: str
    named: bool
    areas: tuple[Area, ...]

    @property
    def words(self) -> str:
        """For people."""
        ...

    def hashes(self, start: int, end: int) -> array[int]:
        """Of pages of kind DATA."""
        ...

    def contents(self, start: int, end: int) -> bytes:
        """Of pages of kind DATA."""
        ...

    def close(self) -> None:
        """Closes its files."""
        ...


class ChainMemory:
    """A snapshot with its parents."""

    named = True

    def __init__(self, path: str) -> None:
        self.path = path
        self._chain = Chain(path)
        try:
            self.image = self._chain.image()
        except BaseException:
            self._chain.close()
            raise
        self.areas = self.image.areas

    @property
    def words(self) -> str:
        """For people."""
        origin = self.image.origin
        return f"{origin.comm} {origin.pid}, {self.image.statement.consistency.meaning}"

    def hashes(self, start: int, end: int) -> array[int]:
        """See ``Memory``."""
        return self._chain.hashes(_runs(start, end))

    def contents(self, start: int, end: int) -> bytes:
        """See ``Memory``; checked against their hashes."""
        return bytes(self._chain.load(_runs(start, end), hashed=False)[0])

    def close(self) -> None:
        """See ``Memory``."""
        self._chain.close()


def _runs(start: int, end: int) -> PageRuns:
    return PageRuns(RUN.pack(start, (end - start) // PAGE, 0))


def open_memory(path: str) -> Memory:
    """A snapshot or an ELF core.

    Raises:
        Failed: it is neither, or damaged.
    """
    fd = open_dump(path)
    try:
        head = read_at(fd, 0, 4, path)
    finally:
        os.close(fd)
    return CoreFile(path) if head == b"\x7fELF" else ChainMemory(path)


class Change(str, Enum):
    """What became of a page between A and B."""

    CHANGED = "changed"  # both know its contents, and they differ
    APPEARED = "appeared"  # A had no page there, or no mapping; B has contents
    VANISHED = "vanished"  # the other way round
    UNKNOWN = "unknown"  # one of the two does not tell its contents, the other does


class Spans:
    """Address ranges by rising address; touching ones are one. Sixteen bytes each, however long."""

    def __init__(self) -> None:
        self._edges = array("Q")

    def add(self, start: int, end: int) -> None:
        """At the end."""
        if self._edges and self._edges[-1] == start:
            self._edges[-1] = end
        else:
            self._edges.extend((start, end))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._edges[::2], self._edges[1::2], strict=True)

    def __len__(self) -> int:
        return len(self._edges) // 2

    @property
    def pages(self) -> int:
        """How many base pages."""
        return sum(end - start for start, end in self) // PAGE


@dataclass(frozen=True, slots=True)
class MappingDiff:
    """A range that is one mapping, or none, in A and in B.

    Attributes:
        a, b: the mapping there; None: there is none.
        runs: pages, by what became of them.
        turned: how it is another mapping now, or has other permissions; empty: it is the same one.
        dark: pages that neither tells the contents of.
    """

    start: int
    end: int
    a: Area | None
    b: Area | None
    runs: dict[Change, Spans] = field(default_factory=lambda: {change: Spans() for change in Change})
    turned: str = ""
    dark: int = 0

    @property
    def differs(self) -> bool:
        """Something is known to be different."""
        here = any(len(self.runs[c]) for c in Change if c is not Change.UNKNOWN)
        return here or bool(self.turned) or self.a is None or self.b is None


@dataclass(frozen=True, slots=True)
class _Segment:
    start: int
    end: int
    a: tuple[Area, PageKind] | None
    b: tuple[Area, PageKind] | None


def compare(a: Memory, b: Memory) -> Iterator[MappingDiff]:
    """All ranges by rising address, the same ones too.

    Raises:
        Failed: a file can't be read.
    """
    for _, group in groupby(_sweep(a.areas, b.areas), key=lambda s: (_start(s.a), _start(s.b))):
        segments = iter(group)
        first = next(segments)
        ours, theirs = first.a and first.a[0], first.b and first.b[0]
        runs = {change: Spans() for change in Change}
        end, dark = first.end, 0
        for segment in _chained(first, segments):
            end = segment.end
            dark += _judge(segment, a, b, runs)
        turned = _turned(ours, theirs, a.named and b.named) if ours and theirs else ""
        yield MappingDiff(first.start, end, ours, theirs, runs, turned, dark)


def _start(side: tuple[Area, PageKind] | None) -> int:
    return side[0].start if side else -1


def _chained(first: _Segment, rest: Iterator[_Segment]) -> Iterator[_Segment]:
    yield first
    yield from rest


def _sweep(a: Sequence[Area], b: Sequence[Area]) -> Iterator[_Segment]:
    """Cuts both at all edges of either; what neither maps is left out."""
    left, right = _flat(a), _flat(b)
    here, there = next(left, None), next(right, None)
    at = 0
    while here or there:
        starts = [max(side[0].start, at) for side in (here, there) if side]
        at = min(starts)
        in_a = here if here and here[0].start <= at else None
        in_b = there if there and there[0].start <= at else None
        edges = [side[0].end if side[0].start <= at else side[0].start for side in (here, there) if side]
        end = min(edges)
        yield _Segment(at, end, in_a and (in_a[1], in_a[0].kind), in_b and (in_b[1], in_b[0].kind))
        at = end
        if here and here[0].end <= at:
            here = next(left, None)
        if there and there[0].end <= at:
            there = next(right, None)


def _flat(areas: Sequence[Area]) -> Iterator[tuple[Run, Area]]:
    for area in areas:
        if not area.runs:
            yield Run(area.start, (area.end - area.start) // PAGE, PageKind.LEFT_OUT), area
        for run in area.runs:
            yield run, area


def _judge(segment: _Segment, a: Memory, b: Memory, runs: dict[Change, Spans]) -> int:
    """Enters the pages of a segment; returns how many neither knows."""
    start, end = segment.start, segment.end
    if segment.a is None or segment.b is None:
        side = segment.a or segment.b
        if side and side[1] is PageKind.DATA:
            runs[Change.APPEARED if segment.a is None else Change.VANISHED].add(start, end)
        return 0
    before, after = segment.a[1], segment.b[1]
    if not before.known or not after.known:
        if not before.known and not after.known:
            return (end - start) // PAGE
        runs[Change.UNKNOWN].add(start, end)
    elif before is PageKind.DATA or after is PageKind.DATA:
        change = Change.CHANGED
        if before is PageKind.HOLE:
            change = Change.APPEARED
        elif after is PageKind.HOLE:
            change = Change.VANISHED
        for low in range(start, end, STEP):
            high = min(low + STEP, end)
            for first, last in _different(_hashes(a, before, low, high), _hashes(b, after, low, high), low):
                runs[change].add(first, last)
    return 0


def _hashes(memory: Memory, kind: PageKind, start: int, end: int) -> array[int]:
    if kind in BLANK:
        return array("Q", [ZERO_HASH]) * ((end - start) // PAGE)
    return memory.hashes(start, end)


def _different(a: array[int], b: array[int], start: int) -> Iterator[tuple[int, int]]:
    if a == b:
        return
    states = bytearray(len(a))
    mark_same(a, b, states, SAME)
    index = Pieces(PIECE.pack(start, 0, len(a), 0), len(a))
    for first, pages, _ in RUN.iter_unpack(state_runs(index, states, 0).packed):
        yield first, first + pages * PAGE


def _turned(a: Area, b: Area, named: bool) -> str:
    """What is another one now."""
    changes = []
    perms_a, perms_b = permissions(a, named), permissions(b, named)
    if perms_a != perms_b:
        changes.append(f"{perms_a} → {perms_b}")
    where = a.offset - a.start == b.offset - b.start or not (a.inode or a.name.startswith(b"/"))
    if (named or (a.name and b.name)) and (a.name, a.inode if named else 0) != (
        b.name,
        b.inode if named else 0,
    ):
        changes.append(f"{a.title} → {b.title}" if a.title != b.title else "another file of that name")
    elif not where:
        changes.append("another part of the file")
    return ", ".join(changes)


def permissions(area: Area, named: bool = True) -> str:
    """``rw-p``, without the last letter where it is not known."""
    letters = "".join(c if area.perms & bit else "-" for c, bit in (("r", 1), ("w", 2), ("x", 4)))
    return letters + ("s" if area.perms & 8 else "p") * named


def lines(a: bytes, b: bytes, start: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Sixteen bytes of each where they differ, with their address."""
    for at in range(0, len(a), 16):
        if a[at : at + 16] != b[at : at + 16]:
            yield start + at, a[at : at + 16], b[at : at + 16]


class Reader:
    """Contents of both for differing pages; what is blank is zeros.

    Args:
        diff: a range as ``compare`` yields it.
    """

    def __init__(self, a: Memory, b: Memory, diff: MappingDiff) -> None:
        self._sides = ((a, diff.a), (b, diff.b))

    def pages(self, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Address and both contents of each page; nothing where one of them is unknown."""
        for at in range(start, end, PAGE):
            found = [_page(memory, area, at) for memory, area in self._sides]
            if found[0] is not None and found[1] is not None:
                yield at, found[0], found[1]


def _page(memory: Memory, area: Area | None, at: int) -> bytes | None:
    run = _run_at(area.runs, at) if area else None
    if run is None or not run.kind.known:
        return None
    return memory.contents(at, at + PAGE) if run.kind is PageKind.DATA else bytes(PAGE)


def _run_at(runs: Sequence[Run], at: int) -> Run | None:
    before = bisect_right(runs, at, key=lambda run: run.start)
    return runs[before - 1] if before and at < runs[before - 1].end else None


def title(memory: Memory) -> str:
    """Path and whose memory, for people."""
    return f"{clean_text(memory.path)}: {memory.words}"
