"""The timeline's rates against a plain sum over pages and seconds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake import FakeSource
from hypothesis import given, settings
from hypothesis import strategies as st

from memtop.model.actions import Method
from memtop.model.layout import PAGE
from memtop.model.sample import Sample
from memtop.sampler.past import Kept, Past
from memtop.ui.ages import Age
from memtop.ui.heat import LEVELS, Heat, MappingRows, PartRows, heat, step_for


def ticks(count: int) -> tuple[list[Sample], Past]:
    source, samples, past = FakeSource(), [], Past()
    target = source.target
    target.method, target.baseline = Method.AUTO, True
    for _ in range(count):
        samples.append(target.sample(1.0))
        past.add(samples[-1])
    return samples, past


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 50)), min_size=1, max_size=30), st.data())
def test_every_written_page_is_in_the_picture_exactly_once(
    spans: list[tuple[int, int]], data: st.DataObject
) -> None:
    step = data.draw(st.sampled_from([1.0, 2.0, 5.0]))
    (sample,), _ = ticks(1)
    kept, now = [], 1000.0
    for span, _ in spans:
        kept.append(Kept(replace(sample, time=now + span), now, sample.runs, True))
        now += span
    columns = int(300 / step)
    picture = heat(kept, [(pages,) for _, pages in spans], 1, columns, step)
    assert picture.first % step == 0
    assert picture.first + step * columns - step < now <= picture.first + step * columns
    known = 0.0
    told = 0.0
    for column, rate in enumerate(picture.rates[0]):
        start = picture.first + column * step
        covered = min(start + step, now) - max(start, 1000.0)
        assert (rate is not None) == (covered > 0)
        if rate is not None:
            known += covered
            told += rate * covered / PAGE
    assert known == pytest.approx(now - 1000.0)
    assert told == pytest.approx(sum(pages for _, pages in spans))


def test_where_writes_were_not_tracked_nothing_is_claimed() -> None:
    samples, past = ticks(4)
    assert samples[0].baseline
    rows = MappingRows(past.kept, 5)
    assert rows.pages(past.kept)[0] == (None,) * len(rows.labels)
    assert all(pages is not None for pages in rows.pages(past.kept)[1])
    untracked = next(m for m in samples[-1].mappings if not m.coverage.tracked)
    assert PartRows(untracked.mapping, 3).pages(past.kept)[-1][0] is None


def test_parts_of_a_mapping_add_up_to_it() -> None:
    samples, past = ticks(6)
    for m in samples[-1].mappings:
        rows = PartRows(m.mapping, 7)
        assert len(rows.labels) <= 7
        counted = rows.pages(past.kept)[-1]
        assert len(counted) == len(rows.labels)
        if m.written_pages is not None:
            assert sum(p for p in counted if p is not None) == m.written_pages


def test_mappings_are_those_written_most_in_the_order_of_addresses() -> None:
    samples, past = ticks(6)
    written = {m.mapping.id: 0 for m in samples[-1].mappings}
    for sample in samples[1:]:
        for m in sample.mappings:
            written[m.mapping.id] += m.written_pages or 0
    rows = MappingRows(past.kept, 4)
    assert {m.id for m in rows.mappings} == set(sorted(written, key=written.__getitem__)[-4:])
    assert [m.start for m in rows.mappings] == sorted(m.start for m in rows.mappings)


def test_a_mapping_keeps_its_row_where_others_come_and_go_before_it() -> None:
    source, past = FakeSource(), Past()
    target = source.target
    target.method = Method.AUTO
    written: list[dict[int, int | None]] = []
    for tick in range(6):
        if tick in (2, 4):
            del target.mappings[0]
        past.add(sample := target.sample(1.0))
        written.append({m.mapping.id: m.written_pages for m in sample.mappings})
    rows = MappingRows(past.kept, 7)
    ids = [m.id for m in rows.mappings]
    for pages, known in zip(rows.pages(past.kept), written, strict=True):
        assert pages == tuple(known.get(mapping) for mapping in ids)


def test_levels_are_powers_of_four_below_the_fastest() -> None:
    picture = Heat(0.0, 1.0, ((None, 0.0, 10.0, PAGE * 4.0, PAGE * 16.0, PAGE * 64.0, PAGE * 250.0),))
    assert picture.bounds == (PAGE * 4.0, PAGE * 16.0, PAGE * 64.0)
    low, second, third, most = LEVELS
    assert list(picture.cells(0)) == [Age.ABSENT, Age.RESIDENT, low, second, third, most, most]
    assert Heat(0.0, 1.0, ((None, 0.0),)).cells(0) == bytes([Age.ABSENT, Age.RESIDENT])


def test_the_step_shows_all_and_is_no_finer_than_the_samples() -> None:
    _, past = ticks(30)
    assert step_for(past.kept, 100) == 1.0
    assert step_for(past.kept, 10) == 5.0
