"""What happened to one mapping, from the kept samples: since when, what was written, what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memtop.linux.runs import runs_pages, runs_within
from memtop.model.layout import PAGE
from memtop.model.units import size
from memtop.sampler.past import Kept

EVENTS = 64
"""Of those that something happened in, so many are told; the newest."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A mapping in one kept sample: where, how protected, and pages written since the one before (None: not
    tracked)."""

    start: int
    end: int
    perms: str
    pages: int | None


@dataclass(frozen=True, slots=True)
class Event:
    """What happened by this time (unix seconds)."""

    time: float
    text: str


@dataclass(frozen=True, slots=True)
class Story:
    """A mapping over the last minutes.

    Attributes:
        since: unix seconds of the first kept sample that has it.
        appeared: one before that has it not.
        written: bytes seen written, each page once a sample; None: never tracked.
        tracked_s: seconds in which writes were tracked.
        at_least: samples were merged, so pages that were written in several of them count once.
        peak: bytes a second in the sample with most, and its time.
        rates: bytes a second of every kept sample, for a sparkline.
        events: oldest first.
    """

    since: float
    appeared: bool
    written: int | None
    tracked_s: float
    at_least: bool
    peak: tuple[float, float] | None
    rates: Sequence[float | None]
    events: Sequence[Event]


class Storyteller:
    """Tells the story of one mapping at a time; a kept sample is looked into once."""

    def __init__(self) -> None:
        self._mapping: int | None = None
        self._facts: dict[tuple[float, float], Fact | None] = {}

    def tell(self, mapping: int, kept: Sequence[Kept], until: float) -> Story | None:
        """The story up to a time (unix seconds); None: no kept sample has this mapping."""
        if mapping != self._mapping:
            self._mapping, self._facts = mapping, {}
        before, self._facts = self._facts, {}
        told: list[tuple[Kept, Fact]] = []
        index, appeared = 0, False
        for each in kept:
            key = (each.since, each.sample.time)
            if key in before:
                fact = before[key]
            else:
                fact, index = _fact(each, mapping, index)
            self._facts[key] = fact
            if each.sample.time > until:
                continue
            if fact is not None:
                told.append((each, fact))
            elif not told:
                appeared = True
        return _story(told, appeared) if told else None


def _fact(kept: Kept, mapping: int, index: int) -> tuple[Fact | None, int]:
    """And where it stood in the table: mostly where it stood in the one before."""
    table = kept.sample.table
    if not (index < len(table) and table.ids[index] == mapping):
        found = table.index_of(mapping)
        if found is None:
            return None, index
        index = found
    m = table[index]
    pages = None
    if kept.follows(index):
        pages = runs_pages(runs_within(kept.runs, m.start, m.end))
    return Fact(m.start, m.end, m.perms, pages), index


def _story(told: Sequence[tuple[Kept, Fact]], appeared: bool) -> Story:
    written, tracked_s, peak = 0, 0.0, None
    rates: list[float | None] = []
    events: list[Event] = []
    last: Fact | None = None
    for kept, fact in told:
        rate = None if fact.pages is None or kept.span <= 0 else fact.pages * PAGE / kept.span
        rates.append(rate)
        if rate is not None and fact.pages is not None:
            written += fact.pages * PAGE
            tracked_s += kept.span
            if rate and (peak is None or rate > peak[0]):
                peak = (rate, kept.sample.time)
        if last is not None:
            events += [Event(kept.sample.time, text) for text in _changes(last, fact)]
        last = fact
    first = told[0][0].sample.time
    merged = any(kept.stands_for > 1 for kept, _ in told)
    total = written if tracked_s else None
    return Story(first, appeared, total, tracked_s, merged, peak, rates, events[-EVENTS:])


def _changes(before: Fact, after: Fact) -> list[str]:
    """In words."""
    texts = []
    old, new = before.end - before.start, after.end - after.start
    if new != old:
        texts.append(f"{'grew' if new > old else 'shrank'} by {size(abs(new - old))} to {size(new)}")
    if after.start != before.start and after.end != before.end:
        texts.append(f"moved from {before.start:x}")
    if after.perms != before.perms:
        texts.append(f"{before.perms} became {after.perms}")
    return texts
