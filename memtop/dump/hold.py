"""Memory for the pages that are read while the process stands still, and written when it runs again."""

from __future__ import annotations

from typing import Any

from memtop.dump.live import LiveSource
from memtop.linux.runsets import runs_pages, split
from memtop.linux.vmread import Held, new_buffer
from memtop.model.runs import PageRuns

MOST = 1 << 18
"""Pages that are held at most (1 GiB); the rest is written while the process stands still."""

READY = 1 << 12
"""Pages (16 MiB) for which there is room well before the stop."""


class Hold:
    """Grows, and keeps what it has."""

    def __init__(self) -> None:
        self._buffer: Any = None
        self._room = 0

    def fits(self, pages: int) -> bool:
        """There is room for so many, and for what is written until all stands still; or there will not be."""
        return pages > MOST // 2 or self._room >= pages + pages // 4

    def make_room(self, pages: int) -> bool:
        """For so many pages, up to ``MOST``. New memory takes some µs a page, in which a process may write
        another one: best well before it is needed.

        True: there was less, so this took its time.
        """
        pages = min(pages, MOST)
        if pages <= self._room:
            return False
        self._buffer = None  # given back first
        self._buffer, self._room = new_buffer(pages), pages
        return True

    def read(self, source: LiveSource, runs: PageRuns) -> tuple[Held, PageRuns]:
        """Reads as much as may be held; returns that, and what is left.

        Where there is no room yet, memory comes while it is filled: so the helper of the stop hears of us.
        """
        pages = min(runs_pages(runs), MOST)
        if pages > self._room:
            self._buffer, self._room = new_buffer(pages, touched=False), pages
        first, rest = split(runs, self._room)
        return source.hold(first, self._buffer), rest
