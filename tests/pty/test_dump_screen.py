"""Dumps from the screen on a real pty: how memtop ends meanwhile, and as whom it writes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import Area, Writer, armed_mappings, memtop, memtops_on, wait_for
from terminal import Terminal

PAGES = 120_000
DOWN, CLEAR = "\x1b[B", "\x1b[F\x15"
FIXED = b"\x7fELF"


def begin(terminal: Terminal, path: Path) -> None:
    terminal.wait_for_text("write-protect", "exact")
    terminal.send("d")
    terminal.wait_for_text("Dump writer")
    terminal.send(DOWN)
    terminal.wait_for_text("▸ file")
    terminal.send(CLEAR)
    terminal.wait_for_text("the file needs a name")
    terminal.send(str(path))
    terminal.wait_for(lambda s: str(path)[-30:] in s.text, "the path")
    terminal.send("\r")


def whole(path: Path) -> bool:
    """gdb reads it to its end; only what is complete has its name."""
    asked = subprocess.run(["readelf", "-l", path], capture_output=True, text=True)
    return not asked.stderr and asked.returncode == 0


@pytest.fixture
def big(writer: Writer) -> Area:
    area = writer.map("area", "anon", PAGES)
    area.fill()
    return area


@pytest.mark.usefixtures("needs_write_protect")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("after", [0.0, 0.2, 0.5])
def test_a_signal_in_the_middle_leaves_no_half_file(
    writer: Writer, big: Area, tmp_path: Path, number: signal.Signals, after: float
) -> None:
    folder = tmp_path / "dumps"
    folder.mkdir()
    with Terminal(memtop("-p", str(writer.pid), "-d", "0.2", "--track", "write-protect")) as terminal:
        begin(terminal, folder / "core")
        terminal.wait_for_text("dump of writer")
        time.sleep(after)  # anywhere in it: every moment has to be harmless
        terminal.process.send_signal(number)
        code = terminal.end()
        assert code == (-9 if number is signal.SIGKILL else 128 + number)
        if number is not signal.SIGKILL:
            terminal.assert_restored()
    wait_for(lambda: not memtops_on(writer.pid), "its helpers to end")
    for name in os.listdir(folder):
        assert name == "core"
        assert whole(folder / name)
    wait_for(lambda: armed_mappings(writer.pid) == 0, "the protection to go")
    big.poke(0)  # it lives, and runs


@pytest.mark.usefixtures("needs_write_protect", "needs_root")
def test_what_root_has_given_up_does_not_keep_it_from_a_users_directory(
    writer: Writer, tmp_path: Path
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(0o700)
    os.chown(folder, 65534, 65534)
    writer.map("area", "anon", 100).fill()
    with Terminal(memtop("-p", str(writer.pid), "-d", "0.2", "--track", "write-protect")) as terminal:
        begin(terminal, folder / "core")
        terminal.wait_for_text("open it", "gdb")
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()
    there = os.stat(folder / "core")
    assert stat.S_IMODE(there.st_mode) == 0o600
    assert there.st_uid == 0
    assert (folder / "core").read_bytes()[:4] == FIXED


ENDLESS = """
import sys, time
from memtop.cli import main
from memtop.dump.background import Dumps

def wait(self, *moved):
    while True:  # until it is cancelled
        watch(self, *moved)
        time.sleep(0.01)

watch, Dumps._watch = Dumps._watch, wait
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.usefixtures("needs_write_protect")
def test_quitting_asks_first(writer: Writer, tmp_path: Path) -> None:
    area = writer.map("area", "anon", 100)
    area.fill()
    folder = tmp_path / "dumps"
    folder.mkdir()
    words = "-p", str(writer.pid), "-d", "0.2", "--track", "write-protect"
    with Terminal([sys.executable, "-c", ENDLESS, *words], 60, 15) as terminal:
        begin(terminal, folder / "core")
        terminal.wait_for_text("dump of writer")
        terminal.send("q")
        terminal.wait_for_text("Quit: the dump of writer")
        terminal.send("q")  # once more means it
        assert terminal.end() == 0
        terminal.assert_restored()
    assert os.listdir(folder) == []
    area.poke(0)
