"""The ageing cells, against a plain dictionary of pages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memtop.model.layout import PAGE
from memtop.model.runs import PageRun, PageRuns
from memtop.sampler.history import LEAST_CELLS, MOST_CELLS, MOST_TOTAL, NEVER, AgeMap, bound, room

BASE = 0x7F00_0000_0000


def runs_of(pages: set[int]) -> PageRuns:
    """One run a page: the least merged form."""
    return PageRuns.of([PageRun(BASE + p * PAGE, 1) for p in sorted(pages)])


@given(st.lists(st.sets(st.integers(0, 199), max_size=40), max_size=6))
def test_each_page_remembers_its_last_write(ticks: list[set[int]]) -> None:
    ages, truth = AgeMap(BASE, BASE + 200 * PAGE), dict.fromkeys(range(200), NEVER)
    for time, pages in enumerate(ticks, 1):
        ages.update(runs_of(pages), float(time))
        truth.update(dict.fromkeys(pages, float(time)))
    assert ages.latest(BASE, 1, 200) == [truth[p] for p in range(200)]
    assert ages.latest(BASE, 16, 12) == [max(truth[p] for p in range(i * 16, i * 16 + 16)) for i in range(12)]


@given(st.integers(0, 100), st.integers(101, 200), st.integers(0, 100), st.integers(101, 200))
def test_growing_and_shrinking_keeps_what_is_still_there(a: int, b: int, c: int, d: int) -> None:
    ages = AgeMap(BASE + a * PAGE, BASE + b * PAGE)
    ages.update(PageRuns.of([PageRun(BASE + a * PAGE, b - a)]), 5.0)
    ages.resize(BASE + c * PAGE, BASE + d * PAGE)
    expected = [5.0 if a <= p < b else NEVER for p in range(c, d)]
    assert ages.latest(BASE + c * PAGE, 1, d - c) == expected


def test_a_mapping_that_outgrows_its_cells_keeps_its_history_coarser() -> None:
    ages = AgeMap(BASE, BASE + MOST_CELLS * PAGE)
    assert ages.cell_pages == 1
    ages.update(runs_of({0, 3, MOST_CELLS - 1}), 7.0)
    ages.resize(BASE, BASE + 3 * MOST_CELLS * PAGE)
    assert ages.cell_pages == 4
    assert len(ages.times) <= MOST_CELLS
    cells = ages.latest(BASE, 4, 3 * MOST_CELLS // 4)
    assert [i for i, t in enumerate(cells) if t] == [0, MOST_CELLS // 4 - 1]


def test_a_terabyte_has_a_bounded_history() -> None:
    ages = AgeMap(BASE, BASE + 2**40)
    assert len(ages.times) <= MOST_CELLS
    ages.update(PageRuns.of([PageRun(BASE + 2**39, 1)]), 1.0)
    assert sum(t > NEVER for t in ages.times) == 1


@given(st.sets(st.integers(0, 999), max_size=20), st.integers(0, 30), st.integers(2, 200))
def test_coarser_is_the_same_history_in_fewer_cells(pages: set[int], shift: int, most: int) -> None:
    start = BASE + shift * PAGE
    ages = AgeMap(start, start + 1000 * PAGE)
    ages.update(PageRuns.of([PageRun(start + p * PAGE, 1) for p in sorted(pages)]), 3.0)
    ages.coarsen(most)
    assert len(ages.times) <= most
    size, first = ages.cell_bytes, ages.first
    assert {first + i for i, t in enumerate(ages.times) if t} == {(start + p * PAGE) // size for p in pages}
    ages.update(PageRuns.of([PageRun(start + 999 * PAGE, 1)]), 4.0)
    assert ages.times[-1] == 4.0


def test_the_histories_of_all_mappings_are_bounded() -> None:
    size = MOST_CELLS * PAGE
    ages = {i: AgeMap(BASE + i * size, BASE + (i + 1) * size) for i in range(MOST_TOTAL // MOST_CELLS)}
    bound(ages.values())
    assert room(ages.values()) == 0
    assert all(age.cell_pages == 1 for age in ages.values()), "what fits stays as it is"
    more = len(ages)
    ages[more] = AgeMap(BASE + more * size, BASE + (more + 1) * size)
    last = list(ages)[-1]
    bound(ages.values())
    assert room(ages.values()) >= MOST_TOTAL // 4
    assert len(ages[0].times) == LEAST_CELLS
    assert len(ages[last].times) == MOST_CELLS
