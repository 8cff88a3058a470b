"""The write-protect tracker: exact, ranged, atomic (Linux 6.7, userfaultfd WP_ASYNC + PAGEMAP_SCAN).

The userfaultfd must belong to the target's address space, so it is created inside it once
(``linux.ptrace``); everything after that works from outside. When it is closed, or memtop dies, the
kernel removes every protection.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable
from dataclasses import replace

from memtop.linux import access
from memtop.linux.pagemap import Scanner, ScanResult, count_sum, uncovered
from memtop.linux.userfaultfd import WriteProtector
from memtop.model.actions import KeepHuge
from memtop.model.coverage import Coverage, Exactness
from memtop.model.layout import ARMED_MODES, COUNT, Mode
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRuns
from memtop.model.sample import TrackerInfo
from memtop.tracking.base import Tick, WatchRange
from memtop.tracking.crowd import crowding
from memtop.tracking.huge import HugeKeeper, SplitCount
from memtop.tracking.policy import WRITE_PROTECT, Policy
from memtop.tracking.scope import ScopeKeeper

_log = logging.getLogger(__name__)
_REFUSAL = {errno.EBUSY: Coverage.BUSY, errno.EPERM: Coverage.READ_ONLY_FILE, errno.EINVAL: Coverage.REFUSED}
_WAITING = (Coverage.BUSY, Coverage.LOST)
_TAKEN = "another memtop, or another tracker, has {} of {} mappings: once it ends they are tracked here"


class WriteProtectTracker:
    """Registers what appears, then gets and clears the written pages of everything registered.

    Args:
        scanner: of the process; stays the caller's.
        protector: an async write-protecting userfaultfd of the same address space; becomes the tracker's.
        note: why this tracker was chosen.
        policy: which mappings it takes.
        keep_huge: whether huge pages are left out.
        scope: the part of the process that it takes; None: all.
    """

    def __init__(
        self,
        scanner: Scanner,
        protector: WriteProtector,
        note: str = "",
        policy: Policy = WRITE_PROTECT,
        keep_huge: KeepHuge = KeepHuge.NO,
        scope: ScopeKeeper | None = None,
    ) -> None:
        access.require_action("write-protecting")
        self._scope = scope
        self._policy = policy
        self._keeper = None
        if keep_huge is not KeepHuge.NO:
            self._keeper = HugeKeeper(scanner, protector, whole=keep_huge is KeepHuge.WHOLE)
        self._splits = SplitCount(scanner)
        self._scanner = scanner
        self._protector = protector
        self._note = note
        self._table = MappingTable()
        self._modes = bytearray()
        self._coverage = bytearray()
        self._fresh: set[int] = set()
        self._started = False

    @property
    def info(self) -> TrackerInfo:
        """Name ``write-protect``; exact to the page."""
        armed = sum(self._modes.count(mode) for mode in ARMED_MODES)
        busy = self._coverage.count(Coverage.BUSY)
        note = _TAKEN.format(busy, len(self._modes)) if busy > armed else self._note
        if self._started and not armed and not busy and self._scope is not None:
            note = "the part of the process that was tracked is gone"
        return TrackerInfo(
            "write-protect", Exactness.EXACT, note, armed, len(self._modes), self._splits.split
        )

    def prepare(self, table: MappingTable) -> bool:
        """Cuts a marked range out of its mapping, or huge pages that stay out of it out of new mappings."""
        if self._scope is not None and self._scope.cut(table, self._protector):
            return True
        if self._keeper is None or table is self._table:
            return False
        modes, _ = self._decide(table)
        new = uncovered(self._table, bytes(self._modes), table, bytes(modes))
        cut = [self._keeper.cut(table, index) for index in new if modes[index] == Mode.ARMED]
        if any(cut):
            what = "%d: cut %d mappings in maps, to leave their huge pages out of it (--keep-huge)"
            _log.info(what, self._scanner.pid, sum(cut))
        return any(cut)

    def tick(self, table: MappingTable, *, count_zero: bool = False, watch: WatchRange | None = None) -> Tick:
        """Follows the mappings, then gets and clears."""
        self.follow(table)
        modes, coverage = bytes(self._modes), bytes(self._coverage)
        result = self._scanner.scan(table, modes, count_zero=count_zero, watch=watch)
        # One that the process took from us in between was passed over: not clean, but not known yet.
        if lost := self._scanner.strays(table, modes):
            result = self._recount(table, lost, result, watch)
            coverage = _with(coverage, lost, Coverage.LOST)
        if result.sum.huge or len(self._splits.huge):
            self._follow_huge(result)
        baseline, self._started = not self._started, True
        return Tick(
            counts=result.counts,
            coverage=coverage,
            runs=result.runs[:0] if baseline else result.runs,
            sum=result.sum,
            baseline=baseline,
            target_faults=0 if baseline else result.written - self._written_in(result.counts, self._fresh),
            watched_resident=result.watched_resident,
            watched_written=bytes(len(result.watched_written)) if baseline else result.watched_written,
        )

    def follow(self, table: MappingTable) -> None:
        """Registers new mappings, catches silently untracked ones; clears nothing."""
        self._settle()
        new = self._adopt(table) if table is not self._table else self._busy(table)
        # munmap + mmap at the same place leaves the same line in maps, and mremap drops the registration:
        # only a look at the pages tells.
        strays = self._scanner.strays(table, bytes(self._modes))
        self._register(table, new, Coverage.REFUSED)
        self._register(table, set(strays).difference(new), Coverage.LOST)
        self._distrust(table, {*strays, *new})

    @property
    def coverage(self) -> bytes:
        """One ``Coverage`` byte per mapping of the table that was followed last."""
        return bytes(self._coverage)

    def close(self) -> None:
        """Closes the userfaultfd: the kernel unprotects and unregisters everything."""
        self._protector.close()
        _log.info("%d: closed its userfaultfd: the kernel takes all protection back", self._scanner.pid)

    def _recount(
        self, table: MappingTable, indices: list[int], result: ScanResult, watch: WatchRange | None
    ) -> ScanResult:
        """The result with what is resident in these mappings counted anew, by a look that changes nothing.

        The scan passed over them, as if they were empty.
        """
        modes = bytearray(len(table))
        for index in indices:
            modes[index] = Mode.CENSUS
        looked = self._scanner.scan(table, bytes(modes), watch=watch, apart=True)
        counts = bytearray(result.counts)
        for index in indices:
            at = index * COUNT.size
            then, now = COUNT.unpack_from(counts, at), COUNT.unpack_from(looked.counts, at)
            COUNT.pack_into(counts, at, *now[:5], then[5], now[6], *then[7:])
        watched = result.watched_resident
        if watch is not None and any(
            table.range_of(index)[0] <= watch.start < table.range_of(index)[1] for index in indices
        ):
            watched = looked.watched_resident
        return replace(result, counts=bytes(counts), sum=count_sum(counts), watched_resident=watched)

    def _settle(self) -> None:
        """What was fresh in the tick before is tracked like the rest from now on."""
        for index in self._fresh:
            if self._coverage[index] == Coverage.FRESH:
                self._coverage[index] = self._policy.coverage_of(self._table, index)
        self._fresh.clear()

    def _decide(self, table: MappingTable) -> tuple[bytearray, bytearray]:
        """What the policy says, within the scope."""
        modes, coverage = self._policy.decide(table)
        if self._scope is not None:
            self._scope.leave_out(table, modes, coverage)
        return modes, coverage

    def _adopt(self, table: MappingTable) -> list[int]:
        """Decides about all mappings anew; returns those that are to be registered."""
        modes, coverage = self._decide(table)
        for index in self._keeper.adopt(table) if self._keeper is not None else ():
            modes[index], coverage[index] = Mode.CENSUS, Coverage.HUGE_KEPT
        missing = uncovered(self._table, bytes(self._modes), table, bytes(modes))
        if self._started:
            for index in crowding(table, modes, missing):
                modes[index], coverage[index] = Mode.CENSUS, Coverage.CROWDED
            missing = [index for index in missing if modes[index] in ARMED_MODES]
        self._table, self._modes, self._coverage = table, modes, coverage
        return missing

    def _busy(self, table: MappingTable) -> list[int]:
        """What another userfaultfd had, or what was on the move, may be free by now; maps would not tell."""
        if Coverage.BUSY not in self._coverage and Coverage.LOST not in self._coverage:
            return []
        busy = [index for index, cover in enumerate(self._coverage) if cover in _WAITING]
        modes, _ = self._decide(table)
        for index in busy:
            self._modes[index] = modes[index]
        return busy

    def _distrust(self, table: MappingTable, indices: Iterable[int]) -> None:
        """Pages older than the registration of their mapping may carry protection that nobody heeded."""
        armed = sorted(index for index in indices if self._modes[index] in ARMED_MODES)
        if armed:
            self._scanner.unprotect(table, armed, self._protector.fileno())

    def _register(self, table: MappingTable, indices: Iterable[int], otherwise: Coverage) -> None:
        """Registers these mappings; they are fresh for this tick, or carry the reason why not."""
        indices = list(indices)
        self._splits.forget([table.range_of(index) for index in indices])
        refused = self._protector.register(table, indices)
        self._tell(table, indices, refused)
        for index in indices:
            code = refused.get(index)
            if code is None:
                self._fresh.add(index)
                if self._started:
                    self._coverage[index] = Coverage.FRESH
            else:
                self._modes[index] = Mode.CENSUS
                self._coverage[index] = _REFUSAL.get(code, otherwise)

    def _tell(self, table: MappingTable, indices: list[int], refused: dict[int, int]) -> None:
        """Into the log: how many mappings were registered, and which the kernel refused."""
        if not indices or not _log.isEnabledFor(logging.INFO):
            return
        if done := len(indices) - len(refused):
            _log.info("%d: write-protects %d mappings from now on", self._scanner.pid, done)
        for index, code in refused.items():
            if self._coverage[index] in _WAITING:  # told when it was refused first
                continue
            start, end = table.range_of(index)
            why = os.strerror(code)
            _log.info("%d: the kernel refused the mapping %x-%x: %s", self._scanner.pid, start, end, why)

    def _follow_huge(self, result: ScanResult) -> None:
        self._splits.follow(self._table, bytes(self._modes), result.counts, result.runs)
        if self._keeper is not None and len(self._splits.huge):
            self._keeper.release(self._table, bytes(self._modes), self._splits.huge)
            self._splits.huge = PageRuns()
            for index in self._keeper.left_out(self._table):  # where all of a mapping is, maps stays the same
                self._modes[index], self._coverage[index] = Mode.CENSUS, Coverage.HUGE_KEPT

    @staticmethod
    def _written_in(counts: bytes, indices: Iterable[int]) -> int:
        return sum(COUNT.unpack_from(counts, index * COUNT.size)[5] for index in indices)


def _with(coverage: bytes, indices: Iterable[int], value: Coverage) -> bytes:
    changed = bytearray(coverage)
    for index in indices:
        changed[index] = value
    return bytes(changed)
