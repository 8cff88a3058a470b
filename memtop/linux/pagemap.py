"""Pages of a process through /proc/PID/pagemap: the PAGEMAP_SCAN ioctl (Linux 6.7), or its entries.

See Documentation/admin-guide/mm/pagemap.rst. The work is done in C without the GIL
(``memtop/native/scan.c``); this module opens the file, passes packed records and words the errors.
Whether a look is allowed is decided when the file is opened, not at each scan.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from memtop.linux.access import require_action
from memtop.linux.errors import Failed
from memtop.linux.page_flags import look_at_entries, page_flags
from memtop.linux.pagemap_file import PagemapFile
from memtop.linux.runs import CellRange, native_mappings, native_runs, packed_runs
from memtop.model.layout import COUNT, Category, CountFlag, Kind, Mode
from memtop.model.mapping import MappingTable
from memtop.model.peek import PageFlags
from memtop.model.runs import PageRuns
from memtop.native import ffi, lib

SPARSE_LIMIT = 4 << 20
"""Pages: larger mappings are left out where the ioctl is missing. Reading the entries of 16 GiB of
address space takes about 70 ms, whether there is anything in it or not."""

NO_FLAGS = CountFlag(0)


@dataclass(frozen=True, slots=True)
class PageCounts:
    """Base pages, summed over mappings; see ``layout.COUNT`` for what each means.

    Attributes:
        flags: those that any of the mappings has.
    """

    resident: int = 0
    huge: int = 0
    zero: int = 0
    swapped: int = 0
    guard: int = 0
    written: int = 0
    flags: CountFlag = NO_FLAGS


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What one scan saw.

    Attributes:
        counts: ``layout.COUNT`` records, one per mapping of the table.
        runs: written pages, sorted; those of mapping i are ``runs[first_run:first_run + run_count]``.
        sum: over all mappings.
        watched_resident, watched_written: pages per watched cell (native 32-bit unsigned), or empty.
    """

    counts: bytes
    runs: PageRuns
    sum: PageCounts
    watched_resident: bytes = b""
    watched_written: bytes = b""

    @property
    def written(self) -> int:
        """Written pages of all mappings."""
        return self.sum.written


