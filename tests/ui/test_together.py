"""Search, filter, groups and gone rows together with the map, marks, and going back in time."""

from __future__ import annotations

from pathlib import Path

from fake import FakeSource
from fake_target import FakeTarget
from fake_world import FakeMapping, process, world
from recorded import View, shown
from screen import Driver, opened
from test_rows import names, typed

from memtop.model.filter import parse
from memtop.model.filter_rows import matches
from memtop.model.layout import PAGE, Kind
from memtop.model.sample import Life
from memtop.model.units import size
from memtop.ui import PICK
from memtop.ui.columns import TREND
from memtop.ui.rates import Rates
from memtop.ui.theme import DARK

OUT = "left_square_bracket"


def addresses(screen: Driver) -> set[str]:
    return {line[2:].split()[0] for line in names(screen)}


async def test_a_filter_holds_for_the_sample_that_is_shown() -> None:
    now_and_then = FakeMapping(
        0x7F0000000000, 64, Kind.ANON, b"[anon:odd]", lambda rng, tick: {1} if tick % 2 else set()
    )
    source = FakeSource(FakeTarget(process(), [*world(), now_and_then]))
    async with opened(source, ticks=8) as screen:
        await screen.press("f")
        await typed(screen, "written & kind:anon")
        await screen.press("enter", "space")
        seen = set()
        for _ in range(6):
            await screen.press("left")
            sample = screen.live.view.sample
            tree = parse("written & kind:anon")
            truth = {f"{m.mapping.start:x}" for m in sample.mappings if matches(tree, m)}
            assert addresses(screen) == truth
            assert f"{len(truth)} of {len(sample.table)} · written" in screen.text
            seen.add(frozenset(truth))
        assert len(seen) > 1, "it makes no difference which sample is shown"


async def test_a_filter_that_is_typed_while_back_in_time_stays_when_it_goes_on() -> None:
    async with opened(ticks=6) as screen:
        await screen.press("space", "left", "left", "f")
        await typed(screen, "kind:heap")
        await screen.press("enter")
        assert addresses(screen) == {"55d1c2c41000"}
        assert screen.live.view.back is not None
        await screen.press("space")
        await screen.tick()
        assert addresses(screen) == {"55d1c2c41000"}
        assert screen.live.view.back is None


async def test_a_group_says_what_was_written_since_the_mark() -> None:
    async with opened(size=(140, 50)) as screen:
        await screen.press("m", "f5", "f5")
        truth: dict[str, int] = {}
        pages: dict[int, set[int]] = {}
        for _ in range(3):
            await screen.tick()
            for m in screen.live.view.sample.mappings:
                pages.setdefault(m.mapping.start, set()).update(m.written.addresses())
        for m in screen.live.view.sample.mappings:
            label = m.mapping.kind.label
            truth[label] = truth.get(label, 0) + len(pages[m.mapping.start])
        (heap,) = [line for line in names(screen) if "[heap]" in line]
        assert size(truth["heap"] * PAGE) in heap.split()
        # One of the anonymous mappings belongs to another tracker: what is known is a lower bound.
        (anon,) = [line for line in names(screen) if "[anon]" in line]
        assert any(word.rstrip("~²") == "≥" + size(truth["anon"] * PAGE) for word in anon.split()), anon


async def test_a_group_says_where_tracking_had_a_gap_since_the_mark() -> None:
    async with opened(size=(140, 50)) as screen:
        await screen.press("m", "f5", "f5")
        await screen.tick()
        (heap,) = [line for line in names(screen) if "[heap]" in line]
        assert "~" not in heap
        await screen.press("w", "enter")
        await screen.tick()
        await screen.press("w", "enter")
        await screen.tick(2)
        (heap,) = [line for line in names(screen) if "[heap]" in line]
        assert "~" in heap


async def test_back_in_time_groups_say_nothing_of_the_mark() -> None:
    async with opened(size=(140, 50), ticks=4) as screen:
        await screen.press("m")
        await screen.tick(4)
        await screen.press("f5", "f5", "space", "left", "left")
        assert all(group.since_mark is None for group in screen.live.table._rows.groups)
        (heap,) = [line for line in names(screen) if "[heap]" in line]
        assert "–" in heap


async def test_what_is_gone_can_be_looked_at_where_it_still_was() -> None:
    async with opened(size=(120, 50), ticks=4) as screen:
        await screen.press("home", "down", "t")
        gone = screen.selected
        mappings = screen.source.target.mappings
        mappings.remove(next(m for m in mappings if f"{m.start:x}" == gone))
        await screen.tick()
        assert any(gone in line and "[gone]" in line for line in screen.table)
        assert screen.selected != gone
        title = screen.lines[screen.live.pane.region.y]
        assert screen.selected in title, "the timeline is that of the mapping now selected"
        await screen.press("space", "left")
        assert any(gone in line for line in screen.table)
        assert "[gone]" not in screen.text
        while screen.selected != gone:
            await screen.press("up")
        assert gone in screen.lines[screen.live.pane.region.y]
        await screen.press("right")
        assert screen.selected != gone
        assert any(gone in line and "[gone]" in line for line in screen.table)


