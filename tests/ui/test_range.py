"""A range of pages marked in the write map."""

from __future__ import annotations

from fake import FakeSource
from fake_world import FakeMapping, idle
from screen import Driver, opened

from memtop.model.actions import Method
from memtop.model.layout import PAGE, Kind
from memtop.model.scope import Scope

REDIS = (4711, 92711)


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


def armed(screen: Driver) -> list[tuple[object, ...]]:
    return [asked for asked in screen.source.asked if asked[0] in ("arm", "disarm")]


async def test_w_offers_the_mapping_and_tracks_that_alone() -> None:
    async with opened(arm=False) as screen:
        await screen.press("down", "w")
        assert "2 this mapping" in screen.text
        assert "3 the marked range" not in screen.text
        chosen = next(m for m in screen.source.target.mappings if m.id == screen.live.view.selected)
        await screen.press("2")
        assert "alone" in screen.text
        assert armed(screen) == []
        await screen.press("enter")
        whole = chosen.start, chosen.start + chosen.pages * PAGE
        assert armed(screen) == [("arm", REDIS, Method.WRITE_PROTECT, Scope(chosen.id, whole))]


async def test_w_means_the_marked_range_where_there_is_one() -> None:
    async with opened(arm=False) as screen:
        await screen.press("v", "right", "right", "w")
        marked = screen.live.view.marked_range
        assert f"{marked[0]:x}–{marked[1]:x}" in screen.text.replace("\n   ", "")
        await screen.press("enter")
        ((_, key, method, scope),) = armed(screen)
        assert (key, method, scope.span) == (REDIS, Method.WRITE_PROTECT, marked)


async def test_from_the_range_back_to_the_whole_process() -> None:
    async with opened(arm=False) as screen:
        await screen.press("v", "right", "w", "1", "enter")
        assert armed(screen) == [("arm", REDIS, Method.WRITE_PROTECT)]


async def test_a_mapping_that_moved_before_enter_is_left_alone() -> None:
    async with opened(arm=False) as screen:
        await screen.press("down", "w", "2")
        chosen = next(m for m in screen.source.target.mappings if m.id == screen.live.view.selected)
        chosen.start += 0x10000000
        await screen.tick()
        await screen.press("enter")
        assert "has moved" in screen.text
        assert "nothing was done" in screen.text
        assert armed(screen) == []


async def test_a_mapping_that_is_gone_or_cut_before_enter_is_left_alone() -> None:
    for change in ("remove", "cut"):
        async with opened(arm=False) as screen:
            await screen.press("down", "w", "2")
            target = screen.source.target
            chosen = next(m for m in target.mappings if m.id == screen.live.view.selected)
            if change == "remove":
                target.mappings.remove(chosen)
            else:
                chosen.pages //= 2
            await screen.tick()
            await screen.press("enter")
            assert "nothing was done" in screen.text
            assert armed(screen) == []


async def test_the_mouse_changes_nothing_behind_a_question() -> None:
    async with opened() as screen:
        before = screen.selected
        await screen.press("left_square_bracket", "c")
        for widget, y in ((screen.live.table, 3), (screen.live.pane, 4)):
            region = widget.region
            await screen.pilot.click(offset=(40, region.y + y))
            await screen.pilot.pause()
            assert screen.selected == before
            assert screen.live.prompt.question is not None


async def test_what_is_not_in_the_picture_yet_is_not_selected() -> None:
    """Found by ``drive.py``: a click between the arrival of a sample and its picture."""
    async with opened() as screen:
        await screen.press("left_square_bracket", "enter")
        target, view = screen.source.target, screen.live.view
        before = view.selected
        target.mappings[:] = [FakeMapping(0x1000, 64, Kind.ANON, b"[anon:new]", idle)]
        view.absorb(target.sample(1.0))  # and no picture of it
        screen.live.pane.edge_cursor(-1)
        assert view.selected == before
