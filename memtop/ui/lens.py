"""Ages of a part of a mapping, by single pages where the history of the whole mapping is coarser."""

from __future__ import annotations

from memtop.model.layout import PAGE
from memtop.model.sample import Sample
from memtop.model.units import count
from memtop.sampler.history import NEVER, AgeMap

LENGTH = 4096
"""Cells that a lens covers: several windows, so that panning seldom moves it; an AgeMap holds more."""


class Lens:
    """Begins with what the coarse history knows, and is exact to its own cells from then on.

    Args:
        coarse: history of the mapping; None: it was never seen written.
        low, high: byte addresses that it must cover, within what LENGTH cells can.
        start, end: of the mapping.
        cell_pages: pages a cell.
        now: unix seconds of the last sample that ``coarse`` has taken in.
    """

    def __init__(
        self,
        coarse: AgeMap | None,
        low: int,
        high: int,
        start: int,
        end: int,
        cell_pages: int,
        now: float,
    ) -> None:
        size = cell_pages * PAGE
        spare = max(LENGTH * size - (high - low), 0) // 2 // size * size
        self.low, self.high = (
            max(low - spare, start // size * size),
            min(high + spare, -(-end // size) * size),
        )
        self.cell_pages = cell_pages
        self.since = now
        self.age = AgeMap(self.low, self.high)
        self.coarse_pages = 1
        if coarse is not None:
            cells = len(self.age.times)
            self.age.times[:] = type(self.age.times)(
                "d", coarse.latest(self.age.first * self.age.cell_bytes, self.age.cell_pages, cells)
            )
            self.coarse_pages = coarse.cell_pages

    def covers(self, low: int, high: int, cell_pages: int) -> bool:
        """Whether it can show [low, high) in these cells."""
        return self.low <= low and high <= self.high and self.cell_pages == cell_pages

    def take_over(self, old: Lens | None) -> None:
        """Keeps what a lens of before has seen where both look; the rest is as coarse as before."""
        if old is None or old.age.cell_pages > self.age.cell_pages:
            return
        mine = self.age
        seen = old.age.latest(mine.first * mine.cell_bytes, mine.cell_pages, len(mine.times))
        inside = range(
            max(-(-old.low // mine.cell_bytes) - mine.first, 0),
            min(old.high // mine.cell_bytes - mine.first, len(mine.times)),
        )
        for i in inside:
            mine.times[i] = seen[i]

    def update(self, sample: Sample) -> None:
        """Takes in the written runs of a sample; every one must pass here."""
        self.age.update(sample.runs, sample.time)

    @property
    def says(self) -> str:
        """How coarse it is from before; empty: not at all."""
        known = any(time != NEVER and time <= self.since for time in self.age.times)
        return f"older by {count(self.coarse_pages)} pages" if known and self.coarse_pages > 1 else ""
