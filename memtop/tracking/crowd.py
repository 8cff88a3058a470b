"""How many mappings a process may come to have because it is tracked.

The kernel joins new memory with the mapping beside it only where both are registered with the same
userfaultfd, and pages that were written before that keep them apart for good (each side has an anon_vma of
its own). So a heap that grows while it is tracked has one mapping more after each tick, and a process may
have only ``vm.max_map_count`` of them. Half of these stay its own: beyond that, growth is not registered,
and all further growth joins it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memtop.linux.procfs import max_map_count
from memtop.model.layout import ARMED_MODES
from memtop.model.mapping import MappingTable


def crowding(table: MappingTable, modes: Sequence[int], new: Iterable[int]) -> list[int]:
    """Of mappings about to be registered, those that grow out of a registered one where no room is left.

    Args:
        table: the mappings, sorted by address.
        modes: one ``Mode`` per mapping: ARMED for those that are registered, or are to be.
        new: indices of those that are to be.
    """
    new = list(new)
    if not new or len(table) < max_map_count() // 2:
        return []
    return [
        index
        for index in new
        if any(_joins(table, modes, index, beside) for beside in (index - 1, index + 1))
    ]


def _joins(table: MappingTable, modes: Sequence[int], index: int, beside: int) -> bool:
    """Whether the kernel would have made one mapping of both, were it not for the registration."""
    if not 0 <= beside < len(table) or modes[beside] not in ARMED_MODES:
        return False
    here, there = table[index], table[beside]
    return (
        (here.end == there.start or there.end == here.start)
        and here.inode == there.inode == 0
        and here.perms == there.perms
        and here.kind == there.kind
    )
