"""The map's window and cursor: whatever is pressed, it shows the cursor and never leaves the mapping."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memtop.model.layout import PAGE, Kind
from memtop.model.mapping import Mapping
from memtop.ui.ages import Grid
from memtop.ui.viewport import Viewport

ROOM = 16, 4


def mapping(pages: int, first: int = 0x7F0000000, id: int = 7) -> Mapping:
    return Mapping(id, first * PAGE, (first + pages) * PAGE, "rw-p", 0, "00:00", 0, "", Kind.ANON)


def shown(port: Viewport, m: Mapping, least: int = 1) -> Grid:
    port.look_at("process", m)
    grid = port.grid(m, *ROOM, least)
    cell = (port.address - grid.first) // grid.cell_bytes
    assert m.start <= port.address < m.end
    assert port.address % PAGE == 0
    assert 0 <= cell < grid.cells <= grid.room
    assert grid.address(cell) <= port.address < grid.address(cell) + grid.cell_bytes
    assert (grid.first - m.start // grid.cell_bytes * grid.cell_bytes) % (grid.columns * grid.cell_bytes) == 0
    return grid


step = st.one_of(
    st.tuples(st.just("zoom"), st.sampled_from([-1, 1])),
    st.tuples(st.just("move"), st.sampled_from([-1, 1, -16, 16, -64, 64])),
    st.tuples(st.just("go"), st.integers(-10, 100_000)),
    st.tuples(st.just("become"), st.integers(1, 60_000)),
)


@given(st.integers(1, 60_000), st.integers(0, 700), st.lists(step, max_size=40))
def test_the_cursor_stays_in_the_mapping_and_in_sight(
    pages: int, shift: int, steps: list[tuple[str, int]]
) -> None:
    port, m = Viewport(), mapping(pages, 0x7F0000000 + shift)
    for what, number in steps:
        grid = shown(port, m)
        if what == "zoom":
            port.zoom(number)
            port.whole = False
        elif what == "move":
            port.move(number, grid)
        elif what == "go":
            port.go(m.start + number * PAGE, grid)
        else:  # it grows or shrinks, at either end
            low = m.start // PAGE + (number % 3 - 1) * 5
            m = mapping(number, low)
    shown(port, m)


@given(st.integers(100, 5_000_000), st.integers(0, 4_999_999), st.integers(1, 12))
def test_zooming_in_and_out_comes_back_to_the_same_picture(pages: int, page: int, depth: int) -> None:
    port, m = Viewport(), mapping(pages)
    port.go(m.start + page % pages * PAGE, shown(port, m))
    place, pictures = port.address, []
    for _ in range(depth):
        pictures.append(shown(port, m))
        port.zoom(1)
    shown(port, m)
    for picture in reversed(pictures):
        port.zoom(-1 if port.cell_pages != picture.cell_pages and picture != shown(port, m) else 0)
    del pictures[1:]
    while port.cell_pages is not None:
        port.zoom(-1)
    assert shown(port, m) == pictures[0]
    assert port.address == place
    port.zoom(-1)
    assert port.whole
    port.zoom(1)
    assert not port.whole
    assert shown(port, m) == pictures[0]


def test_scales_go_down_to_one_page_and_back_the_same_way() -> None:
    port, m = Viewport(), mapping(1 << 20)
    scales = [shown(port, m).cell_pages]
    while scales[-1] > 1:
        port.zoom(1)
        scales.append(shown(port, m).cell_pages)
    assert scales == [16384, 4096, 1024, 256, 64, 16, 4, 1]
    port.zoom(1)
    assert shown(port, m).cell_pages == 1
    for scale in reversed(scales[:-1]):
        port.zoom(-1)
        assert shown(port, m).cell_pages == scale


def test_at_the_edge_the_window_scrolls_by_a_row() -> None:
    port, m = Viewport(), mapping(1 << 20)
    shown(port, m)
    for _ in range(20):
        port.zoom(1)
    grid = shown(port, m)
    for _ in range(3):
        port.move(16, grid)
    assert shown(port, m) == grid, "the last row is in sight"
    port.move(16, grid)
    below = shown(port, m)
    assert below.first == grid.first + 16 * PAGE
    port.move(-16, below)
    assert shown(port, m) == below, "back in sight: nothing moves"


def test_another_mapping_is_shown_whole_and_ids_of_two_processes_are_two() -> None:
    port, m = Viewport(), mapping(1 << 20)
    shown(port, m)
    port.zoom(1)
    assert shown(port, m).cell_pages == 4096
    port.look_at("another process", m)
    assert port.cell_pages is None
