"""A range of pages marked in the write map."""

from __future__ import annotations

from fake import FakeSource
from screen import Driver, opened

from memtop.model.layout import PAGE


async def in_map(screen: Driver) -> tuple[int, int]:
    """Goes into the map; the first page of the mapping and the bytes of a cell."""
    await screen.press("enter")
    grid = screen.live.pane.grid
    return grid.start, grid.cell_bytes


async def test_moves_extend_a_range_and_v_ends_it() -> None:
    async with opened() as screen:
        start, cell = await in_map(screen)
        await screen.press("home", "right", "right", "v")
        assert screen.live.view.marked_range == (start + 2 * cell, start + 3 * cell)
        await screen.press("right", "right", "down")
        marked = screen.live.view.marked_range
        columns = screen.live.pane.grid.columns
        assert marked == (start + 2 * cell, start + (5 + columns) * cell)
        assert f"marked {marked[0]:x}–{marked[1]:x}" in screen.text
        await screen.press("v", "right")
        assert screen.live.view.marked_range == marked
        await screen.press("v")
        assert screen.live.view.marked_range == (start + (5 + columns) * cell, start + (6 + columns) * cell)


async def test_a_range_may_go_backwards_and_keeps_its_first_cell() -> None:
    async with opened() as screen:
        start, cell = await in_map(screen)
        await screen.press("home", "right", "right", "v", "left", "left", "left")
        assert screen.live.view.marked_range == (start, start + 3 * cell)


async def test_escape_drops_the_range_before_it_leaves_the_map() -> None:
    async with opened() as screen:
        await in_map(screen)
        await screen.press("v", "right", "escape")
        assert screen.live.view.marked_range is None
        assert screen.live.pane.has_keys
        await screen.press("escape")
        assert not screen.live.pane.has_keys


async def test_a_range_is_of_its_mapping_alone() -> None:
    async with opened() as screen:
        await screen.press("v", "right", "v")
        marked = screen.live.view.marked_range
        chosen = next(m for m in screen.source.target.mappings if m.id == screen.live.view.selected)
        screen.live.table.move(1)
        assert screen.live.view.marked_range is None
        screen.live.table.move(-1)
        assert screen.live.view.marked_range == marked
        chosen.start += 0x1000000  # moved: that address is not in it any more
        await screen.tick()
        assert screen.live.view.selected == chosen.id
        assert screen.live.view.marked_range is None


async def test_finer_cells_extend_it_by_pages() -> None:
    async with opened(FakeSource()) as screen:
        await in_map(screen)
        await screen.press(*["right_square_bracket"] * 9, "v", *["right"] * 9)
        assert screen.live.pane.grid.cell_pages == 1
        low, high = screen.live.view.marked_range
        assert high - low == 10 * PAGE


async def test_no_range_in_the_whole_address_space() -> None:
    async with opened() as screen:
        await screen.press("left_square_bracket", "v")
        assert screen.live.view.marked_range is None
        assert "within one mapping" in screen.text
