"""The written working set against the plain union of what was written in the span that it names."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from test_past import at

from memtop.model.layout import PAGE
from memtop.model.sample import TrackerInfo
from memtop.sampler.working_set import WorkingSet


@pytest.mark.parametrize("interval", [0.1, 1.0, 7.0, 30.0])
def test_it_is_the_union_over_the_span_that_it_names(interval: float) -> None:
    rng = random.Random(2)
    working_set = WorkingSet(10.0)
    history: list[tuple[float, set[int]]] = []
    time = 1000.0
    for _ in range(200):
        time += interval
        pages = {rng.randrange(200) for _ in range(rng.randrange(9))}
        history.append((time, pages))
        answer = working_set.add(at(time, pages, interval))
        assert answer is not None
        union = set().union(*(pages for when, pages in history if when > time - answer.span + 1e-6))
        assert answer.size == len(union) * PAGE
        assert answer.span <= max(12.0 + interval, interval) + 1e-6
    assert answer.span >= min(10.0, 200 * interval) - interval


def test_it_starts_anew_when_tracking_does() -> None:
    working_set = WorkingSet(10.0)
    first = working_set.add(at(5.0, {1, 2}))
    assert first is not None
    assert first.size == 2 * PAGE
    assert working_set.add(replace(at(6.0, {3}), baseline=True)) is None
    again = working_set.add(at(7.0, {4}))
    assert again is not None
    assert (again.size, again.span) == (PAGE, 1.0)
    off = TrackerInfo("off", at(8.0, set()).tracker.exact)
    assert working_set.add(replace(at(8.0, set()), tracker=off)) is None
