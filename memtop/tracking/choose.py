"""The choice between trackers: the least intrusive one that answers the question asked, and why."""

from __future__ import annotations

from dataclasses import dataclass

from memtop.linux.errors import KernelCannot, MemtopError, NotPermitted
from memtop.linux.features import KernelFeatures
from memtop.linux.pagemap import Scanner
from memtop.linux.process import ProcessHandle
from memtop.linux.ptrace import create_userfaultfd
from memtop.linux.userfaultfd import WriteProtector
from memtop.model.actions import Method
from memtop.tracking.base import Tracker
from memtop.tracking.passive import PassiveTracker
from memtop.tracking.soft_dirty import SoftDirtyTracker
from memtop.tracking.write_protect import WriteProtectTracker


@dataclass(frozen=True, slots=True)
class Armed:
    """A tracker and what starting it cost the target.

    Attributes:
        stop_s: seconds that one of its threads stood still.
    """

    tracker: Tracker
    stop_s: float = 0.0


def arm(method: Method, process: ProcessHandle, scanner: Scanner, kernel: KernelFeatures) -> Armed:
    """Starts the tracker that was asked for.

    ``auto`` prefers write-protect, because it is exact and leaves other trackers' state alone, then
    soft-dirty, then nothing; what was passed over is said in the tracker's note.

    Raises:
        MemtopError: a tracker asked for by name can't be had; the sentence says why.
    """
    if method is Method.OFF:
        return Armed(PassiveTracker(scanner))
    if method is Method.WRITE_PROTECT:
        return _write_protect(process, scanner, kernel)
    if method is Method.SOFT_DIRTY:
        return _soft_dirty(process, scanner, kernel)
    reasons: list[str] = []
    for attempt in (_write_protect, _soft_dirty):
        try:
            return attempt(process, scanner, kernel, "; ".join(reasons))
        except MemtopError as error:
            reasons.append(error.sentence)
    return Armed(PassiveTracker(scanner, "; ".join(reasons)))


def _write_protect(process: ProcessHandle, scanner: Scanner, kernel: KernelFeatures, note: str = "") -> Armed:
    for feature in (kernel.pagemap_scan, kernel.wp_async):
        if feature.works is False:
            raise KernelCannot("write-protect tracking is not possible", feature.reason, feature.remedy)
    injection = create_userfaultfd(process)
    return Armed(WriteProtectTracker(scanner, WriteProtector(injection.fd), note), injection.stop_s)


def _soft_dirty(process: ProcessHandle, scanner: Scanner, kernel: KernelFeatures, note: str = "") -> Armed:
    feature = kernel.soft_dirty
    if not feature.works:
        kind = NotPermitted if feature.works is None else KernelCannot
        raise kind("soft-dirty tracking is not possible", feature.reason, feature.remedy)
    return Armed(SoftDirtyTracker(process.pid, scanner, note))
