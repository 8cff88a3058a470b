"""What is to be dumped: which mappings, by which rule, and why the others are left out.

The rules are the kernel's own for cores, core(5): coredump_filter and MADV_DONTDUMP; ``--all`` takes what
they leave out. Memory of the kernel and of devices is never read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntFlag

from memtop.dump.image import Area, Fates, PageKind, raw_mappings
from memtop.linux.fates import fill, tag
from memtop.linux.look import Looker
from memtop.linux.runsets import regions_runs, runs_intersect, runs_subtract, runs_union
from memtop.model.layout import PAGE, REGION, RUN, Category, Kind, Perm
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRuns

GUARD_ERROR = 14
"""EFAULT: what reading a guard page answers."""

VDSO = b"[vdso]"


class CoreFilter(IntFlag):
    """Bits of /proc/PID/coredump_filter."""

    ANON_PRIVATE = 1
    ANON_SHARED = 2
    MAPPED_PRIVATE = 4
    MAPPED_SHARED = 8
    ELF_HEADERS = 16
    HUGETLB_PRIVATE = 32
    HUGETLB_SHARED = 64


@dataclass(frozen=True, slots=True)
class Range:
    """Byte addresses, end exclusive."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Part:
    """One mapping of a plan.

    Attributes:
        area: as it will stand in the dump, without its runs.
        take: what of it is dumped; empty if nothing is.
        rest: what its pages are that are not in memory.
    """

    area: Area
    take: Range
    rest: PageKind


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be dumped of the mappings of one moment."""

    table: MappingTable
    parts: tuple[Part, ...]

    @property
    def ranges(self) -> list[Range]:
        """All that is taken; touching ranges are joined."""
        joined: list[Range] = []
        for part in self.parts:
            if part.take.start == part.take.end:
                continue
            if joined and joined[-1].end == part.take.start:
                joined[-1] = Range(joined[-1].start, part.take.end)
            else:
                joined.append(part.take)
        return joined

    @property
    def steady(self) -> list[Range]:
        """What the process can't write, as it is mapped now."""
        return [
            part.take
            for part in self.parts
            if part.area.kind is Kind.SPECIAL or not part.area.perms & (Perm.WRITE | Perm.SHARED)
        ]

    @property
    def always(self) -> list[Range]:
        """Read whether or not it is in memory yet: the kernel's own pages, which cost the process nothing."""
        return [part.take for part in self.parts if part.area.name == VDSO and part.area.wanted]


def deciding_bit(
    wanted: int, perms: Perm, kind: Kind, inode: int, name: bytes, has_own_pages: Callable[[], bool]
) -> CoreFilter:
    """Which bit of a filter decides about a mapping.

    Args:
        wanted: the filter. For a private file mapping with pages of its own either of two bits does.
        has_own_pages: asked only where it matters.
    """
    shared = perms & Perm.SHARED
    if kind is Kind.HUGETLB:
        return CoreFilter.HUGETLB_SHARED if shared else CoreFilter.HUGETLB_PRIVATE
    if shared:
        unlinked = name.endswith(b" (deleted)")
        return CoreFilter.ANON_SHARED if unlinked or not inode else CoreFilter.MAPPED_SHARED
    if not inode:
        return CoreFilter.ANON_PRIVATE
    own = wanted & CoreFilter.ANON_PRIVATE and not wanted & CoreFilter.MAPPED_PRIVATE
    return CoreFilter.ANON_PRIVATE if own and has_own_pages() else CoreFilter.MAPPED_PRIVATE


class Planner:
    """Decides about mappings.

    Args:
        looker: of the process.
        core_filter: what the process wants in a core.
        flags: VmFlags by start address, where they are known.
        take_all: dump everything that can be read.
        only: nothing but these ranges.
    """

    def __init__(
        self,
        looker: Looker,
        core_filter: int,
        flags: dict[int, frozenset[bytes]],
        *,
        take_all: bool = False,
        only: Sequence[Range] = (),
    ) -> None:
        self._looker, self._filter, self._flags = looker, CoreFilter(core_filter), flags
        self._take_all, self._only = take_all, tuple(only)
        self._last = Plan(MappingTable(), ())

    def plan(self, table: MappingTable) -> Plan:
        """The plan for these mappings; the same again for the same table.

        Raises:
            ProcessGone: the address space ended.
        """
        if table is not self._last.table:
            self._last = Plan(table, tuple(self._part(*raw) for raw in raw_mappings(table)))
        return self._last

    def _part(
        self,
        start: int,
        end: int,
        perms: Perm,
        kind: Kind,
        offset: int,
        major: int,
        minor: int,
        inode: int,
        name: bytes,
    ) -> Part:
        private = not perms & Perm.SHARED
        area = Area(start, end, perms, kind, offset, major, minor, inode, name, wanted=True)
        rest = PageKind.HOLE if private and not inode else PageKind.ABSENT
        why, stop = self._why_not(area), end
        if why and private and inode and offset == 0 and self._is_header_wanted(area):
            why, stop = "", min(start + PAGE, end)
        take = self._clip(start, stop) if not why else Range(start, start)
        if not why and take.start == take.end:
            why = "outside of the range that was asked for"
        if why:
            area = Area(start, end, perms, kind, offset, major, minor, inode, name, wanted=False, why=why)
        return Part(area, take, rest)

    def _why_not(self, area: Area) -> str:
        flags = self._flags.get(area.start, frozenset())
        if area.start >> 63 or (area.kind is Kind.SPECIAL and area.name != VDSO):
            return "kernel or device memory"
        if b"io" in flags or b"pf" in flags:
            return "device memory"
        if self._take_all or area.name == VDSO:
            return ""
        if b"dd" in flags:
            return "it is marked as not to be dumped (MADV_DONTDUMP, or secret memory)"
        bit = deciding_bit(
            self._filter, area.perms, area.kind, area.inode, area.name, lambda: self._has_own_pages(area)
        )
        return (
            "" if self._filter & bit else f"coredump_filter {self._filter:#x} leaves it out ({_NAMES[bit]})"
        )

    def _has_own_pages(self, area: Area) -> bool:
        regions = self._looker.look(ranges_runs([Range(area.start, area.end)]), file=True)
        return any(not categories & Category.FILE for _, _, categories in REGION.iter_unpack(regions))

    def _is_header_wanted(self, area: Area) -> bool:
        """The first page of a program or library names its build: how a debugger finds the right file."""
        wanted = self._filter & CoreFilter.ELF_HEADERS and area.perms & Perm.READ
        return bool(wanted) and area.kind in (Kind.TEXT, Kind.FILE, Kind.DATA)

    def _clip(self, start: int, end: int) -> Range:
        if not self._only:
            return Range(start, end)
        for only in self._only:
            first, last = max(start, only.start), min(end, only.end)
            if first < last:
                return Range(first, last)
        return Range(start, start)


