"""Which mappings are tracked, and how each is scanned: one table look-up per mapping.

The default arms what belongs to the process alone: anonymous and private writable memory, and shared
memory (shmem has no other home than RAM). Plain file mappings are left out: protecting a cached file
makes the kernel map it page by page (32 faults become 16 384).
"""

from __future__ import annotations

from memtop.model.coverage import Coverage
from memtop.model.layout import MAPPING, TRAITS_AT, Kind, Mode, Perm
from memtop.model.mapping import MappingTable

_Rule = tuple[Mode, Coverage]


def _write_protect(kind: Kind, perms: int) -> _Rule:
    """How write-protect tracking treats a mapping of this kind and these permissions."""
    if kind is Kind.SPECIAL:
        return Mode.SKIP, Coverage.SPECIAL
    in_memory = kind in (Kind.SHARED, Kind.HUGETLB)
    if in_memory and perms & Perm.SHARED:
        return Mode.ARMED, Coverage.OTHER_WRITERS
    if (
        in_memory
        or kind is Kind.DATA
        or (kind is Kind.FILE and perms & Perm.WRITE and not perms & Perm.SHARED)
    ):
        return Mode.ARMED_FILE, Coverage.EXACT  # private: what it has not written is still the file's
    if kind in (Kind.FILE, Kind.TEXT):
        return Mode.CENSUS, Coverage.FILE_LEFT_OUT
    return Mode.ARMED, Coverage.EXACT


def _soft_dirty(kind: Kind, _perms: int) -> _Rule:
    """Soft-dirty sees the whole process; only kernel memory is outside."""
    return (Mode.SKIP, Coverage.SPECIAL) if kind is Kind.SPECIAL else (Mode.SOFT_DIRTY, Coverage.SOFT_DIRTY)


def _passive(kind: Kind, _perms: int) -> _Rule:
    return (Mode.SKIP, Coverage.SPECIAL) if kind is Kind.SPECIAL else (Mode.CENSUS, Coverage.OFF)


class Policy:
    """Two translation tables from a mapping's traits byte: to its Mode and to its Coverage."""

    def __init__(self, rule: str) -> None:
        decide = {"write-protect": _write_protect, "soft-dirty": _soft_dirty, "off": _passive}[rule]
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

    def coverage_of(self, table: MappingTable, index: int) -> int:
        """Coverage byte of one mapping."""
        return self._coverage[table.packed[index * MAPPING.size + TRAITS_AT]]


WRITE_PROTECT = Policy("write-protect")
SOFT_DIRTY = Policy("soft-dirty")
PASSIVE = Policy("off")
