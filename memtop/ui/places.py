"""What a dialog asks about files, off the screen's thread: a disk of the network may never answer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

FRESH_S = 1.0
"""Seconds that an answer is good for."""

MOST_WAITING = 8
"""Threads that may wait for disks that do not answer; then nothing more is asked."""


@dataclass(frozen=True, slots=True)
class Place:
    """What was found of a path.

    Attributes:
        taken: something has this name already.
        free: bytes that a dump there may take; None: there is no such directory.
        parent: the other path is a file.
    """

    taken: bool
    free: int | None
    parent: bool


class Places:
    """Answers from what was found last, and looks anew where that is of another path, or old.

    Args:
        free: bytes that may be written for a path; None: it has no directory.
        told: called on another thread when there is an answer.
    """

    def __init__(self, free: Callable[[str], int | None], told: Callable[[], None]) -> None:
        self._free, self._told = free, told
        self._asked: tuple[str, str] | None = None
        self._asked_at = 0.0
        self._found: tuple[tuple[str, str], Place] | None = None
        self._waiting = 0
        self._lock = threading.Lock()

    def at(self, path: str, parent: str = "") -> Place | None:
        """What is known of a path, and of the one of another file; None: nothing yet. Returns at once."""
        asks = path, parent
        with self._lock:
            known = self._found[1] if self._found is not None and self._found[0] == asks else None
            again = time.monotonic() - self._asked_at > FRESH_S and known is not None
            if (asks != self._asked or again) and self._waiting < MOST_WAITING:
                self._asked, self._asked_at = asks, time.monotonic()
                self._waiting += 1
                threading.Thread(target=self._look, args=asks, name="memtop-places", daemon=True).start()
        return known

    def _look(self, path: str, parent: str) -> None:
        try:
            place = Place(os.path.lexists(path), self._free(path), bool(parent) and os.path.isfile(parent))
        except (OSError, ValueError):
            place = Place(False, None, False)
        with self._lock:
            self._waiting -= 1
            news = self._asked == (path, parent) and self._found != (self._asked, place)
            if self._asked == (path, parent):
                self._found = self._asked, place
        if news:
            self._told()
