"""The list of processes: what can be seen, filtered, marked and opened."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fake import FakeSource
from fake_target import FakeTarget
from fake_world import process, world
from screen import opened
from textual.events import MouseScrollDown, MouseScrollUp

from memtop.linux import processes as listing
from memtop.linux.errors import NotPermitted
from memtop.linux.processes import Listed, processes, with_children
from memtop.ui import PICK
from memtop.ui.keymap import KEYMAP, Mode
from memtop.ui.picker import PickerApp
from memtop.ui.settings import Settings
from memtop.ui.theme import DARK
from memtop.ui.widgets.drawn import WHEEL

OWN = os.getuid()


def entry(pid: int, name: str, mib: int, parent: int = 1, own: bool = True, allowed: bool = True) -> Listed:
    return Listed(
        pid, parent, name, "me" if own else "they", own, mib << 20, 0, 1000, f"/usr/bin/{name} -x", allowed
    )


ALL = [
    entry(10, "shell", 4),
    entry(11, "redis-server", 512, 10),
    entry(12, "redis-child", 100, 11),
    entry(13, "postgres", 900, own=False, allowed=False),
    entry(14, "worker", 8, 11),
]


@asynccontextmanager
async def picker(size: tuple[int, int] = (100, 24), settings: Settings | None = None) -> AsyncIterator[Any]:
    app = PickerApp(list_all=lambda: ALL, palette=DARK, settings=settings)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await app.reread()
        app.pilot = pilot  # type: ignore[attr-defined]  # the tests' own
        yield app


def text(app: Any) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def picked(app: Any) -> list[int]:
    return list(app.return_value.pids)


async def test_lists_who_uses_most_first_and_enter_opens_one() -> None:
    async with picker() as app:
        lines = text(app).splitlines()
        assert [line.split()[0] for line in lines[3:6]] == ["11", "12", "14"] or OWN
        assert "512M" in text(app)
        assert "5 of 5" in text(app)
        await app.pilot.press(*"redis-c", "enter")
    assert picked(app) == [12]


async def test_typing_filters_and_escape_clears_then_leaves() -> None:
    async with picker() as app:
        await app.pilot.press(*"worq")
        assert "0 of 5" in text(app)
        assert "no process matches" in text(app)
        await app.pilot.press("backspace")
        assert "1 of 5" in text(app)
        await app.pilot.press("escape")
        assert "5 of 5" in text(app)
        await app.pilot.press("escape")
    assert picked(app) == []


async def test_several_are_marked_and_come_with_their_children() -> None:
    async with picker() as app:
        await app.pilot.press(*"shell", "space", "escape", *"worker", "space")
        assert "2 marked" in text(app)
        await app.pilot.press("f4", "enter")
    assert picked(app) == [14, 10, 11, 12]


async def test_what_is_not_permitted_is_said_before_and_does_not_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = NotPermitted("reading it is not permitted", "it is another's", "run as root")
    monkeypatch.setattr("memtop.ui.picker.why_not", lambda pid: refused)
    async with picker() as app:
        await app.pilot.press(*"postgres")
        assert "not permitted" in text(app)
        await app.pilot.press("enter", "space")
        assert "run as root" in text(app)
        assert app.return_value is None
        assert "marked" not in text(app)
        await app.pilot.press("escape", "escape")


async def test_the_selection_follows_its_process() -> None:
    async with picker() as app:
        await app.pilot.press(*"w", "escape", "end")
        before = app._selected
        app._list_all = lambda: [entry(99, "bigger", 9000), *ALL]
        await app.reread()
        assert app._selected == before
        assert any(line.startswith("▸") and str(before) in line for line in text(app).splitlines())


async def test_the_wheel_goes_through_the_list() -> None:
    async with picker() as app:
        await app.pilot._post_mouse_events([MouseScrollDown], app.drawing, (20, 3))
        assert app._at(app.rows) == WHEEL
        await app.pilot._post_mouse_events([MouseScrollUp], app.drawing, (20, 3))
        assert app._at(app.rows) == 0


def test_real_processes_are_listed_with_what_the_kernel_says() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        child.stdout.read(1)  # till then it may still be its parent's copy
        (found,) = [each for each in processes() if each.pid == child.pid]
        assert found.parent == os.getpid()
        assert found.own
        assert found.allowed
        assert found.resident > 1 << 20
        assert "input()" in found.command
        assert with_children([os.getpid()])[0] == os.getpid()
        assert child.pid in with_children([os.getpid()])
        assert not any(each.pid == os.getpid() for each in processes())
    finally:
        child.communicate(b"\n")


def test_the_permission_is_that_of_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(listing.os, "open", refused)
    error = listing.why_not(os.getpid())
    assert error is not None
    assert "not permitted" in error.sentence


async def test_p_leaves_for_the_list_and_asks_where_tracking_would_end() -> None:
    async with opened() as screen:
        await screen.press("p")
        assert "other processes can be chosen where" in screen.text
        screen.app.can_pick = True
        await screen.press("p")
        assert "tracking ends" in screen.text
        await screen.press("escape")
        assert screen.app._exit is False
        await screen.press("p", "enter")
    assert screen.app.return_value == PICK


async def test_p_does_not_ask_where_nothing_is_lost() -> None:
    async with opened(FakeSource(FakeTarget(process(), world())), arm=False) as screen:
        screen.app.can_pick = True
        await screen.press("p")
    assert screen.app.return_value == PICK


async def test_the_keys_at_the_bottom_are_those_of_the_table() -> None:
    async with picker() as app:
        last = text(app).splitlines()[-1]
        for key in KEYMAP:
            if Mode.PICKER in key.modes and key.label:
                assert f"{key.shown} {key.label}" in last


async def test_the_users_own_keys_are_the_pickers_too() -> None:
    keys = {"pick_mark": ["tab"], "pick_children": ["f7"], "pick_open": ["ctrl+o"]}
    async with picker(settings=Settings(keys=keys)) as app:
        assert "Tab marks" in text(app)
        assert "F7 children" in text(app)
        await app.pilot.press("space", "f4", "enter")  # what they were
        assert (app.filter, app.with_children, app.return_value) == (" ", False, None)
        await app.pilot.press("backspace", *"redis", "tab", "f7")
        assert "with children: 2" in text(app)
        await app.pilot.press("ctrl+o")
    assert picked(app) == [11, 12, 14]


async def test_no_key_is_cut_on_a_narrow_screen() -> None:
    async with picker((60, 15)) as app:
        last = text(app).splitlines()[-1]
        for shown in ("space marks", "F4 children", "Enter opens", "Esc leaves"):
            assert shown in last


async def test_what_comes_along_and_what_is_refused_show_without_colour() -> None:
    async with picker() as app:
        await app.pilot.press(*"redis-server", "space", "f4")
        assert "with children: 2" in text(app)
        await app.pilot.press("escape")
        marks = {line.split()[-2].rpartition("/")[2]: line[1] for line in text(app).splitlines()[2:7]}
        assert marks == {
            "redis-server": "*",
            "redis-child": "+",
            "worker": "+",
            "shell": " ",
            "postgres": "!",
        }


async def test_f6_sorts_and_the_selection_stays_on_its_process() -> None:
    async with picker() as app:
        assert "▼RSS" in text(app)
        await app.pilot.press(*"redis-server", "space", "escape", "down", "up")
        for head in ("▼SWAP", "▼FAULTS/S", "▲PID", "▼RSS"):
            before = app.rows[app._at(app.rows)].pid
            await app.pilot.press("f6")
            assert head in text(app)
            assert app.rows[app._at(app.rows)].pid == before
            if head == "▲PID":
                mine = [each.pid for each in app.rows if each.own]
                assert mine == sorted(mine)


@pytest.mark.parametrize("width", [80, 120])
async def test_a_click_on_a_head_sorts_by_it(width: int) -> None:
    async with picker((width, 24)) as app:
        for name, arrow in (("PID", "▲"), ("SWAP", "▼"), ("FAULTS/S", "▼"), ("RSS", "▼")):
            head = text(app).splitlines()[1]
            for at in (head.index(name), head.index(name) + len(name) - 1):
                await app.pilot.click(offset=(at, 1))
                assert f"{arrow}{name}" in text(app).splitlines()[1]
        await app.pilot.click(offset=(text(app).splitlines()[1].index("USER"), 1))
        assert "▼RSS" in text(app).splitlines()[1], "it does not sort, so nothing happens"
