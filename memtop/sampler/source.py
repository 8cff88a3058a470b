"""What a screen drives: anything that delivers Samples and takes requests.

The live sampler is one; tests and replays are others. Every method returns at once and may be called
from any thread; what comes of a request arrives as a Sample or a Notice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from memtop.model.actions import Arm, ArmCost, ClearRefs, Method, Notice
from memtop.model.detail import Detail
from memtop.model.peek import Peek
from memtop.model.sample import Sample
from memtop.model.scope import Scope

Key = tuple[int, int]
"""pid and start time (clock ticks since boot)."""

Rewind = Callable[[float], float]
"""Called on the source's thread before it goes back to the moment of this time (unix seconds): whoever shows
the samples goes back to a state of before it and returns the time of that, 0 for the very beginning. All
samples after it follow, up to the wanted one, so that nothing that adds up over samples is wrong."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a source stands among the moments that can be gone back to; a moment is a sample of each process.

    Attributes:
        at: the moment that is shown, from 1; 0 before the first.
        moments: how many there are by now.
        speed: how much faster than it was recorded.
        recorded: there is no process behind it.
        follows: more arrive as they are taken.
        at_end: the last one is shown, and none will follow.
        stands: all that was to be shown has been shown, until something is asked for.
    """

    at: int
    moments: int
    speed: float = 1.0
    recorded: bool = False
    follows: bool = False
    at_end: bool = False
    stands: bool = False


class Source(Protocol):
    """Delivers Samples from a thread of its own."""

    readonly: bool
    """Actions on the target are impossible."""

    @property
    def interval(self) -> float:
        """Nominal seconds between samples."""
        ...

    @property
    def position(self) -> Position | None:
        """Where it stands; None: it keeps nothing that could be gone back to."""
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

    def step(self, moments: int, rewind: Rewind) -> None:
        """Goes so many moments on (or back, where negative), as far as there are any; for while frozen."""
        ...

    def change_speed(self, steps: int) -> None:
        """Plays faster (or slower, where negative); nothing for what is taken now."""
        ...

    def watch(self, key: Key, mapping_id: int, start: int, cell_pages: int, cells: int) -> None:
        """Which range the following Samples show in fine cells (``Sample.watched``); a tick follows soon."""
        ...

    def peek(self, key: Key, address: int, pages: int, contents: bool, then: Callable[[Peek], None]) -> None:
        """Looks at pages from a byte address on; of requests that come faster than answers, the last counts.

        Args:
            key: which process.
            address, pages: the range.
            contents: read the first page of it that is present (``Peek.contents``), too.
            then: takes the answer, on the sampling thread; what went wrong is its ``why``.
        """
        ...

    def detail(self, key: Key, mapping_id: int, anyway: bool, then: Callable[[Detail], None]) -> None:
        """Reads all that the kernel says of a mapping; of requests faster than answers, the last counts.

        Args:
            key, mapping_id: which.
            anyway: even where that is dear (``Detail.dear``).
            then: takes the answer, on a thread of the source's; what went wrong is its ``why``.
        """
        ...

    def arm_cost(
        self, key: Key, method: Method, choice: Arm | None = None, scope: Scope | None = None
    ) -> ArmCost | None:
        """What ``arm`` would touch, from the last sample; None before the first."""
        ...

    def arm(self, key: Key, method: Method, choice: Arm | None = None, scope: Scope | None = None) -> None:
        """Starts tracking; the next Sample is the baseline. A refusal arrives as a Notice.

        Args:
            key: which process.
            method: how writes are tracked.
            choice: which mappings; None: as memtop was started (``--arm``).
            scope: one mapping or a range of it, in place of all; refused if it is not what it was any more.
        """
        ...

    def disarm(self, key: Key) -> None:
        """Stops tracking."""
        ...

    def clear_refs(self, key: Key, what: ClearRefs) -> None:
        """Writes to clear_refs of the target."""
        ...
