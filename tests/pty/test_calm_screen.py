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
memtop.ui.calm.CALM_S = 0.2  # else each view would take ten seconds
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

SAMPLES = 10


def reads(terminal: Terminal) -> int:
    """Reads that memtop has made: several for each sample."""
    text = Path(f"/proc/{terminal.process.pid}/io").read_text()
    return int(text.split("syscr:")[1].split()[0])


def samples_come(terminal: Terminal) -> None:
    before = reads(terminal)
    wait_for(lambda: reads(terminal) > before + SAMPLES * 3, "samples", 60)
    while terminal.read():
        pass


def sent_while_samples_come(terminal: Terminal) -> int:
    """Bytes, while the picture stands: again, if a minute was over meanwhile, or something happened."""
    for _ in range(10):
        terminal.wait_for_text("● unchanged")
        while terminal.read():
            pass
        clock, sent = terminal.screen.lines[0], len(terminal.output)
        samples_come(terminal)
        if terminal.screen.lines[0] == clock:
            return len(terminal.output) - sent
    raise AssertionError(f"it never stood while {SAMPLES} samples came\n{terminal.screen.text}")


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
            command = [
                sys.executable,
                "-c",
                SOON,
                "-p",
                ",".join(pids[:many]),
                "-d",
                "0.1",
                "--max-cost",
                "0",
                *words,
            ]
            screens.append((stack.enter_context(Terminal(command, 80, 24)), views))
        for terminal, views in screens:
            for keys, name in views:
                terminal.wait_for_text("● unchanged")
                if keys:
                    terminal.send(keys)
                    terminal.wait_for_text("● live")
                    terminal.wait_for_text("● unchanged")
                assert sent_while_samples_come(terminal) == 0, name
        areas[0].poke(1)
        for terminal, _ in screens[:2]:
            terminal.wait_for_text("● live")
