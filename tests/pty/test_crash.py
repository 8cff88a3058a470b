"""A bug in memtop's own screen: the target is given back within a second, the terminal too, nobody stays."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from harness import PROMPT, Writer, armed_mappings, memtops_on, wait_for
from terminal import Terminal

BUGGY = """
import signal, sys
from memtop.cli import main
from memtop.ui.app import MemtopApp
from memtop.ui.widgets.mapping_table import MappingTable

def bug(*arguments):
    raise ArithmeticError("this is a bug")

def endless(*arguments):
    while True:
        pass

def go_wrong(number, frame):
    if sys.argv[1] == "drawing":
        MappingTable.render_line = bug
    else:
        apps[0].loop.call_soon_threadsafe(apps[0].call_later, globals()[sys.argv[1]])

apps, begin = [], MemtopApp.on_mount
def on_mount(self):
    apps.append(self)
    begin(self)
MemtopApp.on_mount = on_mount
signal.signal(signal.SIGUSR1, go_wrong)
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.usefixtures("needs_write_protect")
@pytest.mark.parametrize("where", ["drawing", "bug", "endless"])
def test_a_bug_on_the_screens_thread(where: str, writer: Writer) -> None:
    """While it draws; in the answer to a message; an endless loop, which takes a signal to end."""
    area = writer.map("area", "anon", 1000)
    area.fill()
    options = ["-p", str(writer.pid), "-d", "0.2", "--track", "write-protect"]
    with Terminal([sys.executable, "-c", BUGGY, where, *options]) as terminal:
        terminal.wait_for_text("write-protect", "exact")
        wait_for(lambda: armed_mappings(writer.pid), "armed mappings")
        os.kill(terminal.process.pid, signal.SIGUSR1)
        terminal.send("\x1b[B")  # something to draw
        if where == "endless":
            terminal.watch(0.3)
            terminal.process.terminate()
        wait_for(lambda: (terminal.read(0.02), not armed_mappings(writer.pid))[1], "unprotected", PROMPT)
        assert terminal.end() == (1 if where != "endless" else 128 + signal.SIGTERM)
        terminal.assert_restored()
        if where != "endless":
            assert "memtop: the screen failed: ArithmeticError('this is a bug')" in terminal.screen.text
            assert "Traceback" not in terminal.screen.text
        wait_for(lambda: not memtops_on(writer.pid), "no helper left")
    area.fill()
