"""What happens to pages behind every tracker's back, and so takes the word "exact" away.

The kernel says of a whole process that pages of it are pinned (/proc/PID/status, VmPin) or merged
(/proc/PID/ksm_stat), not of which mapping. So as long as there is any, none of its mappings is called exact,
and of none it is said that nothing is missed.
"""

from __future__ import annotations

from memtop.linux.procfs import Memory
from memtop.model.coverage import Coverage


def _instead_of_exact(coverage: Coverage) -> bytes:
    table = bytearray(range(256))
    table[Coverage.EXACT] = table[Coverage.SOFT_DIRTY_FROZEN] = coverage
    return bytes(table)


_PINNED = _instead_of_exact(Coverage.PINNED)
_MERGED = _instead_of_exact(Coverage.MERGED)


class Doubts:
    """Those of one process, from tick to tick: what began or ended between two ticks counts for both."""

    def __init__(self) -> None:
        self._pinned = self._merged = False

    def qualify(self, coverage: bytes, memory: Memory) -> bytes:
        """The coverage of a tick, with what can't be called exact named by its reason.

        Args:
            coverage: one ``Coverage`` byte per mapping.
            memory: of the process, as read after the scan.
        """
        pinned, merged = memory.pinned > 0, memory.merged > 0
        if pinned or self._pinned:  # it hides more than a merge does
            coverage = coverage.translate(_PINNED)
        elif merged or self._merged:
            coverage = coverage.translate(_MERGED)
        self._pinned, self._merged = pinned, merged
        return coverage
