"""The pages of a process that a filter matches: PAGEMAP_SCAN with the filter's masks (``native/match.c``)."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from struct import Struct

from memtop.linux.access import require_action
from memtop.linux.pagemap import SPARSE_LIMIT
from memtop.linux.pagemap_file import PagemapFile
from memtop.linux.scan_masks import Masks, compile_masks
from memtop.model.filter import Field, Tree, atoms, within
from memtop.model.layout import HIGHEST, PAGE, Category, Kind
from memtop.model.mapping import MappingTable
from memtop.native import ffi, lib

MATCH = Struct("<QQQ")
"""start, end (byte addresses), categories: ``mt_match``."""


@dataclass(frozen=True, slots=True)
class PageMatch:
    """Pages next to each other that match, all of the same categories.

    Attributes:
        start, end: byte addresses, end exclusive.
        index: their mapping in the table; None: it appeared or grew after maps was read.
    """

    start: int
    end: int
    categories: Category
    index: int | None

    @property
    def pages(self) -> int:
        """Base pages."""
        return (self.end - self.start) // PAGE


@dataclass(frozen=True, slots=True)
class Stretch:
    """Mappings next to each other that take the same scans.

    Attributes:
        start, end: byte addresses.
        first, last: indices into the table, last exclusive.
    """

    start: int
    end: int
    first: int
    last: int
    scans: tuple[Masks, ...]


def plan(
    tree: Tree,
    table: MappingTable,
    known: Category,
    span: tuple[int, int] = (0, HIGHEST),
    *,
    protect: bool,
    only: Container[int] | None = None,
) -> list[Stretch]:
    """Which scans to make where; mappings in which no page can match are left out.

    Args:
        tree: the filter.
        table: all mappings.
        known: categories of this kernel (``scan_masks.usable``).
        span: start and end byte address to look between.
        protect: matching pages will be write-protected. Of a hugetlb mapping, which can't be protected in
            part of a huge page, all is taken that the span touches.
        only: indices of mappings to look at; None: all.

    Raises:
        Failed: the filter takes too many scans.
    """
    compiled: dict[Tree, tuple[Masks, ...]] = {}
    by_mapping = any(isinstance(atom, Field) for atom in atoms(tree))
    stretches: list[Stretch] = []
    for index in range(len(table)):
        if only is not None and index not in only:
            continue
        start, end = table.range_of(index)
        if not (protect and start < span[1] and end > span[0] and table.kind_of(index) is Kind.HUGETLB):
            start, end = max(start, span[0]), min(end, span[1])
        if start >= end or start >= HIGHEST:
            continue
        here = within(tree, table[index]) if by_mapping else tree
        if here not in compiled:
            compiled[here] = compile_masks(here, known, protect=protect)
        scans = compiled[here]
        last = stretches[-1] if stretches else None
        if not scans:
            continue
        if last and last.last == index and last.scans == scans:
            stretches[-1] = Stretch(last.start, end, last.first, index + 1, scans)
        else:
            stretches.append(Stretch(start, end, index, index + 1, scans))
    return stretches


class Matcher(PagemapFile):
    """Finds matching pages of one address space.

    Args:
        pid: the process.
        use_ioctl: the kernel has PAGEMAP_SCAN; else the entries of pagemap are read.
        tid: a live thread, where the main thread has ended.

    Raises:
        MemtopError: as ``PagemapFile``.
    """

    def __init__(self, pid: int, *, use_ioctl: bool, tid: int | None = None) -> None:
        super().__init__(pid, tid)
        self._use_ioctl = use_ioctl
        self._matches = ffi.gc(lib.mt_matches_new(), lib.mt_matches_free)

    def find(
        self, table: MappingTable, stretches: Sequence[Stretch], returns: Category, *, protect: bool = False
    ) -> Iterator[PageMatch]:
        """Matching pages, sorted by address, cut at mappings. Found as they are asked for.

        Args:
            table: the mappings that ``stretches`` were made for.
            stretches: ``plan``.
            returns: categories to be told; FILE and SOFT_DIRTY cost more than the rest.
            protect: write-protect what matches in the same call, so that it is found once. What was protected
                is found no more by anybody, so the caller must take all matches.

        Raises:
            ProcessGone: the address space ended.
            NotPermitted: protect, with ``--readonly``.
        """
        if protect:
            require_action(f"write-protecting process {self.pid}")
        for stretch in stretches:
            scans = ffi.new("mt_masks[]", [(s.inverted, s.mask, s.anyof) for s in stretch.scans])
            request = ffi.new(
                "mt_match_request *",
                {
                    "pagemap_fd": self._fd,
                    "use_ioctl": self._use_ioctl,
                    "protect": protect,
                    "scan_count": len(stretch.scans),
                    "scans": scans,
                    "returns": returns,
                },
            )
            for start, end in self._ranges(table, stretch):
                at = ffi.new("uint64_t *", start)
                while at[0] < end:
                    self._check(lib.mt_match_run(self._matches, request, at, end))
                    yield from self._cut(table, stretch)

    def _ranges(self, table: MappingTable, stretch: Stretch) -> Iterator[tuple[int, int]]:
        if self._use_ioctl:
            yield stretch.start, stretch.end
            return
        for index in range(stretch.first, stretch.last):  # what is mapped, and not too much of it
            start, end = table.range_of(index)
            start, end = max(start, stretch.start), min(end, stretch.end)
            if (end - start) // PAGE <= SPARSE_LIMIT:
                yield start, end

    def _cut(self, table: MappingTable, stretch: Stretch) -> Iterator[PageMatch]:
        """The answer of one call, every match cut where a mapping begins or ends."""
        count, items = lib.mt_matches_count(self._matches), lib.mt_matches_items(self._matches)
        packed = bytes(ffi.buffer(items, count * MATCH.size)) if count else b""
        index = stretch.first
        known: dict[int, Category] = {}  # making a Category takes longer than all the rest
        for start, end, bits in MATCH.iter_unpack(packed):
            at, categories = start, known.get(bits)
            if categories is None:
                categories = known[bits] = Category(bits)
            while at < end:
                while index < stretch.last and table.range_of(index)[1] <= at:
                    index += 1
                lower, upper = table.range_of(index) if index < stretch.last else (end, end)
                inside = lower <= at
                until = min(end, upper if inside else lower)
                yield PageMatch(at, until, categories, index if inside else None)
                at = until
