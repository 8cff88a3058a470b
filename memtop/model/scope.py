"""A part of a process that is to be tracked alone: one mapping, or a range of one."""

from __future__ import annotations

from dataclasses import dataclass

from memtop.model.mapping import MappingTable


@dataclass(frozen=True, slots=True)
class Scope:
    """What was chosen, as it was then; byte addresses, ends exclusive.

    Attributes:
        mapping: id of the mapping.
        whole: where it was.
        part: the range of it that was marked; None: all of it, also where it grows to.
    """

    mapping: int
    whole: tuple[int, int]
    part: tuple[int, int] | None = None

    @property
    def span(self) -> tuple[int, int]:
        """What is to be tracked, as it was when it was chosen."""
        return self.part or self.whole

    def why_not(self, table: MappingTable) -> str:
        """What became of it, where it is not what was chosen any more; empty: it is, or it has grown."""
        index = table.index_of(self.mapping)
        if index is None:
            return f"the mapping {self.whole[0]:x} is gone"
        start, end = table.range_of(index)
        if start <= self.span[0] and self.span[1] <= end:
            return ""
        if end - start == self.whole[1] - self.whole[0]:
            return f"the mapping {self.whole[0]:x} has moved to {start:x}"
        return f"the mapping {self.whole[0]:x} was cut or has shrunk"