async def test_trends_back_in_time_are_those_of_then() -> None:
    async with opened(size=(160, 40), ticks=14) as screen:
        screen.live.table.columns = (*screen.live.table.columns, TREND)
        await screen.press("space", "left", "left", "left")
        view = screen.live.view
        rates = Rates()
        for kept in view.past.kept:
            if kept.sample.time <= view.sample.time:
                rates.take(kept.sample)
        (heap,) = [line for line in screen.table if "[heap]" in line]
        (mapping,) = [m.mapping.id for m in view.sample.mappings if m.mapping.name == "[heap]"]
        trend = rates.sparkline(mapping)
        assert len(trend.strip()) == 10
        assert trend in heap


async def test_the_cursor_in_the_address_space_selects_a_mapping_that_the_filter_hides() -> None:
    async with opened() as screen:
        await screen.press("f")
        await typed(screen, "kind:text")
        await screen.press("enter", OUT, "enter", "home")
        view = screen.live.view
        (heap,) = [m.mapping for m in view.sample.mappings if m.mapping.name == "[heap]"]
        assert view.selected == heap.id
        assert not any(line.startswith("▸") for line in screen.table)
        await screen.tick(3)
        assert view.selected == heap.id, "the map lost what it looked at"
        await screen.press("escape", "down")
        assert any(line.startswith("▸") for line in screen.table)


async def test_the_cursor_in_the_address_space_goes_from_group_to_group() -> None:
    async with opened() as screen:
        await screen.press("f5", "f5", "enter", "down", OUT, "enter")
        table, port, view = screen.live.table, screen.live.map, screen.live.view
        seen = set()
        for block in range(0, len(port._space.blocks), 2):
            port._choose(block)
            screen.live._moved()
            index = view.sample.table.index_of(view.selected)
            group = table._rows.group_in(table.row)
            assert index in group.members if group else table._rows.lines[table.row] == index
            seen.add(group.name if group else "in the opened one")
        assert {"[heap]", "in the opened one", "[text]", "[file]"} <= seen


async def test_end_is_the_last_row_of_opened_groups() -> None:
    async with opened(size=(120, 60)) as screen:
        await screen.press("f5", "f5")
        rows = screen.live.table._rows
        rows.opened.update(group.name for group in rows.groups)
        await screen.press("r", "r", "end")
        assert screen.live.table.row == len(rows.lines) - 1 > len(screen.live.view.sample.table)


async def test_p_works_where_the_process_on_screen_has_ended() -> None:
    one, other = FakeTarget(process(), world()), FakeTarget(process(812, "postgres"), world())
    async with opened(FakeSource(one, other)) as screen:
        screen.app.can_pick = True
        one.life = Life.ENDED
        await screen.tick()
        await screen.press("p", "enter")
    assert screen.app.return_value == PICK


async def test_the_process_stays_while_something_is_typed() -> None:
    one, other = FakeTarget(process(), world()), FakeTarget(process(812, "postgres"), world())
    async with opened(FakeSource(one, other)) as screen:
        await screen.press("slash")
        at = screen.lines[screen.live.strip.region.y].index("postgres")
        await screen.pilot.click(offset=(at, screen.live.strip.region.y))
        assert screen.live.view.process.pid == 4711


async def test_a_recording_is_filtered_like_a_process(tmp_path: Path) -> None:
    keys = ["f", *"kind", "colon", *"text", "enter", "left", "left"]
    async with shown(View("x", live=False, keys=keys), (120, 40), DARK, tmp_path) as app:
        screen = Driver(app, app.source, None)  # type: ignore[arg-type]  # no key is pressed
        sample = app.live.view.sample
        texts = [m for m in sample.mappings if matches(parse("kind:text"), m)]
        assert 0 < len(texts) < len(sample.table)
        assert len(names(screen)) == min(len(texts), len(screen.table))
        assert f"{len(texts)} of {len(sample.table)} · kind:text" in screen.text


async def test_what_can_not_be_done_in_a_recording_is_not_offered(tmp_path: Path) -> None:
    async with shown(View("x", live=False, keys=["p"]), (200, 60), DARK, tmp_path) as app:
        screen = Driver(app, app.source, None)  # type: ignore[arg-type]  # no key is pressed
        assert "other processes can be chosen where" in screen.text
        assert "others" not in screen.lines[-1]
        assert "filter" in screen.lines[-1]
