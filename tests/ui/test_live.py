"""Keys, questions, selection, several processes: what a user does and what comes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake import FakeSource, two
from fake_target import FakeTarget
from fake_world import TIME, FakeMapping, idle, process, world
from screen import opened
from textual.pilot import Pilot

from memtop.model.actions import ClearRefs, Method
from memtop.model.layout import Kind
from memtop.model.sample import Life
from memtop.ui.app import MemtopApp
from memtop.ui.dressed import FRAME_S
from memtop.ui.keymap import KEYMAP
from memtop.ui.theme import DARK

REDIS = (4711, 92711)


async def test_first_picture_stands_before_the_first_sample() -> None:
    async with opened(ticks=0, arm=False) as screen:
        assert "redis-server 4711" in screen.lines[0]
        assert "first scan" in screen.lines[0]
        assert screen.source.started


async def test_what_a_key_changed_is_drawn_without_waiting_for_a_frame() -> None:
    """Textual's own constant, set from outside: a Textual without it would wait up to 30 ms again."""
    async with opened() as screen:
        assert screen.app.screen._update_timer._interval == FRAME_S


async def test_selection_follows_its_mapping_when_the_order_changes() -> None:
    async with opened() as screen:
        await screen.press("down", "down")
        chosen = screen.selected
        assert screen.table[2].startswith(f"▸ {chosen}")
        await screen.press("r")
        assert screen.selected == chosen
        await screen.press("less_than_sign", "less_than_sign")
        assert screen.selected == chosen
        mapping = next(m for m in screen.source.target.mappings if f"{m.start:x}" == chosen)
        mapping.resident = lambda page: page == 0  # from the third place to nearly the last
        screen.source.target._maps.clear()
        await screen.press("greater_than_sign", "greater_than_sign", "r")
        await screen.tick()
        assert screen.selected == chosen
        assert not screen.table[2].startswith("▸")


async def test_selection_goes_to_the_neighbour_when_its_mapping_is_gone() -> None:
    async with opened() as screen:
        await screen.press("down")
        third = screen.table[2].split()[0]
        gone = next(m for m in screen.source.target.mappings if f"{m.start:x}" == screen.selected)
        screen.source.target.mappings.remove(gone)
        await screen.tick()
        assert screen.selected == third


async def test_moving_stops_at_both_ends() -> None:
    async with opened(size=(80, 24)) as screen:
        first = screen.selected
        await screen.press("up")
        assert screen.selected == first
        await screen.press("end")
        last = screen.selected
        assert screen.table[-1].startswith("▸")
        await screen.press("down", "pagedown")
        assert screen.selected == last
        await screen.press("pageup")
        assert screen.selected not in (first, last)
        await screen.press("home")
        assert screen.selected == first


async def test_equal_rows_stay_in_the_order_of_their_addresses() -> None:
    async with opened(size=(120, 50)) as screen:
        threads = [line[2:].split()[0] for line in screen.table if "anon:thread" in line]
        assert len(threads) > 2
        assert threads == sorted(threads)


async def test_arming_states_the_cost_first_and_enter_does_it() -> None:
    async with opened(arm=False) as screen:
        await screen.press("w")
        assert "Track writes of redis-server 4711: write-protect 18 mappings" in screen.text
        assert "2.0k huge pages split on first write" in screen.text
        assert "Enter does it" in screen.text
        assert not [asked for asked in screen.source.asked if asked[0] == "arm"]
        await screen.press("enter")
        assert ("arm", REDIS, Method.WRITE_PROTECT) in screen.source.asked
        await screen.tick(2)
        assert "write-protect · exact" in screen.text
        assert "Track writes of" not in screen.text


async def test_escape_leaves_a_question_and_nothing_is_done() -> None:
    async with opened(arm=False) as screen:
        await screen.press("w", "escape")
        assert "Enter does it" not in screen.text
        await screen.press("enter", "1")
        assert not [asked for asked in screen.source.asked if asked[0] in ("arm", "clear_refs")]


async def test_disarming_asks_too() -> None:
    async with opened() as screen:
        await screen.press("w")
        assert "Stop tracking redis-server 4711" in screen.text
        await screen.press("enter")
        assert screen.source.asked[-1] == ("disarm", REDIS)


async def test_clear_refs_is_a_menu_and_each_line_is_asked_about() -> None:
    async with opened() as screen:
        await screen.press("c")
        for what in ClearRefs:
            assert f"{what.value}  {what.title}" in screen.text
        await screen.press("enter")  # a menu is no yes
        await screen.press("4")
        assert "Clear soft-dirty bits of the whole process of redis-server 4711" in screen.text
        assert "CRIU" in screen.text
        assert not [asked for asked in screen.source.asked if asked[0] == "clear_refs"]
        await screen.press("enter")
        assert screen.source.asked[-1] == ("clear_refs", REDIS, ClearRefs.SOFT_DIRTY)


