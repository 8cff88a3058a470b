"""Which huge pages are left, and how many were split, against a set of addresses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memtop.linux.pagemap import follow_huge
from memtop.model.layout import HUGE_PAGES, PAGE
from memtop.model.runs import PageRun, PageRuns
from memtop.tracking.huge import outside

HUGE = HUGE_PAGES * PAGE
BLOCKS = 12
BASE = 1 << 40


def runs_of(blocks: set[int]) -> PageRuns:
    """Huge pages at these places, as runs that never touch."""
    found: list[PageRun] = []
    for block in sorted(blocks):
        start = BASE + block * HUGE
        if found and found[-1].end == start:
            found[-1] = PageRun(found[-1].start, found[-1].pages + HUGE_PAGES, True)
        else:
            found.append(PageRun(start, HUGE_PAGES, True))
    return PageRuns.of(found)


def blocks_of(runs: PageRuns) -> set[int]:
    return {block for run in runs for block in range((run.start - BASE) // HUGE, (run.end - BASE) // HUGE)}


blocks = st.sets(st.integers(0, BLOCKS - 1))
pages = st.sets(st.integers(0, BLOCKS * HUGE_PAGES - 1), max_size=40)


@given(huge=blocks, new=blocks, small=pages)
def test_what_was_huge_and_is_written_small_was_split(huge: set[int], new: set[int], small: set[int]) -> None:
    small = {page for page in small if page // HUGE_PAGES not in new}
    written = [PageRun(BASE + page * PAGE, 1) for page in small]
    written += [PageRun(BASE + block * HUGE, HUGE_PAGES, True) for block in new]
    now, split = follow_huge(runs_of(huge), PageRuns.of(sorted(written, key=lambda run: run.start)))
    touched = {page // HUGE_PAGES for page in small}
    assert split == len(huge & touched)
    assert blocks_of(now) == (huge - touched) | new


@given(first=st.integers(0, BLOCKS * HUGE_PAGES - 1), count=st.integers(1, 4 * HUGE_PAGES), huge=blocks)
def test_one_run_over_several_huge_pages_splits_each(first: int, count: int, huge: set[int]) -> None:
    run = PageRun(BASE + first * PAGE, count)
    now, split = follow_huge(runs_of(huge), PageRuns.of([run]))
    touched = set(range(first // HUGE_PAGES, (first + count - 1) // HUGE_PAGES + 1))
    assert split == len(huge & touched)
    assert blocks_of(now) == huge - touched


def test_what_lies_outside() -> None:
    assert outside((0, 10), []) == [(0, 10)]
    assert outside((0, 10), [(0, 10)]) == []
    assert outside((0, 10), [(0, 2), (4, 6)]) == [(2, 4), (6, 10)]
    assert outside((0, 10), [(3, 10)]) == [(0, 3)]
