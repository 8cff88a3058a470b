"""Beside processes in which nothing happens no byte is sent: counted on a real pty, in every view."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import Writer, wait_for
from terminal import Terminal

SOON = """
import sys
import memtop.ui.calm
memtop.ui.calm.CALM_S = 0.5  # else each view would take ten seconds
from memtop.cli import main
sys.exit(main())
"""
TRACKED = ["--track", "auto"]
VIEWS: list[tuple[int, list[str], list[tuple[str, str]]]] = [
    (1, TRACKED, [("", "write map"), ("t", "timeline"), ("t", "timeline of all"), ("i", "detail")]),
    (2, TRACKED, [("", "list"), ("\r", "one of two")]),
    (1, ["--readonly", "--track", "off"], [("", "passive")]),
]
"""How many processes, how, and what is typed to come to which view."""

SAMPLES = 50


def reads(terminal: Terminal) -> int:
    """Reads that memtop has made: several for each sample."""
    text = Path(f"/proc/{terminal.process.pid}/io").read_text()
    return int(text.split("syscr:")[1].split()[0])


def sent_while_samples_come(terminal: Terminal) -> int | None:
    """Bytes; None: a minute was over meanwhile, and the clock went on."""
    while terminal.read():
        pass
    clock, sent, before = terminal.screen.lines[0], len(terminal.output), reads(terminal)
    wait_for(lambda: reads(terminal) > before + SAMPLES * 3, "samples")
    while terminal.read():
        pass
    return len(terminal.output) - sent if terminal.screen.lines[0] == clock else None


@pytest.mark.usefixtures("needs_write_protect")
def test_no_byte_is_sent_while_nothing_happens(new_writer: Callable[[], Writer]) -> None:
    writers = [new_writer(), new_writer()]
    areas = [writer.map("area", "anon", 1000) for writer in writers]
    for area in areas:
        area.fill()
    pids = [str(writer.pid) for writer in writers]
    with ExitStack() as stack:
        screens = []
        for many, words, views in VIEWS:
            command = [sys.executable, "-c", SOON, "-p", ",".join(pids[:many]), "-d", "0.1", *words]
            screens.append((stack.enter_context(Terminal(command, 80, 24)), views))
        for terminal, views in screens:
            for keys, name in views:
                terminal.wait_for_text("● unchanged")
                if keys:
                    terminal.send(keys)
                    terminal.wait_for_text("● live")
                    terminal.wait_for_text("● unchanged")
                tries = (sent_while_samples_come(terminal) for _ in range(3))
                assert next((sent for sent in tries if sent is not None), None) == 0, name
        areas[0].poke(1)
        for terminal, _ in screens[:2]:
            terminal.wait_for_text("● live")