async def test_a_question_is_bound_to_the_process_of_its_key_press() -> None:
    async with opened(two()) as screen:
        await screen.press("c", "1", "n", "right", "tab")  # switching is off while a question is open
        assert "▸ redis-server 4711" in screen.text
        screen.live.view = list(screen.live.views.values())[1]  # whatever else may change the view
        await screen.press("enter")
        assert screen.source.asked[-1] == ("clear_refs", REDIS, ClearRefs.ALL)


async def test_nothing_is_done_to_a_process_that_ended_meanwhile() -> None:
    async with opened() as screen:
        await screen.press("c", "1")
        screen.source.target.life = Life.ENDED
        await screen.tick()
        await screen.press("enter")
        assert "ended meanwhile: nothing was done" in screen.text
        assert not [asked for asked in screen.source.asked if asked[0] == "clear_refs"]


async def test_keys_of_the_page_are_off_while_a_question_is_open() -> None:
    async with opened(arm=False) as screen:
        before = screen.selected
        await screen.press("w", "down", "space", "s", "r")
        assert screen.selected == before
        assert "Enter does it" in screen.text
        assert not screen.source.frozen


@pytest.mark.parametrize("key", ["w", "c"])
async def test_readonly_refuses_and_says_why(key: str) -> None:
    async with opened(FakeSource(readonly=True), arm=False) as screen:
        await screen.press(key)
        assert "--readonly" in screen.text
        assert "Enter does it" not in screen.text
        await screen.press("enter")
        assert not [asked for asked in screen.source.asked if asked[0] in ("arm", "clear_refs")]


async def test_freeze_stops_the_source_and_goes_on() -> None:
    async with opened() as screen:
        await screen.press("space")
        assert screen.source.frozen
        assert "‖ frozen" in screen.lines[0]
        await screen.press("down")  # a frozen picture can still be looked at
        await screen.press("space")
        assert not screen.source.frozen
        assert "● live" in screen.lines[0]


async def test_interval_steps_up_and_down() -> None:
    async with opened() as screen:
        await screen.press("plus", "plus", "plus")
        assert [asked for asked in screen.source.asked if asked[0] == "interval"] == [
            ("interval", 2.0), ("interval", 5.0), ("interval", 10.0),
        ]  # fmt: skip
        for _ in range(10):
            await screen.press("minus")
        assert screen.source.interval == 0.1
        assert "asked 100ms" in screen.text or "asked 0.1s" in screen.text


async def test_screenshot_is_saved_and_never_over_another_file(tmp_path: Path) -> None:
    source = FakeSource(FakeTarget(process(comm="../e vil\\x1b"), world()))
    async with opened(source, folder=tmp_path) as screen:
        await screen.press("s")
        await screen.pilot.pause()
        first, text = sorted(tmp_path.iterdir())
        assert first.name == "memtop-e_vil_x1b-4711-db-07-20261120T234109Z.svg"
        assert text.name == first.name.replace(".svg", ".txt")
        assert text.read_text().startswith(" memtop  ../e vil\\x1b 4711")
        assert "saved" in screen.text
        before = first.read_text()
        assert "<svg" in before
        assert "http" not in before.replace("http://www.w3.org/2000/svg", "").replace(
            "https://www.textualize.io", ""
        )
        await screen.press("s")
        await screen.pilot.pause()
        assert sorted(p.name for p in tmp_path.iterdir()) == [
            first.name.replace(".svg", "-2.svg"),
            first.name.replace(".svg", "-2.txt"),
            first.name,
            text.name,
        ]
        assert first.read_text() == before
        assert "saved" not in before  # the message about it is not part of the picture


async def test_a_picture_that_cannot_be_saved_is_a_sentence(tmp_path: Path) -> None:
    missing = tmp_path / "gone"
    async with opened(folder=missing) as screen:
        await screen.press("s")
        await screen.pilot.pause()
        said = " ".join(screen.text.split())
        assert "the picture was not saved in " in said
        assert "No such file or directory" in said


@pytest.mark.parametrize("ending", [".svg", ".txt"])
def test_a_link_in_the_way_is_not_followed(tmp_path: Path, ending: str) -> None:
    from memtop.ui import picture

    os.symlink(tmp_path / "victim", tmp_path / f"{picture.stem(process(), TIME)}{ending}")
    path = picture.save({".svg": "<svg/>", ".txt": "text"}, process(), TIME, tmp_path)
    assert path.name.endswith("-2.svg")
    assert path.with_suffix(".txt").read_text() == "text"
    assert not (tmp_path / "victim").exists()


async def test_help_names_every_key_and_any_key_closes_it() -> None:
    async with opened(size=(120, 110)) as screen:
        await screen.press("question_mark")
        for key in KEYMAP:
            if key.help:
                assert key.help in screen.text
        assert "chosen because it is exact to the page" in screen.text
        await screen.press("x")
        assert "● live" in screen.text


@pytest.mark.parametrize(
    ("keys", "ends"), [("qq", True), ("q", False), ("xq", True), ("?q", False), ("?qq", True)]
)
async def test_keys_typed_ahead_over_the_help_page_are_in_order(keys: str, ends: bool) -> None:
    async with opened() as screen:
        if not keys.startswith("?"):
            await screen.press("question_mark")
            assert "any other key closes" in screen.text
        await screen.burst(*keys)
        assert (screen.app.return_code == 0) is ends
        if not ends:
            assert "● live" in screen.text


