"""Cells of the maps against a plain model of what was written when."""

from __future__ import annotations

from array import array

from fake_target import FakeTarget, runs_of
from fake_world import FakeMapping, idle, process
from hypothesis import given
from hypothesis import strategies as st

from memtop.linux.runs import runs_within
from memtop.model.coverage import Coverage, Exactness
from memtop.model.layout import COUNT, MAPPING, PAGE, Kind
from memtop.model.mapping import Mapping, MappingTable
from memtop.model.runs import PageRun, PageRuns
from memtop.model.sample import Process, Sample, Totals, TrackerInfo, Watched
from memtop.sampler.history import MOST_CELLS, MOST_TOTAL, NEVER, AgeMap, room
from memtop.ui.ages import Age, Ages, Grid, classify, grid_cells, row_cells

START = 0x7F0000003000
NOW = 1000.0


def mapping(pages: int, start: int = START) -> Mapping:
    return Mapping(7, start, start + pages * PAGE, "rw-p", 0, "00:00", 0, "", Kind.ANON)


def test_ages_and_their_bounds() -> None:
    times = [NOW, NOW - 10, NOW - 10.1, NOW - 60, NOW - 61, NEVER, NEVER, NOW - 1]
    resident = [1, 1, 1, 1, 1, 1, 0, 0]
    assert list(classify(times, resident, NOW)) == [
        Age.NOW, Age.SECONDS, Age.MINUTE, Age.MINUTE, Age.EARLIER, Age.RESIDENT, Age.ABSENT, Age.ABSENT,
    ]  # fmt: skip


def test_a_page_written_now_shows_even_if_it_is_swapped_out() -> None:
    assert list(classify([NOW], [0], NOW)) == [Age.NOW]


@given(st.integers(1, 40_000), st.integers(1, 8), st.integers(1, 8), st.integers(0, 511))
def test_a_grid_covers_its_mapping_and_no_cell_is_lost(
    pages: int, columns: int, rows: int, shift: int
) -> None:
    m = mapping(pages, START + shift * PAGE)
    grid = Grid.of(m, columns * 4, rows)
    assert grid.cells <= grid.room
    assert grid.first <= m.start < grid.first + grid.cell_bytes
    assert grid.first + grid.cells * grid.cell_bytes >= m.end
    assert grid.first + (grid.cells - 1) * grid.cell_bytes < m.end
    assert grid.first % grid.cell_bytes == 0