_NAMES = {
    CoreFilter.ANON_PRIVATE: "private memory",
    CoreFilter.ANON_SHARED: "shared memory",
    CoreFilter.MAPPED_PRIVATE: "private file mappings",
    CoreFilter.MAPPED_SHARED: "shared file mappings",
    CoreFilter.HUGETLB_PRIVATE: "private huge pages",
    CoreFilter.HUGETLB_SHARED: "shared huge pages",
}


@dataclass(frozen=True, slots=True)
class Census:
    """What is in memory of what is to be dumped, at one moment.

    Attributes:
        data: present, and not the zero page; swapped pages too, if they are to be read.
        zero: mapped zero pages.
        swapped: in swap, not to be read.
        guard: guard pages.
    """

    data: PageRuns
    zero: PageRuns
    swapped: PageRuns
    guard: PageRuns

    @property
    def sets(self) -> tuple[PageRuns, ...]:
        """All of it, in this order."""
        return (self.data, *self.others)

    @property
    def others(self) -> tuple[PageRuns, ...]:
        """All but data."""
        return self.zero, self.swapped, self.guard

    def over(self, change: Callable[[PageRuns], PageRuns]) -> Census:
        """With all sets changed."""
        return Census(*map(change, self.sets))


def count(looker: Looker, plan: Plan, *, read_swap: bool, among: PageRuns | None = None) -> Census:
    """Looks at all pages of a plan, or at some of them; nothing changes.

    Raises:
        ProcessGone: the address space ended.
    """
    near = among is not None
    regions = looker.look(ranges_runs(plan.ranges) if among is None else among, near=near)
    data = Category.PRESENT | Category.SWAPPED if read_swap else Category.PRESENT
    none = PageRuns()
    census = Census(
        data=regions_runs(regions, data, Category.PFNZERO | Category.GUARD),
        zero=regions_runs(regions, Category.PFNZERO, 0),
        swapped=none if read_swap else regions_runs(regions, Category.SWAPPED, Category.GUARD),
        guard=regions_runs(regions, Category.GUARD, 0),
    )
    if among is not None:
        return census.over(lambda runs: runs_intersect(runs, among))
    return replace(census, data=runs_union(census.data, ranges_runs(plan.always)))


def ranges_runs(ranges: Sequence[Range]) -> PageRuns:
    """All pages of sorted ranges."""
    parts = []
    for r in ranges:
        start, left = r.start, (r.end - r.start) // PAGE
        while left > 0:
            pages = min(left, 0xFFFFFFFF)
            parts.append(RUN.pack(start, pages, 0))
            start, left = start + pages * PAGE, left - pages
    return PageRuns(b"".join(parts))


@dataclass(slots=True)
class Found:
    """What reading the pages of a census told besides.

    Attributes:
        zero: all zeros.
        unreadable: by errno.
        parent: as in the parent.
    """

    zero: PageRuns
    unreadable: dict[int, PageRuns]
    parent: PageRuns


def compose(plan: Plan, census: Census, found: Found) -> tuple[Area, ...]:
    """Puts together what every page of every mapping is."""
    known = PageRuns()

    def add(runs: PageRuns, kind: PageKind, error: int = 0) -> None:
        nonlocal known
        known = runs_union(known, tag(runs_subtract(runs, known), kind | error << 8))

    add(runs_union(census.zero, found.zero), PageKind.ZERO)
    add(found.parent, PageKind.PARENT)
    for error, runs in found.unreadable.items():
        add(runs, PageKind.UNREADABLE, error)
    add(census.data, PageKind.DATA)
    add(census.swapped, PageKind.SWAPPED)
    add(census.guard, PageKind.UNREADABLE, GUARD_ERROR)
    wanted = [part for part in plan.parts if part.area.wanted]
    filled = iter(fill(known, [_spans(part) for part in wanted]))
    return tuple(
        replace(part.area, runs=Fates(next(filled))) if part.area.wanted else part.area for part in plan.parts
    )


def _spans(part: Part) -> tuple[int, int, int, int, int, int, int]:
    """For ``fill``. Shared memory has no swap entries of its own: what looks like one marks a page that was
    write-protected."""
    area, take = part.area, part.take
    doubted = PageKind.SWAPPED if area.perms & Perm.SHARED else 0
    return area.start, take.start, take.end, area.end, part.rest, PageKind.LEFT_OUT, doubted
