"""memtop on a real pty: it opens, draws, ends in every way there is, and leaves the terminal as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import (
    PATIENCE,
    PROMPT,
    Writer,
    armed_mappings,
    child_named,
    memtop,
    memtops_on,
    spawned,
    wait_for,
)
from terminal import Terminal

MIB = 1 << 20


@pytest.fixture
def demo() -> Iterator[Terminal]:
    with Terminal(memtop("demo", "-d", "0.2")) as terminal:
        terminal.wait_for_text("memtop-demo")
        yield terminal


def child_of(pid: int) -> int | None:
    """The demo's workload."""
    return child_named(pid, lambda comm: comm == b"memtop-demo\n")


def gone(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (200, 60)])
@pytest.mark.usefixtures("needs_write_protect")
def test_demo_opens_armed_and_quits(columns: int, rows: int) -> None:
    with Terminal(memtop("demo", "-d", "0.2"), columns, rows) as terminal:
        terminal.wait_for_text("memtop-demo", "write-protect", "exact")
        workload = child_of(terminal.process.pid)
        assert workload
        wait_for(lambda: armed_mappings(workload) > 5, "armed mappings")
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()
        wait_for(lambda: gone(workload), "the end of the workload")


def test_live_screen_shows_the_process(writer: Writer) -> None:
    area = writer.map("area", "anon", 64 * 256)
    area.fill()
    with Terminal(memtop("-p", str(writer.pid), "-d", "0.2")) as terminal:
        terminal.wait_for_text("writer", str(writer.pid), "64M")
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()
    area.poke(0)  # it lives


@pytest.mark.usefixtures("needs_write_protect")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_give_all_back(number: signal.Signals, writer: Writer) -> None:
    area = writer.map("area", "anon", 1000)
    area.fill()
    with Terminal(memtop("-p", str(writer.pid), "-d", "0.2", "--track", "write-protect")) as terminal:
        terminal.wait_for_text("write-protect", "exact")
        wait_for(lambda: armed_mappings(writer.pid), "armed mappings")
        terminal.process.send_signal(number)
        assert terminal.end() == 128 + number
        terminal.assert_restored()
    assert armed_mappings(writer.pid) == 0
    wait_for(lambda: not memtops_on(writer.pid), "no helper left")
    area.fill()


@pytest.mark.usefixtures("needs_write_protect")
def test_lost_connection_ends_it(writer: Writer) -> None:
    area = writer.map("area", "anon", 1000)
    area.fill()
    with Terminal(memtop("-p", str(writer.pid), "-d", "0.2", "--track", "write-protect")) as terminal:
        terminal.wait_for_text("write-protect", "exact")
        terminal.hang_up()
        assert terminal.end() == 128 + signal.SIGHUP
    assert armed_mappings(writer.pid) == 0
    wait_for(lambda: not memtops_on(writer.pid), "no helper left")
    area.fill()


def test_lost_connection_ends_the_demo(demo: Terminal) -> None:
    workload = child_of(demo.process.pid)
    assert workload
    demo.hang_up()
    assert demo.end() == 128 + signal.SIGHUP
    wait_for(lambda: gone(workload), "the end of the workload")


@pytest.mark.usefixtures("needs_write_protect")
def test_kill_9_leaves_the_target_as_it_was(writer: Writer) -> None:
    area = writer.map("area", "anon", 5000)
    area.fill()
    with Terminal(memtop("-p", str(writer.pid), "-d", "0.1", "--track", "write-protect")) as terminal:
        terminal.wait_for_text("write-protect", "exact")
        wait_for(lambda: armed_mappings(writer.pid), "armed mappings")
        terminal.process.kill()
        terminal.end()
        wait_for(lambda: armed_mappings(writer.pid) == 0, "nothing write-protected any more", PROMPT)
    wait_for(lambda: not memtops_on(writer.pid), "no helper left")
    assert len(area.write("random", 1000, 4)) > 0
    area.fill()


def test_kill_9_ends_the_demos_workload(demo: Terminal) -> None:
    workload = child_of(demo.process.pid)
    assert workload
    demo.process.kill()
    demo.end()
    wait_for(lambda: gone(workload), "the end of the workload")


def test_target_ends_and_its_last_picture_stays(writer: Writer) -> None:
    writer.map("area", "anon", 64 * 256).fill()
    with Terminal(memtop("-p", str(writer.pid), "-d", "0.2")) as terminal:
        terminal.wait_for_text("writer", "64M")
        writer.kill()
        terminal.wait_for_text("ended", "64M")
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()


def test_survives_any_window(demo: Terminal) -> None:
    demo.send("\x1b[B")  # a mapping with a long name
    for columns, rows in ((80, 24), (40, 10), (12, 4), (1, 1), (300, 90), (120, 40), (80, 24), (120, 40)):
        demo.resize(columns, rows)
        demo.watch(0.5)
        if columns >= 40:
            drawn = len(demo.output)
            demo.wait_for(lambda _, n=drawn: len(demo.output) > n + 100, f"ticks drawn at {columns}x{rows}")
    demo.wait_for_text("memtop-demo")
    demo.send("q")
    assert demo.end() == 0
    demo.assert_restored()


