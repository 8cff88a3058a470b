"""What tracking the writes of a process would touch and cost, said before it is begun."""

from __future__ import annotations

from dataclasses import replace

from memtop.linux.errors import MemtopError
from memtop.linux.features import KernelFeatures
from memtop.linux.pagemap import count_sum
from memtop.linux.process import ProcessHandle
from memtop.model.actions import ArmCost, Care, Method
from memtop.model.layout import PAGE
from memtop.model.mapping import MappingTable
from memtop.tracking.choose import Share, check_arm, may_write_protect, prefers_soft_dirty
from memtop.tracking.policy import BY_ARM, cost_of


def share_in_huge(counts: bytes) -> Share:
    """How much of the memory is in huge pages, by the counts of one scan."""
    sums = count_sum(counts)
    return Share(sums.huge * PAGE, sums.resident * PAGE)


def price(
    method: Method,
    care: Care,
    kernel: KernelFeatures,
    table: MappingTable,
    counts: bytes,
    process: ProcessHandle | None = None,
) -> ArmCost | None:
    """What ``arm`` would touch, from the counts of one scan.

    Args:
        process: what it refuses is left out, as far as that shows without touching it; None: nobody asks it.

    Returns:
        None: it refuses all that would be tried.
    """
    order = _attempts(method, kernel, share_in_huge(counts))
    if process is not None:
        order = [each for each in order if _may_arm(each, process, kernel, care)]
        if not order:
            return None
    cost = cost_of(BY_ARM[care.arm], table, counts, care.keep_huge, method=method)
    soft_dirty = Method.SOFT_DIRTY
    first = bool(order) and order[0] is soft_dirty
    return replace(
        cost,
        freeze=care.freeze,
        expected=soft_dirty if first else None,
        fallback=soft_dirty if soft_dirty in order and not first else None,
    )


def _attempts(method: Method, kernel: KernelFeatures, huge: Share) -> list[Method]:
    """What ``arm`` will try, in this order, where nothing of the kernel speaks against it."""
    if method is not Method.AUTO:
        return [method]
    write_protect = [Method.WRITE_PROTECT] if may_write_protect(kernel) else []
    soft_dirty = [Method.SOFT_DIRTY] if kernel.soft_dirty.works else []
    return soft_dirty + write_protect if prefers_soft_dirty(kernel, huge) else write_protect + soft_dirty


def _may_arm(method: Method, process: ProcessHandle, kernel: KernelFeatures, care: Care) -> bool:
    try:
        check_arm(method, process, kernel, care)
    except MemtopError:  # arming says why
        return False
    return True
