"""The kept past: nothing written is forgotten, whatever is merged, and the bound holds."""

from __future__ import annotations

import random
from array import array
from dataclasses import replace
from itertools import pairwise

from test_sample import a_sample

from memtop.linux.columns import nonzero
from memtop.linux.runs import runs_count, runs_counts, runs_within, runs_without
from memtop.model.coverage import Coverage
from memtop.model.layout import PAGE
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRun, PageRuns
from memtop.model.sample import Sample, Totals, TrackerInfo
from memtop.sampler.past import Past


def at(time: float, pages: set[int], interval: float = 1.0) -> Sample:
    runs = PageRuns.of([PageRun(page * PAGE, 1) for page in sorted(pages)])
    totals = Totals(written_pages=len(pages))
    return replace(a_sample(Coverage.EXACT), time=time, interval=interval, runs=runs, totals=totals)


def test_all_samples_stay_as_they_are_while_there_is_room() -> None:
    past = Past()
    samples = [at(t, {1, 2}) for t in range(1, 50)]
    for sample in samples:
        past.add(sample)
    assert [kept.sample for kept in past.kept] == samples
    assert all(kept.stands_for == 1 and kept.span == 1 for kept in past.kept)


def test_what_was_written_survives_merging_within_its_span() -> None:
    rng = random.Random(3)
    past = Past(most=20)
    written: dict[int, list[float]] = {}
    for t in range(1, 400):
        pages = {rng.randrange(1, 9) for _ in range(rng.randrange(4))}
        for page in pages:
            written.setdefault(page, []).append(float(t))
        past.add(at(float(t), pages))
        assert len(past) <= 20
        # The spans follow each other without a gap, and the newest two are never merged.
        assert all(a.sample.time == b.since for a, b in pairwise(past.kept))
        assert all(kept.stands_for == 1 for kept in past.kept[-2:])
    for kept in past.kept:
        told = {address // PAGE for address in kept.runs.addresses()}
        truth = {p for p, times in written.items() if any(kept.since < t <= kept.sample.time for t in times)}
        assert told == truth
    assert sum(kept.stands_for for kept in past.kept) == 399


def test_the_longer_ago_the_coarser() -> None:
    past = Past(most=30)
    for t in range(1, 600):
        past.add(at(float(t), {1}))
    spans = [kept.span for kept in past.kept]
    assert spans[-1] == 1
    assert max(spans[:5]) > 4 * max(spans[-10:])
    assert past.kept[0].since <= 1


def test_the_bound_of_memory_holds() -> None:
    rng = random.Random(5)
    past = Past(bound=100_000)
    for t in range(1, 200):
        past.add(at(float(t), {rng.randrange(100_000) for _ in range(500)}))
        assert past.bytes <= 100_000 or len(past) == 2
        assert all(a.sample.time == b.since for a, b in pairwise(past.kept))
    assert len(past) > 5
    assert past.kept[0].since > 100  # what did not fit is not claimed to be known


def test_what_is_too_long_ago_goes() -> None:
    past = Past(span=10)
    for t in range(1, 100):
        past.add(at(float(t), {1}))
    assert [kept.sample.time for kept in past.kept] == list(range(89, 100))


def test_a_last_picture_that_comes_again_is_kept_once() -> None:
    past = Past()
    past.add(at(1.0, {1}))
    past.add(at(2.0, {1}))
    past.add(at(2.0, {1}))
    assert len(past) == 2


def test_merging_says_where_writes_were_not_tracked() -> None:
    past = Past(most=3)
    off = TrackerInfo("off", a_sample(Coverage.OFF).tracker.exact)
    past.add(replace(at(1.0, set()), tracker=off))
    for t in range(2, 8):
        past.add(at(float(t), {t}))
    assert not past.kept[0].tracked
    assert past.kept[-1].tracked


def test_what_was_written_to_a_mapping_that_is_gone_is_not_put_on_its_successor() -> None:
    past = Past(most=3)
    first = at(1.0, {1, 0x20})
    other = MappingTable(first.table.packed, first.table.names, array("Q", [1, 99]))
    past.add(first)
    for t in range(2, 6):
        past.add(replace(at(float(t), {2}), table=other))
    assert past.kept[0].stands_for > 1
    assert past.kept[0].runs.addresses() == {1 * PAGE, 2 * PAGE}


def test_runs_by_mapping_and_by_range() -> None:
    sample = a_sample(Coverage.EXACT)  # [0x1000, 0x9000) and [0x20000, 0x28000)
    runs = PageRuns.of([PageRun(0x2000, 3), PageRun(0x8000, 0x18 + 2), PageRun(0x27000, 1)])
    assert list(runs_count([runs], sample.table)) == [4, 3]
    assert list(runs_count([PageRuns()], sample.table)) == [0, 0]
    other = PageRuns.of([PageRun(0x20000, 2)])
    assert list(runs_count([runs, other], sample.table)) == [4, 5]
    sets = [other, PageRuns(), runs]
    assert [list(pages) for pages in runs_counts(sets, sample.table.packed)] == [[0, 2], [0, 0], [4, 3]]
    assert [list(pages) for pages in runs_counts(sets, b"")] == [[], [], []]
    assert runs_counts([], sample.table.packed) == []
    assert nonzero(array("Q", [0, 7, 0, 1])) == [1, 3]
    assert nonzero(b"") == []
    assert runs_within(runs, 0x8000, 0x21000).packed == PageRuns.of([PageRun(0x8000, 0x19)]).packed
    assert [(r.start, r.pages) for r in runs_within(runs, 0x3000, 0x9000)] == [(0x3000, 2), (0x8000, 1)]
    assert [(r.start, r.pages) for r in runs_within(runs, 0x3000, 0x4000)] == [(0x3000, 1)]
    assert not runs_within(runs, 0x6000, 0x8000)
    assert runs_without(runs, 0x2000, 0x9000).packed == runs[2:].packed
    assert runs_without(runs, 0x9000, 0x20000) is runs