@given(st.integers(1, 300), st.data())
def test_every_written_page_lights_exactly_its_cell(pages: int, data: st.DataObject) -> None:
    m = mapping(pages)
    written = data.draw(st.sets(st.integers(0, pages - 1)))
    age = AgeMap(m.start, m.end)
    age.update(PageRuns.of([PageRun(m.start + page * PAGE, 1) for page in sorted(written)]), NOW)
    grid = Grid.of(m, 16, 3)
    cells = grid_cells(grid, m, (1 << 64) - 1, None, age, NOW)
    lit = {i for i, cell in enumerate(cells) if cell == Age.NOW}
    assert lit == {(m.start + page * PAGE - grid.first) // grid.cell_bytes for page in written}
    row = row_cells(m, (1 << 64) - 1, age, NOW, 16)
    assert len(row) == min(16, pages)
    assert (Age.NOW in row) == bool(written)
    if pages <= 16:
        assert {i for i, cell in enumerate(row) if cell == Age.NOW} == written


def test_fine_residency_is_used_once_it_was_watched() -> None:
    m = mapping(128, 0x7F0000000000)
    grid = Grid.of(m, 16, 2)
    assert (grid.cell_pages, grid.cells) == (4, 32)
    coarse = grid_cells(grid, m, 0b11, None, None, NOW)  # the first two 64ths: four pages
    assert list(coarse).count(Age.RESIDENT) == 1
    counts = array("I", [0] * 32)
    counts[5] = 1
    watched = Watched(7, grid.first, 4, counts.tobytes(), bytes(4 * 32))
    fine = grid_cells(grid, m, 0b11, watched, None, NOW)
    assert [i for i, cell in enumerate(fine) if cell == Age.RESIDENT] == [5]
    other = Watched(8, grid.first, 4, counts.tobytes(), bytes(4 * 32))
    assert grid_cells(grid, m, 0b11, other, None, NOW) == coarse


@given(st.integers(1, 5_000), st.integers(0, 63), st.integers(1, 3))
def test_no_resident_part_is_lost_on_a_small_map(pages: int, bit: int, rows: int) -> None:
    m = mapping(pages)
    cell = -(-pages // 64)
    if bit * cell < pages:
        grid = Grid.of(m, 16, rows)
        shown = grid_cells(grid, m, 1 << bit, None, None, NOW)
        first = m.start + bit * cell * PAGE
        last = min(first + cell * PAGE, m.end) - 1
        lit = {i for i, age in enumerate(shown) if age == Age.RESIDENT}
        assert lit == set(
            range((first - grid.first) // grid.cell_bytes, (last - grid.first) // grid.cell_bytes + 1)
        )


def test_pages_of_a_neighbour_do_not_show() -> None:
    m = mapping(126, 0x7F0000000000 + PAGE)
    grid = Grid.of(m, 16, 2)
    assert (grid.first, grid.cell_pages, grid.cells) == (0x7F0000000000, 4, 32)
    full = Watched(7, grid.first, 4, array("I", [4] * 32).tobytes(), bytes(4 * 32))
    cells = grid_cells(grid, m, 0b10 << 2, full, None, NOW)
    assert (cells[0], cells[1], cells[31]) == (Age.ABSENT, Age.RESIDENT, Age.ABSENT)


@given(st.integers(1, 10_000), st.integers(1, 64), st.integers(0, (1 << 64) - 1))
def test_row_maps_show_what_is_resident(pages: int, width: int, bits: int) -> None:
    cell = -(-pages // 64)
    used = -(-pages // cell)
    bits &= (1 << used) - 1
    row = row_cells(mapping(pages), bits, None, NOW, width)
    assert len(row) == min(width, pages)
    for i, shown in enumerate(row):
        first, last = pages * i // len(row), (pages * (i + 1) - 1) // len(row)
        under = any(bits >> (page // cell) & 1 for page in range(first, last + 1))
        assert shown >= under
    assert any(row) == bool(bits)


def test_drawing_an_older_sample_takes_nothing_from_the_newer_one() -> None:
    """The screen may still draw a mapping as it was, when it has grown and was written there."""
    small, grown = (Mapping(1, 0, pages * PAGE, "rw-p", 0, "00:00", 0, "", Kind.ANON) for pages in (4, 8))
    packed = MAPPING.pack(0, 8 * PAGE, 0, 0, 0, 0, 0, 0, 3, 0)
    ages = Ages()
    ages.update(MappingTable(packed, b"", array("Q", [1])), PageRuns.of([PageRun(6 * PAGE, 1)]), 5.0)
    assert ages.of(small) is not None
    age = ages.of(grown)
    assert age is not None
    assert age.latest(0, 1, 8) == [0, 0, 0, 0, 0, 0, 5.0, 0]


def all_written(count: int, time: float, written: range) -> Sample:
    """So many mappings of as many pages as a history has cells; one page of some of them was written."""
    size = MOST_CELLS * PAGE
    runs = {i: k for k, i in enumerate(written)}
    return Sample(
        time=time,
        interval=1.0,
        process=Process(1, 2, "boot", "comm", "cmd", "user", "host"),
        tracker=TrackerInfo("write-protect", Exactness.EXACT),
        table=MappingTable(
            b"".join(
                MAPPING.pack(START + 2 * i * size, START + (2 * i + 1) * size, 0, 0, 0, 0, 0, 0, 3, 0)
                for i in range(count)
            ),
            b"",
            array("Q", range(1, count + 1)),
        ),
        counts=b"".join(
            COUNT.pack(1, 0, 0, 0, 0, i in runs, 0, 0, runs.get(i, 0), i in runs, 1, 0) for i in range(count)
        ),
        coverage=bytes([Coverage.EXACT]) * count,
        runs=PageRuns.of([PageRun(START + 2 * i * size, 1) for i in written]),
        totals=Totals(),
    )


def test_the_memory_of_writes_is_bounded_and_what_is_written_now_stays_fine() -> None:
    count = MOST_TOTAL // MOST_CELLS + 100
    ages = Ages()
    first = all_written(count, 1.0, range(count))
    ages.update(first.table, first.runs, first.time)
    sample = all_written(count, 2.0, range(400, 420))
    ages.update(sample.table, sample.runs, sample.time)
    maps = [ages.of(mapping) for mapping in sample.table]
    assert all(age is not None for age in maps), "none is forgotten"
    found = [age for age in maps if age is not None]
    assert room(found) >= 0
    assert all(max(age.times) == (2.0 if 400 <= i < 420 else 1.0) for i, age in enumerate(found))
    assert all(len(age.times) == MOST_CELLS for age in found[400:420])
    assert any(len(age.times) < MOST_CELLS for age in found)


def test_a_run_that_crosses_mappings_marks_each_ones_own_part() -> None:
    """Of small mappings the runs are not cut first; a cell of one page can't reach into the neighbour."""
    target = FakeTarget(
        process(), [FakeMapping(PAGE * (100 + 10 * i), 10, Kind.ANON, b"", idle) for i in range(3)]
    )
    table = target.sample(1.0).table
    ages = Ages()
    ages.update(table, PageRuns.of([PageRun(PAGE * 108, 4), PageRun(PAGE * 119, 3)]), 5.0)
    written = set()
    for each in table:
        age = ages.of(each)
        times = age.latest(each.start, 1, 10) if age is not None else []
        written |= {each.start // PAGE + page for page, time in enumerate(times) if time}
    assert written == {108, 109, 110, 111, 119, 120, 121}


def test_a_table_that_comes_back_after_another() -> None:
    """What was known of its mappings went with the other one, in which nothing was written."""
    ages, first = Ages(), all_written(2, 1.0, range(2))
    ages.update(first.table, first.runs, 1.0)
    ages.update(MappingTable(), PageRuns(), 2.0)
    ages.update(first.table, first.runs, 3.0)
    found = [ages.of(mapping) for mapping in first.table]
    assert all(age is not None and max(age.times) == 3.0 for age in found)


class OneByOne:
    """As ``Ages`` once did it: each history is updated by itself, with the runs of its mapping alone."""

    def __init__(self) -> None:
        self.maps: dict[int, AgeMap] = {}

    def update(self, table: MappingTable, runs: PageRuns, time: float) -> None:
        self.maps = {mapping_id: self.maps[mapping_id] for mapping_id in self.maps if mapping_id in table.ids}
        for m in table:
            mine = runs_within(runs, m.start, m.end)
            if not mine:
                continue
            age = self.maps.pop(m.id, None)
            if age is None:
                age = AgeMap(m.start, m.end, MOST_CELLS)
            elif not age.covers(m.start, m.end):
                age.resize(m.start, m.end)
            self.maps[m.id] = age
            age.update(mine, time)


@st.composite
def tables(draw: st.DrawFn) -> MappingTable:
    """Up to six mappings, close together; their sizes are around those from which on cells become coarser."""
    packed, ids, page = b"", array("Q"), draw(st.integers(0, 40_000))
    for mapping_id in draw(st.sets(st.integers(1, 8), max_size=6).map(sorted)):
        page += draw(st.integers(0, 3))
        pages = draw(st.one_of(st.integers(1, 9), st.integers(MOST_CELLS - 2, 3 * MOST_CELLS)))
        packed += MAPPING.pack(page * PAGE, (page + pages) * PAGE, 0, 0, 0, 0, 0, 0, 3, 0)
        page += pages
        ids.append(mapping_id)
    return MappingTable(packed, b"", ids)


@given(st.data())
def test_all_at_once_is_as_one_by_one(data: st.DataObject) -> None:
    """Over samples that keep the table, or change it, with the same writes again and with others."""
    ages, plain = Ages(), OneByOne()
    table, runs = MappingTable(), PageRuns()
    for tick in range(data.draw(st.integers(1, 5))):
        if not tick or data.draw(st.booleans()):
            table = data.draw(tables())
        if not tick or data.draw(st.booleans()):
            low, high = (table[0].start, table[-1].end) if len(table) else (0, PAGE)
            pages = data.draw(
                st.sets(st.integers(low // PAGE - 3, high // PAGE + 3).map(lambda p: max(p, 0)), max_size=9)
            )
            more = {page + k for page in pages for k in range(data.draw(st.integers(1, 12)))}
            runs = PageRuns.of(runs_of(0, more))
        ages.update(table, runs, 5.0 + tick)
        plain.update(table, runs, 5.0 + tick)
        assert list(ages._maps) == list(plain.maps), "in the same order"
        for mapping_id, age in plain.maps.items():
            mine = ages._maps[mapping_id]
            assert (mine.first, mine.cell_pages, mine.times) == (age.first, age.cell_pages, age.times)
