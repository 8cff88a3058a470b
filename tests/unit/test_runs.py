"""Sets of page runs against sets of pages."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from memtop.linux.pagemap import count_sum, uncovered
from memtop.linux.runs import runs_union
from memtop.model.layout import COUNT, MAPPING, PAGE, CountFlag, Mode
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRun, PageRuns


@st.composite
def page_runs(draw: st.DrawFn) -> PageRuns:
    """Sorted, not overlapping; neighbours may touch."""
    runs, at = [], 0
    for gap, pages, huge in draw(
        st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9), st.booleans()), max_size=30)
    ):
        runs.append(PageRun((at + gap) * PAGE, pages, huge))
        at += gap + pages
    return PageRuns.of(runs)


@given(page_runs(), page_runs())
def test_union(a: PageRuns, b: PageRuns) -> None:
    union = runs_union(a, b)
    assert union.addresses() == a.addresses() | b.addresses()
    assert union.pages == len(union.addresses()), "no page twice"
    assert all(left.end <= right.start for left, right in pairwise(union))


@given(page_runs(), page_runs())
def test_union_does_not_depend_on_the_order(a: PageRuns, b: PageRuns) -> None:
    assert runs_union(a, b).addresses() == runs_union(b, a).addresses()


@given(page_runs())
def test_union_with_itself_and_nothing(a: PageRuns) -> None:
    assert runs_union(a, PageRuns()) == a
    assert runs_union(PageRuns(), a) == a
    assert runs_union(a, a).addresses() == a.addresses()


def test_sum() -> None:
    one = COUNT.pack(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, CountFlag.SCANNED, 0)
    two = COUNT.pack(10, 20, 30, 40, 50, 60, 70, 80, 90, 100, CountFlag.ZERO, 0)
    total = count_sum(one + two)
    assert (total.resident, total.huge, total.zero) == (11, 22, 33)
    assert (total.swapped, total.guard, total.written) == (44, 55, 66)
    assert total.flags == CountFlag.SCANNED | CountFlag.ZERO
    assert count_sum(b"").resident == 0


def table(*ranges: tuple[int, int]) -> MappingTable:
    return MappingTable(b"".join(MAPPING.pack(a * PAGE, b * PAGE, 0, 0, 0, 0, 0, 0, 3, 0) for a, b in ranges))


def test_uncovered() -> None:
    """Split, merged and grown VMAs keep their registration; what is new has none."""
    armed, census = Mode.ARMED, Mode.CENSUS
    before, modes = table((0, 10), (10, 20), (30, 40)), bytes([armed, armed, census])
    now = table((0, 5), (5, 20), (20, 21), (30, 40), (50, 60))
    assert uncovered(before, modes, now, bytes([armed] * 5)) == [2, 3, 4]
    assert uncovered(before, modes, table((15, 35)), bytes([armed])) == [0], "joined with what was not armed"
    assert uncovered(before, modes, now, bytes([census] * 5)) == []
    assert uncovered(MappingTable(), b"", now, bytes([armed] * 5)) == [0, 1, 2, 3, 4]
    assert uncovered(before, modes, table((0, 21)), bytes([armed])) == []
    assert uncovered(before, modes, table((20, 30), (35, 45)), bytes([armed] * 2)) == [0, 1]
