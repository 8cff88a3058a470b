"""Files written past the page cache (O_DIRECT, open(2)): no copy, and the cache of others stays as it is."""

from __future__ import annotations

from memtop.native import lib

LEAST: int = lib.MT_DIRECT
"""Pages, from which on a write goes that way: fewer are faster through the cache."""


def open_direct(fd: int) -> int:
    """A second descriptor of the same file, closed on exec; -1: not possible here, or of no use."""
    return max(int(lib.mt_open_direct(fd)), -1)
