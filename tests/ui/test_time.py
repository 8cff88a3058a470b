"""Back in time, marks, the timeline: what the keys show."""

from __future__ import annotations

from fake import FakeSource
from screen import Driver, opened

from memtop.model.layout import PAGE
from memtop.model.units import size
from memtop.ui.ages import Age, grid_cells
from memtop.ui.widgets.timeline import Timeline
from memtop.ui.widgets.write_map import WriteMap


def clock(screen: Driver) -> str:
    return next(word for word in screen.lines[0].split() if word.endswith("Z"))


async def test_while_frozen_the_arrows_go_back_in_time_and_forth() -> None:
    async with opened(ticks=10) as screen:
        await screen.press("left")
        assert "while the picture is frozen" in screen.text
        newest = clock(screen)
        await screen.press("space", "left", "left", "left")
        assert int(newest[-3:-1]) - int(clock(screen)[-3:-1]) == 3
        table = screen.table
        await screen.press("left", "right")
        assert screen.table == table
        await screen.press("right", "right", "right", "right")
        assert clock(screen) == newest
        assert screen.live.view.back is None


async def test_an_earlier_picture_is_the_one_that_was_shown_then() -> None:
    async with opened(ticks=6) as screen:
        await screen.press("down", "down", "down")
        shown = screen.lines[4:-1]
        await screen.tick(4)
        assert screen.lines[4:-1] != shown
        await screen.press("space", "left", "left", "left", "left")
        assert screen.lines[4:-1] == shown


async def test_back_in_time_stops_at_the_oldest_sample() -> None:
    async with opened(ticks=4) as screen:
        await screen.press("space", *["left"] * 10)
        assert clock(screen) == "23:41:08Z"


async def test_going_on_shows_the_newest() -> None:
    async with opened(ticks=4) as screen:
        newest = clock(screen)
        await screen.press("space", "left", "left")
        assert clock(screen) != newest
        await screen.press("space")
        await screen.tick()
        assert screen.live.view.back is None
        assert clock(screen) > newest


async def test_since_the_mark_every_page_counts_once() -> None:
    async with opened() as screen:
        await screen.press("m")
        assert "SINCE MARK" in screen.text
        truth: dict[int, set[int]] = {}
        for _ in range(4):
            await screen.tick()
            for m in screen.live.view.sample.mappings:
                truth.setdefault(m.mapping.start, set()).update(m.written.addresses())
        rows = {line[2:].split()[0]: line for line in screen.table}
        checked = 0
        for address, pages in truth.items():
            row = rows.get(f"{address:x}")
            if row is not None and pages:
                text = size(len(pages) * PAGE)
                assert any(word.rstrip("~²") == text for word in row.split()), (text, row)
                checked += 1
        assert checked > 4
        await screen.press("M")
        assert "SINCE MARK" not in screen.text


async def test_the_map_tells_what_was_written_since_the_mark_from_what_was_before() -> None:
    async with opened(ticks=5) as screen:
        view = screen.live.view
        await screen.press("m")
        assert "since the mark at 23:41" in screen.text
        await screen.tick(2)
        grid = screen.live.panes[WriteMap].grid
        m = next(m for m in view.sample.mappings if "jemalloc" in m.mapping.name)
        age = view.ages.of(m.mapping)
        cells = grid_cells(grid, m.mapping, m.resident_map, None, age, view.sample.time, view.marked_at)
        assert [cells.count(each) * grid.cell_pages for each in (Age.EARLIER, Age.SECONDS, Age.NOW)] == [
            4 * 16384, 16384, 16384,
        ]  # fmt: skip
        await screen.press("escape")  # the message lies over the legend
        region = screen.live.pane.region
        shown = "".join(screen.lines[region.y : region.bottom])
        assert shown.count("▓") - 1 == cells.count(Age.SECONDS)  # one is the legend's
        assert shown.count("█") - 1 == cells.count(Age.NOW)


async def test_the_mark_says_where_tracking_had_a_gap() -> None:
    async with opened() as screen:
        await screen.press("m")
        await screen.tick()
        assert not screen.live.view.mark.gap
        await screen.press("w", "enter")
        await screen.tick()
        await screen.press("w", "enter")
        await screen.tick(2)
        assert screen.live.view.mark.gap


async def test_t_shows_the_mapping_then_the_process_then_the_map_again() -> None:
    async with opened(ticks=8) as screen:
        await screen.press("t")
        assert isinstance(screen.live.pane, Timeline)
        assert "one row" in screen.text
        await screen.press("t")
        assert "mappings written most" in screen.text
        assert "[anon:jemalloc]" in "\n".join(screen.lines[24:])
        await screen.press("t")
        assert isinstance(screen.live.pane, WriteMap)
        assert "written now" in screen.text


async def test_the_cursor_reads_a_time_and_a_rate() -> None:
    async with opened(ticks=8) as screen:
        await screen.press("t", "enter", "left")
        pane = screen.live.pane
        title = screen.lines[pane.region.y]
        assert "23:41:14 " in title
        sample = screen.live.view.past.kept[-2].sample
        m = next(each for each in sample.mappings if each.mapping.id == screen.live.view.selected)
        assert m.written_pages
        assert f"{size(m.written_pages * PAGE)}/s" in title  # the sweep has not left the first row yet
        await screen.press("up", "down", "pageup", "home")
        await screen.press("escape")
        assert "one column" in screen.lines[pane.region.y]


async def test_zoom_changes_the_columns() -> None:
    async with opened(ticks=8) as screen:
        await screen.press("t", "[")
        assert "one column 2.0s" in screen.text
        await screen.press("]")
        assert "one column 1.0s" in screen.text


async def test_the_cursor_of_the_timeline_stays_within_what_is_there() -> None:
    """Found by ``drive.py``: rows go when the terminal or the mapping becomes smaller."""
    async with opened(size=(120, 50), ticks=4) as screen:
        await screen.press("t", "t", "enter", *["down"] * 20, *["left"] * 90)
        await screen.pilot.resize_terminal(60, 15)
        await screen.pilot.pause()
        await screen.tick()
        screen.source.target.mappings[3:] = []
        await screen.tick(2)
        await screen.pilot.resize_terminal(120, 50)
        await screen.tick()


async def test_with_a_mark_no_number_is_cut_on_a_tiny_screen() -> None:
    async with opened(size=(40, 10)) as screen:
        await screen.press("m")
        await screen.tick(3)
        assert "SINCE MARK" in screen.text
        for row in screen.table:
            assert "…" not in row[:36], "a number that is cut is another number"


async def test_help_says_why_there_is_a_dash_in_earlier_samples() -> None:
    async with opened(ticks=5, size=(120, 110)) as screen:
        await screen.press("m")
        await screen.tick(2)
        await screen.press("space", "left")
        assert "SET –" in screen.text
        assert "SINCE MARK –" in screen.text
        await screen.press("question_mark")
        assert "known of the newest sample only" in screen.text


async def test_the_row_of_a_memfd_that_is_gone_has_its_short_name() -> None:
    """As it had while it was there."""
    source = FakeSource()
    memfd = source.target.mappings[1]
    memfd.name = b"/memfd:ring (deleted)"
    async with opened(source) as screen:
        (row,) = [line for line in screen.table if "memfd" in line]
        source.target.mappings.remove(memfd)
        await screen.tick()
        (gone,) = [line for line in screen.table if "[gone]" in line]
        assert "memfd:ring " in row
        assert "memfd:ring " in gone
        assert "deleted" not in gone
