"""The first picture: before what takes long to import, and what comes between it and the page.

How long it takes is measured (benchmarks/terminal.py); here is what that rests on.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from harness import memtop
from terminal import Terminal

NOTE = """
import os, sys

def note():
    with open(sys.argv[1] + "~", "w") as file:
        file.write("\\n".join(sys.modules))
    os.replace(sys.argv[1] + "~", sys.argv[1])

"""

FIRST = f"""{NOTE}
from memtop.cli import main
from memtop.ui.widgets.first_picture import FirstPicture

def render_line(self, y):
    if y == 0:
        note()
    return drawn(self, y)

drawn, FirstPicture.render_line = FirstPicture.render_line, render_line
sys.exit(main(sys.argv[2:]))
"""

SCANNED = f"""{NOTE}
from memtop.cli import main
from memtop.ui.app import MemtopApp

def on_arrived(self):
    take(self)
    note()
    self.leave(0)

take, MemtopApp.on_arrived = MemtopApp.on_arrived, on_arrived
sys.exit(main(sys.argv[2:]))
"""

GONE = """
import sys
from memtop.cli import main
from memtop.cli.opening import Opening
from memtop.linux.errors import ProcessGone

def source(self):
    raise ProcessGone("there is no process any more")

Opening.source = source
sys.exit(main(sys.argv[1:]))
"""

LATER = (
    "memtop.dump", "memtop.stream", "memtop.tracking", "memtop.linux.features", "memtop.sampler.loop",
    "memtop.sampler.target", "memtop.ui.screens", "memtop.ui.actions", "memtop.ui.settings",
    "memtop.ui.keymap", "memtop.ui.state", "psutil", "tomlkit",
)  # fmt: skip
"""What the first picture does without."""


def imported(script: str, tmp_path: Path) -> list[str]:
    """Modules that a screen on this very process had imported by the moment that the script waits for."""
    file = tmp_path / "modules"
    command = [sys.executable, "-c", script, str(file), "-p", str(os.getpid())]
    with Terminal(command, 80, 24, HOME=str(tmp_path), XDG_CONFIG_HOME="") as terminal:
        terminal.wait_for(lambda _: file.exists(), "the modules")
    return file.read_text().split("\n")


def among(modules: list[str], *packages: str) -> list[str]:
    return [each for each in modules if any(each == p or each.startswith(f"{p}.") for p in packages)]


def test_it_needs_little(tmp_path: Path) -> None:
    modules = imported(FIRST, tmp_path)
    assert "textual.app" in modules
    assert among(modules, *LATER) == []
    assert len(among(modules, "memtop")) < 60


def test_what_makes_dumps_comes_when_one_is_asked_for(tmp_path: Path) -> None:
    modules = imported(SCANNED, tmp_path)
    assert "memtop.sampler.target" in modules
    assert among(modules, "memtop.dump") == []


@pytest.mark.parametrize("already", ["", "opens"])
def test_keys_that_come_before_the_page_are_for_it(already: str) -> None:
    with Terminal(memtop("-p", str(os.getpid()))) as terminal:
        terminal.wait_for_text(already)
        terminal.send("?")
        terminal.wait_for_text("any other key closes")


def test_a_process_that_ends_after_it_is_a_sentence(tmp_path: Path) -> None:
    with Terminal([sys.executable, "-c", GONE, "-p", str(os.getpid())]) as terminal:
        assert terminal.end() == 3
        terminal.assert_restored()
        assert "memtop: there is no process any more" in terminal.screen.text
