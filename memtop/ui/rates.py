"""Written rates for the order of the table: smoothed, and looked at every few seconds only.

Bursts of single ticks would shuffle the rows faster than anybody reads them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import repeat
from math import exp

from memtop.model.coverage import TRACKED
from memtop.model.sample import Sample
from memtop.ui import packed
from memtop.ui.lines import sparkline

SMOOTHED_S = 10.0
"""Time constant of the moving average, seconds."""
RANKED_S = 3.0
"""The order follows the average so often, seconds."""
TREND = 10
"""Samples that the column TREND shows."""
_NOTHING = 0.5
"""Pages a second that count as none."""


class Rates:
    """Pages written per second, by mapping id; only of those where something was written."""

    def __init__(self) -> None:
        self._now: dict[int, float] = {}
        self._ranked: dict[int, float] = {}
        self._ranked_at = self._time = float("-inf")
        self._ticks = 0
        self._past: dict[int, deque[tuple[int, int]]] = {}

    def take(self, sample: Sample) -> None:
        """Takes in the next sample; an earlier one (back in time) starts anew."""
        if sample.time < self._time:
            self.__init__()  # type: ignore[misc]
        written = {} if sample.baseline else self._written(sample)
        first = not self._now
        keep = 0.0 if first else exp(-max(sample.interval, 0.0) / SMOOTHED_S)
        now = {}
        for mapping in self._now.keys() | written.keys():
            rate = written.get(mapping, 0) / sample.interval if sample.interval > 0 else 0.0
            value = self._now.get(mapping, 0.0) * keep + rate * (1 - keep)
            if value > _NOTHING:
                now[mapping] = value
        self._now, self._time = now, sample.time
        self._ticks += 1
        for mapping, pages in written.items():
            self._past.setdefault(mapping, deque(maxlen=TREND)).append((self._ticks, pages))
        self._past = {m: past for m, past in self._past.items() if past[-1][0] > self._ticks - TREND}
        if first or sample.time >= self._ranked_at + RANKED_S:
            self._ranked, self._ranked_at = now, sample.time

    @staticmethod
    def _written(sample: Sample) -> dict[int, int]:
        ids = sample.table.ids
        return {ids[index]: pages for index, pages in packed.written_where(sample)}

    def keys(self, sample: Sample) -> Sequence[float]:
        """What to sort by; untracked mappings come after those where nothing was written."""
        ranked = map(self._ranked.get, sample.table.ids, repeat(0.0))
        return [rate if TRACKED[c] else -1.0 for rate, c in zip(ranked, sample.coverage, strict=True)]

    def sparkline(self, mapping: int) -> str:
        """What was written in each of the last ``TREND`` samples, newest at the right."""
        past = dict(self._past.get(mapping, ()))
        last = [past.get(tick, 0) for tick in range(max(self._ticks - TREND, 0) + 1, self._ticks + 1)]
        return sparkline(last, TREND)
