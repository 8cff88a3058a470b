"""The choice between trackers: the least intrusive one that answers the question asked, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace

from memtop.linux.access import require_action
from memtop.linux.clear_refs import check_clear
from memtop.linux.errors import Failed, KernelCannot, MemtopError, NotPermitted
from memtop.linux.features import KernelFeatures
from memtop.linux.footprint import injected
from memtop.linux.pagemap import Scanner
from memtop.linux.process import ProcessHandle
from memtop.linux.ptrace import find_refusal
from memtop.linux.standstill import check_stop
from memtop.linux.threads import choose_thread
from memtop.linux.userfaultfd import WriteProtector
from memtop.model.actions import Care, ClearRefs, KeepHuge, Method
from memtop.model.scope import Scope
from memtop.model.units import size
from memtop.tracking.base import Tracker
from memtop.tracking.passive import PassiveTracker
from memtop.tracking.policy import BY_ARM
from memtop.tracking.scope import ScopeKeeper
from memtop.tracking.soft_dirty import SoftDirtyTracker
from memtop.tracking.write_protect import WriteProtectTracker


@dataclass(frozen=True, slots=True)
class Armed:
    """A tracker and what starting it cost the target.

    Attributes:
        stop_s: seconds that one of its threads stood still.
        refused: why not what ``auto`` would rather have had, in the order of the attempts.
    """

    tracker: Tracker
    stop_s: float = 0.0
    refused: tuple[MemtopError, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole, bytes."""

    part: int = 0
    whole: int = 0


DEFAULT_CARE = Care()
NONE = Share()


def arm(
    method: Method,
    process: ProcessHandle,
    scanner: Scanner,
    kernel: KernelFeatures,
    care: Care = DEFAULT_CARE,
    huge: Share = NONE,
    scope: Scope | None = None,
) -> Armed:
    """Starts the tracker that was asked for.

    ``auto`` prefers write-protect, because it is exact and leaves other trackers' state alone, then
    soft-dirty, then nothing; where most of the memory is in huge pages, soft-dirty comes first, because it
    splits none. What was passed over is said in the tracker's note.

    Args:
        care: which mappings to track, and what becomes of huge pages.
        huge: how much of the memory is in huge pages.
        scope: the part of the process to track, which only write-protect can; None: all.

    Raises:
        MemtopError: a tracker asked for by name can't be had; the sentence says why.
    """
    if method is Method.OFF:
        return Armed(PassiveTracker(scanner))
    if scope is not None and method is Method.SOFT_DIRTY:
        raise Failed("a part of the process can't be tracked", "soft-dirty clears the whole process")
    if method is Method.WRITE_PROTECT or scope is not None:
        return _write_protect(process, scanner, kernel, care, scope=scope)
    if method is Method.SOFT_DIRTY:
        return _soft_dirty(process, scanner, kernel, care)
    reasons: list[str] = []
    refused: list[MemtopError] = []
    attempts = [_write_protect, _soft_dirty]
    if prefers_soft_dirty(kernel, huge):
        attempts.reverse()
        reasons.append(
            f"{size(huge.part)} of {size(huge.whole)} are in huge pages, which soft-dirty does not split"
        )
    for attempt in attempts:
        try:
            armed = attempt(process, scanner, kernel, care, "; ".join(reasons))
            return replace(armed, refused=tuple(refused))
        except MemtopError as error:
            reasons.append(error.sentence)
            refused.append(error)
    return Armed(PassiveTracker(scanner, "; ".join(reasons)), refused=tuple(refused))


def prefers_soft_dirty(kernel: KernelFeatures, huge: Share) -> bool:
    """Whether ``auto`` tries soft-dirty first: most of the memory is in huge pages, and the kernel has it."""
    return bool(kernel.soft_dirty.works) and huge.part * 2 > huge.whole


def may_write_protect(kernel: KernelFeatures) -> bool:
    """Whether nothing of the kernel speaks against write-protect; the target may still refuse."""
    return not any(feature.works is False for feature in (kernel.pagemap_scan, kernel.wp_async))


def check_arm(method: Method, process: ProcessHandle, kernel: KernelFeatures, care: Care) -> None:
    """Raises what ``arm`` would, asked for write-protect or soft-dirty by name, as far as that shows without
    touching the process."""
    if method is Method.SOFT_DIRTY:
        _check_soft_dirty(process, kernel, care)
        return
    _check_write_protect(process, kernel)
    _, refusal = choose_thread(process.pid, lambda tid: find_refusal(process, tid))
    if refusal is not None:
        raise refusal


def _check_write_protect(process: ProcessHandle, kernel: KernelFeatures) -> None:
    require_action(f"tracking writes of process {process.pid}")
    for feature in (kernel.pagemap_scan, kernel.wp_async):
        if feature.works is False:
            raise KernelCannot("write-protect tracking is not possible", feature.reason, feature.remedy)


def _check_soft_dirty(process: ProcessHandle, kernel: KernelFeatures, care: Care) -> None:
    require_action(f"tracking writes of process {process.pid}")
    feature = kernel.soft_dirty
    if not feature.works:
        kind = NotPermitted if feature.works is None else KernelCannot
        raise kind("soft-dirty tracking is not possible", feature.reason, feature.remedy)
    check_clear(process.pid, ClearRefs.SOFT_DIRTY)  # now, so that auto can go on to the next
    if care.freeze:
        check_stop(process)


def _write_protect(
    process: ProcessHandle,
    scanner: Scanner,
    kernel: KernelFeatures,
    care: Care,
    note: str = "",
    scope: Scope | None = None,
) -> Armed:
    _check_write_protect(process, kernel)
    if scope is not None and scope.part is not None and care.keep_huge is not KeepHuge.NO:
        # Both cut mappings in maps; together they would need to know of each other's cuts.
        raise Failed("a part of a mapping can't be tracked with --keep-huge", "", "choose the whole mapping")
    injection = injected(process)
    protector = WriteProtector(injection.fd)
    keeper = None if scope is None else ScopeKeeper(scope)
    tracker = WriteProtectTracker(scanner, protector, note, BY_ARM[care.arm], care.keep_huge, keeper)
    return Armed(tracker, injection.stop_s)


def _soft_dirty(
    process: ProcessHandle, scanner: Scanner, kernel: KernelFeatures, care: Care, note: str = ""
) -> Armed:
    _check_soft_dirty(process, kernel, care)
    return Armed(SoftDirtyTracker(process, scanner, note, freeze=care.freeze))
