"""Round after round: the pages that match a filter, and with tracking those written since the round before.

A round is not a tick: it looks through the filter's own masks, so what does not match keeps its state.
While it tracks, the process belongs to it alone, as to any tracker.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from memtop.linux.closing import Closing
from memtop.linux.counters import Counters
from memtop.linux.errors import Failed
from memtop.linux.features import KernelFeatures
from memtop.linux.match import Matcher, PageMatch, plan
from memtop.linux.pagemap import Scanner
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import MapsReader
from memtop.linux.scan_masks import usable
from memtop.model.actions import Arm, ArmCost, Care, Method
from memtop.model.coverage import TRACKED, Coverage, Exactness
from memtop.model.filter import Field, Page, Tree, atoms, categories_of
from memtop.model.layout import HIGHEST, Category
from memtop.model.mapping import Mapping, MappingTable
from memtop.tracking.choose import arm, check_arm
from memtop.tracking.doubts import Doubts
from memtop.tracking.policy import BY_ARM, PASSIVE, cost_of
from memtop.tracking.write_protect import WriteProtectTracker

WRITTEN = Page(Category.WRITTEN)
_ALWAYS_TOLD = Category(0x1FF) & ~(Category.FILE | Category.SOFT_DIRTY)
_WHY_NOTHING = "none of its mappings is of the kind that was chosen (--arm), or the kernel refuses them"
_BIRTH = Category.WRITTEN | Category.SOFT_DIRTY


@dataclass(frozen=True, slots=True)
class Found:
    """Pages that match, with their mapping and how far ``written`` can be trusted there.

    Attributes:
        mapping: None: it appeared or grew while the round went on.
    """

    match: PageMatch
    mapping: Mapping | None
    coverage: Coverage

    @property
    def exactness(self) -> Exactness | None:
        """Of ``written`` and ``soft_dirty``; None for pages that say neither."""
        categories = self.match.categories
        if not categories & _BIRTH:
            return None
        if not categories & Category.WRITTEN or self.mapping is None:
            return Exactness.APPROXIMATE
        exactness = self.coverage.exactness
        if exactness is Exactness.EXACT and categories & Category.HUGE:
            return Exactness.HUGE_PAGE
        return exactness


class Rounds(Closing):
    """Owns what is open of one process.

    Args:
        process: stays the caller's.
        kernel: what was probed.
        tree: the filter.
        span: start and end byte address to look between.

    Attributes:
        notes: what is to be said about every answer, as sentences.

    Raises:
        MemtopError: it can't be looked at, or this kernel can't tell what the filter asks.
    """

    def __init__(
        self, process: ProcessHandle, kernel: KernelFeatures, tree: Tree, span: tuple[int, int] = (0, HIGHEST)
    ) -> None:
        self._process, self._kernel, self._tree, self._span = process, kernel, tree, span
        self._known, self.notes = usable(categories_of(tree), kernel)
        tid = process.maps_tid()
        self._tracker: WriteProtectTracker | None = None
        self._scanner: Scanner | None = None
        self._doubts = Doubts()
        with ExitStack() as stack:
            self._maps = stack.enter_context(MapsReader(process.pid, tid))
            self._counters = stack.enter_context(Counters(process.pid))
            self._matcher = stack.enter_context(
                Matcher(process.pid, use_ioctl=bool(kernel.pagemap_scan.works), tid=tid)
            )
            self._held = stack.pop_all()

    def table(self) -> MappingTable:
        """The mappings now."""
        return self._maps.read()

    def cost(self, care: Care) -> ArmCost:
        """What tracking would touch; a look that changes nothing.

        Raises:
            MemtopError: as ``track``, as far as that shows without touching the process.
        """
        check_arm(Method.WRITE_PROTECT, self._process, self._kernel, care)
        table, scanner = self.table(), self._open_scanner()
        modes, _ = PASSIVE.decide(table)
        counts = scanner.scan(table, bytes(modes)).counts
        return cost_of(BY_ARM[care.arm], table, counts, care.keep_huge)

    def track(self, care: Care) -> float:
        """Starts write-protect tracking; from now on rounds can protect. Nothing counts as written yet.

        Returns:
            Seconds that a thread of the process stood still.

        Raises:
            MemtopError: it can't be had; the sentence says why.
        """
        armed = arm(Method.WRITE_PROTECT, self._process, self._open_scanner(), self._kernel, care)
        assert isinstance(armed.tracker, WriteProtectTracker)
        self._tracker = armed.tracker
        self._tracker.tick(self._maps.read())
        info = self._tracker.info
        if not info.armed:
            raise Failed(f"nothing of process {self._process.pid} can be tracked", info.note or _WHY_NOTHING)
        if info.note:
            self.notes.append(info.note)
        for _ in self._find(WRITTEN, (0, HIGHEST), protect=True):  # the page cache, which a tick leaves alone
            pass
        return armed.stop_s

    def strangers(self) -> list[str]:
        """Texts that the filter looks for and no mapping's name has: perhaps a category, misspelt."""
        table = self.table()
        wanted = (a for a in atoms(self._tree) if isinstance(a, Field) and a.field == "name~")
        return [a.value for a in wanted if not any(a.holds(mapping) for mapping in table)]

    def untracked(self) -> str:
        """A sentence where ``written`` is asked and no page is tracked that it could be said of; else empty.

        Raises:
            Failed: the filter could match nothing but tracked pages, so its answer would be empty.
        """
        if Category.WRITTEN not in categories_of(self._tree):
            return ""
        if any(True for _ in self._find(Page(Category.WPALLOWED), self._span, protect=False)):
            return ""
        scans = [
            scan
            for stretch in plan(self._tree, self.table(), self._known, self._span, protect=False)
            for scan in stretch.scans
        ]
        why = f"nothing of process {self._process.pid} is tracked here"
        if all(scan.mask & ~scan.inverted & Category.WPALLOWED for scan in scans):
            raise Failed("which pages were written is not known", why, "--protect tracks them")
        return f"{why}: nothing is called written, nor not written"

    def find(self, *, protect: bool = False, span: tuple[int, int] | None = None) -> Iterator[Found]:
        """What matches now, sorted by address.

        Args:
            protect: and write-protect it in the same call; only after ``track``. All of it must be taken:
                what is protected is not found again.
            span: start and end byte address, other than usual.

        Raises:
            ProcessGone: the address space ended (exit or exec).
        """
        return self._find(self._tree, span or self._span, protect=protect)

    def _find(self, tree: Tree, span: tuple[int, int], *, protect: bool) -> Iterator[Found]:
        table, own = self._maps.read(), None
        if self._tracker is not None:
            self._tracker.follow(table)
            coverage = self._doubts.qualify(self._tracker.coverage, self._counters.memory())
            # The kernel would protect whatever any tracker has registered: the others' pages are theirs.
            own = {index for index, cover in enumerate(coverage) if TRACKED[cover]}
        else:
            coverage = bytes(BY_ARM[Arm.ALL].decide(table)[1])
        stretches = plan(tree, table, self._known, span, protect=protect, only=own)
        returns = self._known & (_ALWAYS_TOLD | categories_of(tree))
        mapping, at = None, -1
        for match in self._matcher.find(table, stretches, returns, protect=protect):
            if match.index is None:
                yield Found(match, None, Coverage.FRESH)
                continue
            if match.index != at:
                mapping, at = table[match.index], match.index
            yield Found(match, mapping, Coverage(coverage[match.index]))

    def _open_scanner(self) -> Scanner:
        if self._scanner is None:
            self._scanner = Scanner(
                self._process.pid,
                use_ioctl=bool(self._kernel.pagemap_scan.works),
                guard_bit=bool(self._kernel.guard_bit.works),
                tid=self._process.maps_tid(),
            )
        return self._scanner

    def close(self) -> None:
        """Ends tracking: every protection goes. Idempotent."""
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None
        if self._scanner is not None:
            self._scanner.close()
            self._scanner = None
        self._held.close()
