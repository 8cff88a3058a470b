"""Which mappings a tracker of a part of the process takes, while that part grows, splits and moves."""

from __future__ import annotations

import errno

from memtop.linux.errors import Failed
from memtop.linux.userfaultfd import WriteProtector
from memtop.model.coverage import Coverage
from memtop.model.layout import ARMED_MODES, MAPPING, Mode
from memtop.model.mapping import MappingTable
from memtop.model.scope import Scope


class ScopeKeeper:
    """Leaves all out that is not in a scope.

    A mapping is followed where it goes: its id, its pieces, and what the kernel would have joined to it.
    (While it is tracked and its neighbour is not, the two stay apart: a heap that grows becomes two mappings
    until the new one is tracked too.) A marked range stays where it is.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._ids = {scope.mapping}
        self._extents = [scope.whole]
        self._likeness: set[tuple[object, ...]] = set()
        self._cut = scope.part is None
        self._seen: tuple[MappingTable, frozenset[int]] | None = None

    def cut(self, table: MappingTable, protector: WriteProtector) -> bool:
        """Registers a marked range once, which cuts its mapping in maps; True if it did.

        Raises:
            Failed: the kernel refuses it.
        """
        if self._cut or self.scope.part is None:
            return False
        self._cut = True
        if why := self.scope.why_not(table):
            raise Failed("the range can't be tracked", why)
        start, end = self.scope.part
        error = protector.register_range(start, end - start)
        if error == errno.EBUSY:
            raise Failed("the range can't be tracked", Coverage.BUSY.reason)
        if error:
            raise Failed("the range can't be tracked", Coverage.REFUSED.reason)
        return True

    def leave_out(self, table: MappingTable, modes: bytearray, coverage: bytearray) -> None:
        """Takes everything outside out of what a policy decided."""
        inside = self._inside(table)
        for index, mode in enumerate(modes):
            if mode in ARMED_MODES and index not in inside:
                modes[index], coverage[index] = Mode.CENSUS, Coverage.OUT_OF_SCOPE

    def _inside(self, table: MappingTable) -> frozenset[int]:
        if self._seen is None or self._seen[0] is not table:
            self._seen = table, frozenset(self._within(table) if self.scope.part else self._follow(table))
        return self._seen[1]

    def _within(self, table: MappingTable) -> list[int]:
        low, high = self.scope.span
        ranges = enumerate(MAPPING.iter_unpack(table.packed))
        return [index for index, (start, end, *_) in ranges if low <= start and end <= high]

    def _follow(self, table: MappingTable) -> list[int]:
        found = []
        for index, (start, end, _, inode, major, minor, _, _, perms, kind) in enumerate(
            MAPPING.iter_unpack(table.packed)
        ):
            like = (inode, major, minor, perms, kind)
            touches = any(start <= last and first <= end for first, last in self._extents)
            overlaps = touches and any(start < last and first < end for first, last in self._extents)
            same = not self._likeness or any(like[:3] == each[:3] for each in self._likeness)
            if table.ids[index] in self._ids or (overlaps and same) or (touches and like in self._likeness):
                found.append((index, start, end, like))
        if found:  # else it is gone: whatever comes to its place is another mapping
            self._ids = {table.ids[index] for index, *_ in found}
            self._extents = [(start, end) for _, start, end, _ in found]
            self._likeness = {like for *_, like in found}
        else:
            self._ids, self._extents = set(), []
        return [index for index, *_ in found]
