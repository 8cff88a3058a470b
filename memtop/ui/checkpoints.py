"""States to go back to: what adds up over samples can't be undone, only be built again from earlier on."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from memtop.sampler.past import Past
from memtop.sampler.working_set import SetSize, WorkingSet
from memtop.ui.ages import Ages

EVERY = 16
"""Samples from one checkpoint to the next at first; what lies between is absorbed again."""

MOST_BYTES = 128 << 20
"""Of all checkpoints of one process; when they are more, every second one goes."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a view knew at this time (unix seconds); see ``state.ProcessView``."""

    time: float
    ages: Ages
    past: Past
    sets: tuple[WorkingSet, WorkingSet]
    set_sizes: tuple[SetSize | None, SetSize | None]
    rates: deque[float | None]

    def copy(self) -> Checkpoint:
        """The same, on its own from now on."""
        ten, sixty = self.sets
        return replace(
            self,
            ages=self.ages.copy(),
            past=self.past.copy(),
            sets=(ten.copy(), sixty.copy()),
            rates=self.rates.copy(),
        )


class Checkpoints:
    """Copies of a view's state, denser at first than over a long time."""

    def __init__(self) -> None:
        self._kept: list[Checkpoint] = []
        self._every, self._since = EVERY, 0

    def due(self, time: float) -> bool:
        """Whether the state of this sample is to be kept; the same time is not kept twice."""
        self._since += 1
        return self._since >= self._every and not (self._kept and time <= self._kept[-1].time)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Takes one in."""
        self._since = 0
        self._kept.append(checkpoint)
        while len(self._kept) > 1 and self._bytes() > MOST_BYTES:
            self._kept = self._kept[1::2]
            self._every *= 2

    def before(self, time: float) -> Checkpoint | None:
        """A copy of the last one before this time."""
        found = next((each for each in reversed(self._kept) if each.time < time), None)
        return None if found is None else found.copy()

    def _bytes(self) -> int:
        samples = {id(kept): kept.bytes for each in self._kept for kept in each.past.kept}  # mostly shared
        return sum(samples.values()) + sum(each.ages.bytes for each in self._kept)
