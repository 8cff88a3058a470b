"""What a dump holds, whatever file it ends in: mappings, each page's fate, how consistent it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import overload

from memtop.linux.fates import of_kind
from memtop.linux.runs import runs_pages
from memtop.model.layout import MAPPING, PAGE, RUN, Kind, Perm
from memtop.model.mapping import MappingTable
from memtop.model.names import clean
from memtop.model.runs import PageRuns
from memtop.model.units import seconds, size


class PageKind(IntEnum):
    """What a dump says of a run of pages."""

    DATA = 1  # contents are stored
    ZERO = 2  # all zeros, nothing is stored
    HOLE = 3  # never touched, and reads as zeros
    PARENT = 4  # as in the parent
    UNREADABLE = 5  # it was there and could not be read; the run says with which errno
    SWAPPED = 6  # in swap, and reading it was not asked for
    ABSENT = 7  # not in memory; its contents are those of the file or shared memory behind it
    LEFT_OUT = 8  # in memory or not, it was not to be dumped

    @property
    def known(self) -> bool:
        """A dump alone, or with its parents, tells the contents."""
        return self <= PageKind.PARENT


@dataclass(frozen=True, slots=True)
class Run:
    """Pages of one kind next to each other."""

    start: int
    pages: int
    kind: PageKind
    error: int = 0

    @property
    def end(self) -> int:
        """Byte address behind the last page."""
        return self.start + self.pages * PAGE


class Fates(Sequence[Run]):
    """Runs as packed ``layout.RUN`` records whose flags say what their pages are (``linux/fates.py``).

    There may be hundreds of thousands of them.
    """

    __slots__ = ("packed",)

    def __init__(self, packed: PageRuns) -> None:
        self.packed = packed

    def __len__(self) -> int:
        return len(self.packed)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Fates: ...
    def __getitem__(self, index: int | slice) -> Run | Fates:
        if isinstance(index, slice):
            return Fates(self.packed[index])
        at = range(len(self))[index]
        return _fate(*RUN.unpack_from(self.packed.packed, at * RUN.size))

    def __iter__(self) -> Iterator[Run]:
        return (_fate(*fields) for fields in RUN.iter_unpack(self.packed.packed))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __eq__(self, other: object) -> bool:
        return (
            tuple(self) == other
            if isinstance(other, tuple)
            else self.packed == getattr(other, "packed", None)
        )

    def __hash__(self) -> int:
        return hash(self.packed)


def _fate(start: int, pages: int, flags: int) -> Run:
    return Run(start, pages, PageKind(flags & 0xFF), flags >> 8)


def pack(runs: Sequence[Run]) -> PageRuns:
    """As ``Fates`` hold them. A record counts 32 bits of pages: where there are more, it takes several."""
    if isinstance(runs, Fates):
        return runs.packed
    parts = []
    for run in runs:
        start, left = run.start, run.pages
        while left:
            pages = min(left, 0xFFFFFFFF)
            parts.append(RUN.pack(start, pages, run.kind | run.error << 8))
            start, left = start + pages * PAGE, left - pages
    return PageRuns(b"".join(parts))


def runs_of(runs: Sequence[Run], kind: PageKind) -> PageRuns:
    """The pages of one kind."""
    return of_kind(pack(runs), kind, kind)


def pages_of(runs: Sequence[Run], kind: PageKind) -> int:
    """How many base pages are of this kind."""
    return runs_pages(runs_of(runs, kind))


@dataclass(frozen=True, slots=True)
class Area:
    """A mapping as it is dumped.

    Attributes:
        start, end: byte addresses.
        offset: bytes into the file.
        name: as the kernel prints it, uncleaned.
        wanted: its contents are dumped; else ``why`` says why not.
        runs: of a wanted one, all of its pages, sorted and without gaps.
    """

    start: int
    end: int
    perms: Perm
    kind: Kind
    offset: int
    major: int
    minor: int
    inode: int
    name: bytes
    wanted: bool
    why: str = ""
    runs: Sequence[Run] = ()

    @property
    def title(self) -> str:
        """For a person."""
        return clean(self.name) or f"[{self.kind.label}]"


def raw_mappings(table: MappingTable) -> Iterator[tuple[int, int, Perm, Kind, int, int, int, int, bytes]]:
    """start, end, perms, kind, offset, major, minor, inode, name of each mapping."""
    for start, end, offset, inode, major, minor, at, length, perms, kind in MAPPING.iter_unpack(table.packed):
        name = table.names[at : at + length]
        yield start, end, Perm(perms), Kind(kind), offset, major, minor, inode, name


class Freeze(str, Enum):
    """``--freeze``: when the process stands still."""

    FINAL = "final"
    NONE = "none"
    FULL = "full"


class Consistency(str, Enum):
    """What the pages of a dump have in common."""

    POINT = "point"
    PAGES = "pages"
    TORN = "torn"

    @property
    def meaning(self) -> str:
        """One clause."""
        return {
            Consistency.POINT: "one point in time",
            Consistency.PAGES: "each page consistent, the whole not",
            Consistency.TORN: "taken while it ran: pages may be torn",
        }[self]


@dataclass(frozen=True, slots=True)
class Round:
    """One pass over pages while the process ran.

    Attributes:
        pages: copied.
        took: seconds.
    """

    pages: int
    took: float


@dataclass(slots=True)
class Statement:
    """How a dump came about: what the result line, the core's note and the snapshot's header say.

    Attributes:
        stop_s: seconds from the first thread being stopped until the last ran again; 0: none was.
        longest_s: of a single thread.
        final_pages: read while it stood still.
        unsettled: pages that were being written each time they were read.
        doubts: sentences on what may be less exact than the rest says.
    """

    freeze: Freeze
    consistency: Consistency
    tracker: str = "off"
    exactness: str = "none"
    ended_because: str = ""
    rounds: list[Round] = field(default_factory=list)
    stop_s: float = 0.0
    longest_s: float = 0.0
    threads: int = 0
    final_pages: int = 0
    unsettled: int = 0
    doubts: list[str] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """For the result."""
        text = self.consistency.meaning
        if self.stop_s:
            who = f"all {self.threads} threads" if self.threads > 1 else "its thread"
            text += f"; {who} stood still for {seconds(self.stop_s)}"
        if self.rounds:
            text += f"; {len(self.rounds)} round{'s' if len(self.rounds) > 1 else ''} while it ran"
        if self.final_pages:
            text += f", then {size(self.final_pages * PAGE)}"
        return text + "".join(f"; {doubt}" for doubt in self.doubts)


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose memory it is: identity and names.

    Attributes:
        time: seconds since the epoch, of the point in time or of the end.
        machine: e_machine of its program, elf(5).
    """

    pid: int
    start_time: int
    boot_id: str
    kernel: str
    host: str
    comm: str
    machine: int
    time: float


@dataclass(frozen=True, slots=True)
class Image:
    """A dump without the contents of its pages.

    Attributes:
        notes: the ELF notes of a core of this moment: threads, registers, auxv, files.
    """

    origin: Origin
    areas: tuple[Area, ...]
    statement: Statement
    notes: bytes = b""

    def pages_of(self, kind: PageKind) -> int:
        """How many base pages are of this kind."""
        return sum(pages_of(area.runs, kind) for area in self.areas)

    def runs_of(self, kind: PageKind) -> PageRuns:
        """All pages of this kind."""
        return PageRuns(b"".join(runs_of(area.runs, kind).packed for area in self.areas))