class Scanner(PagemapFile):
    """Scans the pages of one address space, tick after tick.

    Args:
        pid: the process.
        use_ioctl: the kernel has PAGEMAP_SCAN; else entries are read, which tells nothing of huge and
            zero pages and allows CENSUS and SOFT_DIRTY only.
        guard_bit: the kernel knows ``Category.GUARD``.
        soft_dirty_bit: it knows ``Category.SOFT_DIRTY``; else entries are read for that.
        tid: a live thread, where the main thread has ended.

    Raises:
        MemtopError: as ``PagemapFile``.
    """

    def __init__(
        self,
        pid: int,
        *,
        use_ioctl: bool,
        guard_bit: bool,
        soft_dirty_bit: bool = True,
        tid: int | None = None,
    ) -> None:
        super().__init__(pid, tid)
        self._scan = ffi.gc(lib.mt_scan_new(), lib.mt_scan_free)
        self._use_ioctl = use_ioctl
        self._soft_dirty_bit = soft_dirty_bit
        self._guard = int(Category.GUARD) if guard_bit else 0
        self._counts = bytearray()  # kept: fresh memory costs page faults, and 30 000 mappings take megabytes

    def scan(
        self, table: MappingTable, modes: bytes, *,
        count_zero: bool = False, watch: CellRange | None = None, apart: bool = False,
    ) -> ScanResult:  # fmt: skip
        """One look at all mappings, each in its mode.

        Args:
            table: as read just before: what appeared since is not seen, and not lost either.
            modes: one ``layout.Mode`` byte per mapping.
            count_zero: count zero and guard pages in armed mappings too; a second look.
            watch: a range to count in fine cells.
            apart: a look beside the ticks: what an earlier scan has kept for the next one stays.

        Raises:
            ProcessGone: the address space ended.
            NotPermitted: a protecting mode, with ``--readonly``.
            Failed: anything else; what was cleared before is lost, so report everything once.
        """
        if len(modes) != len(table):
            raise ValueError("one mode per mapping")
        if Mode.ARMED in modes or Mode.ARMED_FILE in modes:
            require_action(f"write-protecting process {self.pid}")
        scan = ffi.gc(lib.mt_scan_new(), lib.mt_scan_free) if apart else self._scan
        if len(self._counts) != len(table) * COUNT.size:
            self._counts = bytearray(len(table) * COUNT.size)
        counts = bytearray(len(table) * COUNT.size) if apart else self._counts
        cells = watch.cells if watch else 0
        resident, written = bytearray(4 * cells), bytearray(4 * cells)
        request = ffi.new(
            "mt_scan_request *",
            {
                "pagemap_fd": self._fd,
                "use_ioctl": self._use_ioctl,
                "guard_bit": self._guard,
                "soft_dirty_bit": self._soft_dirty_bit,
                "count_zero": count_zero,
                "sparse_limit": SPARSE_LIMIT,
                "watch_start": watch.start if watch else 0,
                "watch_cell": watch.cell_pages if watch else 0,
                "watch_cells": cells,
                "watch_resident": ffi.from_buffer("uint32_t[]", resident) if cells else ffi.NULL,
                "watch_written": ffi.from_buffer("uint32_t[]", written) if cells else ffi.NULL,
            },
        )
        self._check(
            lib.mt_scan_run(
                scan,
                request,
                native_mappings(table),
                modes,
                len(table),
                ffi.from_buffer("mt_count[]", counts),
            )
        )
        runs = PageRuns(packed_runs(lib.mt_scan_runs(scan), lib.mt_scan_run_count(scan)))
        return ScanResult(bytes(counts), runs, count_sum(counts), bytes(resident), bytes(written))

    def strays(self, table: MappingTable, modes: bytes) -> list[int]:
        """Indices of armed mappings that hold pages but are not registered any more.

        A mapping can lose its userfaultfd and look the same in maps: unmapped and mapped anew, or moved
        by mremap. Changes nothing.

        Raises:
            ProcessGone: the address space ended.
        """
        if len(modes) != len(table):
            raise ValueError("one mode per mapping")
        found = ffi.new("uint32_t[]", len(table))
        count = self._check(
            lib.mt_scan_strays(
                self._scan, self._fd, native_mappings(table), modes, len(table), found, len(table)
            )
        )
        return list(ffi.unpack(found, count)) if count else []

    def find_huge(self, start: int, end: int) -> PageRuns:
        """Pages of a range (bytes) that huge pages map; a look that changes nothing.

        Raises:
            MemtopError: as ``scan``.
        """
        return self._find(True, start, end)

    def find_small(self, start: int, end: int) -> PageRuns:
        """Pages of a range that are there and mapped one by one."""
        return self._find(False, start, end)

    def _find(self, huge: bool, start: int, end: int) -> PageRuns:
        room, parts = 4096, []
        found, at = ffi.new("mt_run[]", room), ffi.new("uint64_t *", start)
        while at[0] < end:
            count = self._check(lib.mt_huge_find(self._fd, huge, at, end, found, room))
            parts.append(packed_runs(found, count))
        return PageRuns(b"".join(parts))

    def unprotect(self, table: MappingTable, indices: Sequence[int], userfaultfd: int) -> None:
        """Takes back the protection that pages of mappings just registered have kept from before.

        mremap that joins two mappings ends the tracking of both, but leaves the protection bits: what was
        written since would read as clean for good. After this the next scan reports it all.

        Args:
            table: the mappings.
            indices: those just registered.
            userfaultfd: the descriptor that they were registered with.

        Raises:
            ProcessGone: the address space ended.
        """
        require_action("write-protecting")
        wanted = array("I", indices)
        self._check(
            lib.mt_scan_unprotect(
                self._scan,
                self._fd,
                userfaultfd,
                native_mappings(table),
                ffi.from_buffer("uint32_t[]", wanted),
                len(wanted),
            )
        )

    def look(self, start: int, end: int) -> PageFlags:
        """What the pages of [start, end) are (bytes, whole pages); changes nothing. Raises as ``scan``."""
        if not self._use_ioctl:
            return look_at_entries(self._fd, start, end)
        said = ffi.new("mt_looked *")
        self._check(lib.mt_look(self._fd, start, end, self._guard, said))
        return page_flags(list(said.pages), said.first_present, start, end, guard=bool(self._guard))


def follow_huge(huge: PageRuns, written: PageRuns) -> tuple[PageRuns, int]:
    """What huge pages map now, and how many of them were split by a write.

    Args:
        huge: what they mapped, protected, when last looked.
        written: what one scan reported since.
    """
    now, count = ffi.new("mt_run[]", len(huge) + len(written) + 1), ffi.new("size_t *")
    split = lib.mt_huge_follow(native_runs(huge), len(huge), native_runs(written), len(written), now, count)
    if split < 0:
        raise Failed("counting huge pages failed", os.strerror(-split))
    return PageRuns(packed_runs(now, count[0])), split


def count_kinds(table: MappingTable, counts: bytes) -> tuple[int, ...]:
    """Resident pages by ``layout.Kind``."""
    pages = array("Q", bytes(8 * len(Kind)))
    lib.mt_count_kinds(
        native_mappings(table),
        ffi.from_buffer("mt_count[]", counts),
        len(table),
        ffi.from_buffer("uint64_t[]", pages),
    )
    return tuple(pages)


def count_sum(counts: bytes | bytearray) -> PageCounts:
    """Sum of ``layout.COUNT`` records."""
    t = ffi.new("mt_count *")
    lib.mt_count_sum(ffi.from_buffer("mt_count[]", counts), len(counts) // COUNT.size, t)
    return PageCounts(t.resident, t.huge, t.zero, t.swapped, t.guard, t.written, CountFlag(t.flags))


def uncovered(before: MappingTable, before_modes: bytes, now: MappingTable, modes: bytes) -> list[int]:
    """Indices of mappings to be armed that overlap nothing that was armed before, or something that was not.

    Others are registered already: a mapping that grows, splits or merges takes its registration along. Where
    something else came to the same place, ``Scanner.strays`` finds it.
    """
    found = ffi.new("uint32_t[]", len(now))
    count = lib.mt_uncovered(
        native_mappings(before), before_modes, len(before), native_mappings(now), modes, len(now), found
    )
    return list(ffi.unpack(found, count)) if count else []
