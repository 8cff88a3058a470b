"""What memtop itself uses: measured, not guessed from the samples."""

from __future__ import annotations

import time

SHORTEST = 0.5
"""Seconds; over a shorter span the share would jump."""


class CpuMeter:
    """Share of one CPU that this whole process used between two looks."""

    def __init__(self) -> None:
        self._at, self._used = time.monotonic(), time.process_time()
        self._share: float | None = None

    def __call__(self) -> float | None:
        """The share, 1.0 for a whole CPU; None before there was time to measure."""
        now, used = time.monotonic(), time.process_time()
        if now - self._at >= SHORTEST:
            self._share = (used - self._used) / (now - self._at)
            self._at, self._used = now, used
        return self._share
