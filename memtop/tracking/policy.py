"""Which mappings are tracked, and how each is scanned: one table look-up per mapping.

The default arms what belongs to the process alone: anonymous and private writable memory, and shared
memory (shmem has no other home than RAM). Plain file mappings are left out unless asked for (``--arm``):
protecting a cached file makes the kernel map it page by page (32 faults become 16 384).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress

from memtop.model.actions import Arm, ArmCost, KeepHuge, Method
from memtop.model.coverage import Coverage
from memtop.model.layout import (
    ARMED_MODES,
    COUNT,
    HUGE_BYTES,
    HUGE_PAGES,
    MAPPING,
    PAGE,
    TRAITS_AT,
    Kind,
    Mode,
    Perm,
)
from memtop.model.mapping import MappingTable
from memtop.model.scope import Scope

_Rule = tuple[Mode, Coverage]


def _write_protect(arm: Arm) -> Callable[[Kind, int], _Rule]:
    """How write-protect tracking treats a mapping of some kind and permissions."""

    def rule(kind: Kind, perms: int) -> _Rule:
        if kind is Kind.SPECIAL:
            return Mode.SKIP, Coverage.SPECIAL
        shared = bool(perms & Perm.SHARED)
        if is_plain_file(kind, perms):
            if not arm.takes_files:
                return Mode.CENSUS, Coverage.FILE_LEFT_OUT
            return (Mode.ARMED, Coverage.SHARED_FILE) if shared else (Mode.ARMED_FILE, Coverage.EXACT)
        if not arm.takes_anon:
            return Mode.CENSUS, Coverage.ANON_LEFT_OUT
        if kind in (Kind.SHARED, Kind.HUGETLB, Kind.DATA, Kind.FILE):
            # private: what it has not written is still the file's
            return (Mode.ARMED, Coverage.OTHER_WRITERS) if shared else (Mode.ARMED_FILE, Coverage.EXACT)
        return Mode.ARMED, Coverage.EXACT

    return rule


def is_plain_file(kind: Kind, perms: int) -> bool:
    """A mapping that the kernel fills from a file and that the process has no pages of its own in."""
    private_writable = perms & Perm.WRITE and not perms & Perm.SHARED
    return kind is Kind.TEXT or (kind is Kind.FILE and not private_writable)


def _soft_dirty(kind: Kind, perms: int) -> _Rule:
    """Soft-dirty sees the whole process, but for kernel memory and hugetlb: clear_refs passes over those
    pages, so that their bits say nothing (never set by entries, never cleared by PAGEMAP_SCAN)."""
    if kind is Kind.SPECIAL:
        return Mode.SKIP, Coverage.SPECIAL
    if kind is Kind.HUGETLB:
        return Mode.CENSUS, Coverage.NO_SOFT_DIRTY
    return Mode.SOFT_DIRTY, Coverage.SOFT_DIRTY_SHARED if perms & Perm.SHARED else Coverage.SOFT_DIRTY


def _passive(kind: Kind, _perms: int) -> _Rule:
    return (Mode.SKIP, Coverage.SPECIAL) if kind is Kind.SPECIAL else (Mode.CENSUS, Coverage.OFF)


class Policy:
    """Two translation tables from a mapping's traits byte: to its Mode and to its Coverage."""

    def __init__(self, decide: Callable[[Kind, int], _Rule]) -> None:
        modes, coverage = bytearray(256), bytearray(256)
        for kind in Kind:
            for perms in range(16):
                mode, cover = decide(kind, perms)
                modes[kind << 4 | perms] = mode
                coverage[kind << 4 | perms] = cover
        self._modes, self._coverage = bytes(modes), bytes(coverage)

    def decide(self, table: MappingTable) -> tuple[bytearray, bytearray]:
        """Mode and Coverage bytes, one each per mapping."""
        traits = table.packed[TRAITS_AT :: MAPPING.size]
        return bytearray(traits.translate(self._modes)), bytearray(traits.translate(self._coverage))

    def arms(self, traits: int) -> bool:
        """Whether mappings with this traits byte are write-protected."""
        return self._modes[traits] in ARMED_MODES

    def coverage_of(self, table: MappingTable, index: int) -> int:
        """Coverage byte of one mapping."""
        return self._coverage[table.packed[index * MAPPING.size + TRAITS_AT]]


BY_ARM = {arm: Policy(_write_protect(arm)) for arm in Arm}
WRITE_PROTECT = BY_ARM[Arm.ANON]
SOFT_DIRTY = Policy(_soft_dirty)
PASSIVE = Policy(_passive)


def cost_of(
    policy: Policy,
    table: MappingTable,
    counts: bytes,
    keep_huge: KeepHuge = KeepHuge.NO,
    scope: Scope | None = None,
    method: Method = Method.WRITE_PROTECT,
) -> ArmCost:
    """What write-protecting by this policy, within this scope, would touch, from the counts of one scan.

    Args:
        method: what was asked for, which may come to another one.
    """
    chosen = slice(None)
    if scope is not None:
        only = table.index_of(scope.mapping)
        chosen = slice(0) if only is None else slice(only, only + 1)
    traits = table.packed[TRAITS_AT :: MAPPING.size]
    words = memoryview(counts).cast("Q")
    resident, in_huge = (words[word :: COUNT.size // 8].tolist()[chosen] for word in (0, 1))
    mappings = pages = huge = kept = cut = files = 0
    # Mappings of one sort are treated alike, and of thousands there are few sorts.
    for sort in set(traits[chosen]):
        kind, perms = Kind(sort >> 4), sort & 15
        if not policy.arms(sort):
            continue
        those = traits[chosen].translate(bytes(each == sort for each in range(256)))
        there, at_stake = list(compress(resident, those)), list(compress(in_huge, those))
        if kind in (Kind.HUGETLB, Kind.SHARED):  # those stay whole when written
            at_stake = [0] * len(there)
        if keep_huge is KeepHuge.NO:
            huge += sum(at_stake)
        else:
            kept += sum(at_stake)
            parts = [r - h for r, h in zip(there, at_stake, strict=True) if h and h < r]
            parts = [] if keep_huge is KeepHuge.WHOLE else parts
            cut += len(parts)
            there = [r for r, h in zip(there, at_stake, strict=True) if not h] + parts
        mappings += len(there)
        pages += sum(there)
        files += sum(there) if is_plain_file(kind, perms) else 0
    part = None
    if scope is not None and scope.part is not None and scope.part != scope.whole:
        part = scope.part[1] - scope.part[0]
        pages, files, cut = min(pages, part // PAGE), min(files, part // PAGE), 1
        # A huge page that the range ends in counts as well: the cut splits it.
        huge = min(huge, (-(-scope.part[1] // HUGE_BYTES) - scope.part[0] // HUGE_BYTES) * HUGE_PAGES)
    return ArmCost(
        method=method,
        mappings=mappings,
        left_out=len(table) - mappings,
        pages=pages,
        huge_pages=huge // HUGE_PAGES,
        part=part,
        one=scope is not None,
        huge_kept=kept // HUGE_PAGES,
        cut=cut,
        file_pages=files,
    )