@pytest.mark.parametrize("key", ["?", "c", "w", "s", " ", "+", "-", "\x1b[B\x1b[B\x1b[A"])
def test_no_key_ends_it(key: str, tmp_path: Path) -> None:
    # Started in a directory of its own: a screenshot is left there.
    command = ["sh", "-c", 'cd "$0" && exec "$@"', str(tmp_path), *memtop("demo", "-d", "0.2")]
    with Terminal(command) as terminal:
        terminal.wait_for_text("memtop-demo")
        terminal.send(key)
        terminal.watch(0.5)
        assert terminal.process.poll() is None
        terminal.escape()
        assert terminal.process.poll() is None
        until = time.monotonic() + PATIENCE
        while terminal.process.poll() is None and time.monotonic() < until:  # a busy machine may be late
            terminal.send("q")
            terminal.watch(0.5)
        assert terminal.end() == 0
        terminal.assert_restored()
    left = {p.suffix for p in tmp_path.iterdir()}
    assert left <= ({".svg", ".txt"} if key == "s" else set()), left


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31m[red]bold[$red] \u202e漢字\r\x9b5m\u200bend"


def test_names_of_the_target_can_not_disturb_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / HOSTILE
    program = (
        "import mmap, os, sys\n"
        "f = open(sys.argv[1], 'w+b'); f.truncate(1 << 30)\n"
        "m = mmap.mmap(f.fileno(), 0); m[:1 << 22] = bytes(1 << 22)\n"
        "open('/proc/self/comm', 'w').write('\\x1b[31mX\\x07[b]')\n"
        "print('ready', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(path), HOSTILE]
    with (
        spawned(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as target,
        Terminal(memtop("-p", str(target.pid), "-d", "0.2"), 250, 60) as terminal,
    ):
        assert target.stdout.readline() == b"ready\n"
        # Seen as what it is, character by character; the sizes say that its row is on screen.
        terminal.wait_for_text(r"\x1b[31mX\x07[b]", "1.0G")
        if terminal.screen.text.find(r"\x1b]0;owned\x07\x1b[2J\x1b[31m[red]bold[$red] \u202e") < 0:
            terminal.send("\x1b[B" * 3)
        terminal.wait_for_text(r"\x1b]0;owned\x07\x1b[2J\x1b[31m[red]bold[$red] \u202e", r"\u200bend")
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()
    raw = terminal.output.decode()
    for forbidden in ("\x1b]0;", "owned\x07", "\x1b[31mX", "X\x07", "\u202e", "\u200b", "\x9b"):
        assert forbidden not in raw, forbidden


@pytest.mark.parametrize("env", ["NO_COLOR=1", "TERM=dumb", "TERM=linux", "TERM=tmux-256color"])
def test_any_terminal(env: str) -> None:
    with Terminal(memtop("demo", "-d", "0.2"), **dict([env.split("=")])) as terminal:
        terminal.wait_for_text("memtop-demo")
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()


@pytest.mark.parametrize(
    ("env", "words", "plain"),
    [
        ("LC_ALL=C", [], True),
        ("LANG=POSIX", [], True),
        ("LANG=", [], False),
        ("LANG=C", ["--no-ascii"], False),
    ],
)
def test_ascii_where_the_locale_is_not_utf_8(env: str, words: list[str], plain: bool) -> None:
    command = memtop("-p", str(os.getpid()), "-d", "0.2", *words)
    with Terminal(command, **dict([env.split("=")])) as terminal:
        terminal.wait_for_text("ADDRESS", "[heap]")
        terminal.send("q")
        assert terminal.end() == 0
        assert terminal.output.isascii() == plain


@pytest.mark.parametrize("words", [["demo"], ["-p", str(os.getpid())]], ids=["demo", "live"])
def test_without_a_terminal_it_says_so(words: list[str]) -> None:
    done = subprocess.run(
        memtop(*words),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "terminal" in done.stderr
    assert "batch" in done.stderr  # what to do instead
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout


@pytest.mark.usefixtures("needs_write_protect")
def test_arming_states_its_cost_first_and_escape_leaves(writer: Writer) -> None:
    area = writer.map("area", "anon", 64 * 256)
    area.fill()
    with Terminal(memtop("-p", str(writer.pid), "-d", "0.2")) as terminal:
        terminal.wait_for_text("writer", "64M")
        terminal.send("w")
        terminal.wait_for_text("fault", "Enter", "Esc")
        assert armed_mappings(writer.pid) == 0
        terminal.send("\x1b")
        terminal.wait_for(lambda s: "Esc" not in s.text or "Enter" not in s.text, "the question gone")
        assert armed_mappings(writer.pid) == 0
        terminal.send("w")
        terminal.wait_for_text("Enter", "Esc")
        terminal.send("\r")
        wait_for(lambda: (terminal.read(0.05), armed_mappings(writer.pid))[1], "armed mappings")
        terminal.wait_for_text("write-protect", "exact")
        terminal.send("q")
        assert terminal.end() == 0
    assert armed_mappings(writer.pid) == 0
