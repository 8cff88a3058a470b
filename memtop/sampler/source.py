"""What a screen drives: anything that delivers Samples and takes requests.

The live sampler is one; tests and replays are others. Every method returns at once and may be called
from any thread; what comes of a request arrives as a Sample or a Notice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from memtop.model.actions import Arm, ArmCost, ClearRefs, Method, Notice
from memtop.model.sample import Sample

Key = tuple[int, int]
"""pid and start time (clock ticks since boot)."""

SHORTEST, LONGEST = 0.1, 3600.0
"""Bounds of the interval, seconds."""


class Source(Protocol):
    """Delivers Samples from a thread of its own."""

    readonly: bool
    """Actions on the target are impossible."""

    @property
    def interval(self) -> float:
        """Nominal seconds between samples."""
        ...

    def start(self, on_sample: Callable[[Sample], None], on_notice: Callable[[Notice], None]) -> None:
        """Begins sampling; both callbacks run on the sampling thread and must not block."""
        ...

    def stop(self) -> None:
        """Ends sampling and gives back all that was armed; returns when that is done."""
        ...

    def set_interval(self, seconds: float) -> None:
        """Nominal seconds between samples, SHORTEST to LONGEST; takes effect at once."""
        ...

    def set_frozen(self, frozen: bool) -> None:
        """While frozen no tick runs; what is armed stays armed."""
        ...

    def watch(self, key: Key, mapping_id: int, start: int, cell_pages: int, cells: int) -> None:
        """Which range the following Samples show in fine cells (``Sample.watched``); a tick follows soon."""
        ...

    def arm_cost(self, key: Key, method: Method, choice: Arm | None = None) -> ArmCost | None:
        """What ``arm`` would touch, from the last sample; None before the first."""
        ...

    def arm(self, key: Key, method: Method, choice: Arm | None = None) -> None:
        """Starts tracking; the next Sample is the baseline. A refusal arrives as a Notice.

        Args:
            key: which process.
            method: how writes are tracked.
            choice: which mappings; None: as memtop was started (``--arm``).
        """
        ...

    def disarm(self, key: Key) -> None:
        """Stops tracking."""
        ...

    def clear_refs(self, key: Key, what: ClearRefs) -> None:
        """Writes to clear_refs of the target."""
        ...
