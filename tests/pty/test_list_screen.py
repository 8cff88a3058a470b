"""The list of several processes on a real pty: keys that go through it, and into each and out again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Writer, memtop
from terminal import Screen, Terminal

LIST_KEYS, TAB, SHIFT_TAB, BACKSPACE = "PID NAME", "\t", "\x1b[Z", "\x7f"


def chosen(screen: Screen) -> str:
    """The pid of the selected row; empty: this is not the list."""
    rows = [line for line in screen.lines if line.startswith("▸")]
    return rows[0][2:].split()[0] if rows and LIST_KEYS in screen.text else ""


def opened(screen: Screen, pid: str) -> bool:
    """The mappings of this process are shown."""
    return LIST_KEYS not in screen.text and f"writer {pid} " in screen.lines[0]


@pytest.mark.usefixtures("needs_pagemap")
@pytest.mark.parametrize("size", [(120, 40), (60, 15)])
def test_through_the_list_and_into_each(new_writer: Callable[[], Writer], size: tuple[int, int]) -> None:
    writers = [new_writer(), new_writer()]
    for number, writer in enumerate(writers):
        writer.map("area", "anon", 2000 - 1500 * number).fill()
    first, second = (str(writer.pid) for writer in writers)
    with Terminal(memtop("-p", f"{first},{second}", "-d", "0.2", "--track", "off"), *size) as terminal:

        def selects(pid: str, keys: str = "") -> None:
            terminal.send(keys)
            terminal.wait_for(lambda s: chosen(s) == pid, f"{pid} selected in the list, after {keys!r}")

        def opens(pid: str, keys: str) -> None:
            terminal.send(keys)
            terminal.wait_for(lambda s: opened(s, pid), f"{pid} opened, after {keys!r}")

        terminal.wait_for_text("2 of 2 live")
        selects(first)
        for key, pid in (("n", second), ("N", first), (TAB, second), (SHIFT_TAB, first), ("n", second)):
            selects(pid, key)
        opens(second, "\r")
        for key, pid in (("n", first), ("n", second), ("N", first), (TAB, second), (SHIFT_TAB, first)):
            opens(pid, key)
        selects(first, BACKSPACE)
        opens(first, "\r")
        selects(first, "\x1b")
        writers[1].kill()
        terminal.wait_for_text("1 of 2 live", "ended")
        assert chosen(terminal.screen) == first
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()