async def test_samples_and_a_resize_under_the_help_page_are_no_trouble() -> None:
    async with opened() as screen:
        await screen.press("question_mark")
        await screen.tick(3)
        await screen.pilot.resize_terminal(80, 24)
        await screen.press("x")
        await screen.tick()
        assert len(screen.lines) == 24
        assert screen.lines[0].startswith(" memtop  redis-server 4711")


async def test_processes_are_switched_and_keep_their_selection() -> None:
    async with opened(two()) as screen:
        await screen.press("down", "down")
        chosen = screen.selected
        await screen.press("n")
        assert "postgres 812" in screen.lines[0]
        await screen.press("down")
        await screen.press("N")
        assert "redis-server 4711" in screen.lines[0]
        assert screen.selected == chosen


async def test_the_selection_is_watched_in_fine_cells() -> None:
    async with opened() as screen:
        (mapping_id,) = [m.id for m in screen.source.target.mappings if f"{m.start:x}" == screen.selected]
        watches = [asked for asked in screen.source.asked if asked[0] == "watch"]
        assert watches[-1][1:3] == (REDIS, mapping_id)
        await screen.tick(3)
        assert [
            asked for asked in screen.source.asked if asked[0] == "watch"
        ] == watches  # once, not every tick
        await screen.press("down")
        assert [asked for asked in screen.source.asked if asked[0] == "watch"] != watches


async def test_the_mouse_selects_a_row_sorts_and_switches(pytestconfig: pytest.Config) -> None:
    async with opened(two()) as screen:
        pilot: Pilot[int] = screen.pilot
        fourth = screen.table[3].split()[0]
        await pilot.click(screen.live.table, offset=(10, 3))
        await pilot.pause()
        assert screen.selected == fourth
        heads = screen.lines[screen.live.heads.region.y]
        await pilot.click(screen.live.heads, offset=(heads.index("SIZE"), 0))
        await pilot.pause()
        assert "SIZE▼" in screen.lines[screen.live.heads.region.y]
        await pilot.click(
            screen.live.strip, offset=(screen.lines[screen.live.strip.region.y].index("postgres"), 0)
        )
        await pilot.pause()
        assert "postgres 812" in screen.lines[0]


async def test_resize_is_followed() -> None:
    async with opened() as screen:
        for size in ((80, 24), (200, 60), (60, 15), (30, 8), (120, 40)):
            await screen.pilot.resize_terminal(*size)
            await screen.tick()
            assert len(screen.lines) == size[1]
            assert all(len(line) == size[0] for line in screen.lines)
        assert screen.lines[0].startswith(" memtop  redis-server 4711")


async def test_an_empty_address_space_is_no_trouble() -> None:
    source = FakeSource(FakeTarget(process(), []))
    async with opened(source) as screen:
        await screen.press("down", "end", "w", "escape", "r", "greater_than_sign")
        source.target.mappings.append(FakeMapping(0x1000, 3, Kind.ANON, b"new", idle))
        await screen.tick()
        assert screen.selected == "1000"


async def test_a_dropped_frame_loses_no_written_page() -> None:
    async with opened(size=(120, 40)) as screen:
        await screen.press("greater_than_sign")
        screen.source.tick(8)  # eight samples, one picture
        await screen.pilot.pause()
        view = screen.live.view
        jemalloc = next(m for m in view.sample.table if "jemalloc" in m.name)
        age = view.ages.of(jemalloc)
        assert age is not None
        assert sum(1 for t in age.times if t) == 9 * 16384 // age.cell_pages  # nine sweeps after the baseline


class Broken(Exception):
    pass


@pytest.mark.parametrize("where", ["absorb", "take"])
async def test_an_error_ends_the_screen_with_a_sentence(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMTOP_DEBUG", raising=False)
    said: list[str] = []

    def fail(*args: object) -> None:
        raise Broken("a bug")

    async def meet_a_bug() -> None:
        async with opened() as screen:
            app = screen.app
            monkeypatch.setattr(
                app, "_print_error_renderables", lambda: said.extend(map(str, app._exit_renderables))
            )
            monkeypatch.setattr(screen.live.view, where, fail)
            screen.source.tick()
            await screen.pilot.pause()

    with pytest.raises(Broken):  # Textual hands it on to tests
        await meet_a_bug()
    assert "the screen failed: Broken('a bug')" in said[0]
    assert "Traceback" not in said[0]


async def test_quit_returns_zero() -> None:
    async with opened() as screen:
        await screen.press("q")
    assert screen.app.return_value == 0


async def test_told_to_end_while_the_page_is_put_together() -> None:
    source = FakeSource()

    def open_source() -> FakeSource:
        assert app.loop is not None
        app.loop.call_soon(app.leave, 129)  # as a signal does; it comes between first picture and page
        return source

    app = MemtopApp(open_source, source.processes, palette=DARK)
    async with app.run_test() as pilot:
        while app.is_running:
            await pilot.pause(0.01)
    assert app._exception is None
    assert app.return_code == 129
