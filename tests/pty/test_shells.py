"""memtop where terminals really are: under a shell with job control, in tmux and screen, on a slow link."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import pytest
from harness import PAGE, Writer, armed_mappings, child_named, memtop, wait_for
from terminal import Screen, Terminal

MIB = 1 << 20
CLOCK = re.compile(r"\d\d:\d\d:\d\dZ")


def memtop_under(shell: int) -> int | None:
    """The memtop that this shell has started."""
    return child_named(shell, lambda words: b"\0memtop\0" in words, "cmdline")


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def shell() -> Iterator[Terminal]:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash, so no job control")
    with Terminal([bash, "--norc", "--noprofile", "-i"], 100, 30, PS1="ready> ", HISTFILE="") as terminal:
        terminal.wait_for_text("ready>")
        yield terminal


# ---- job control ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["key", "signal"])
@pytest.mark.usefixtures("needs_write_protect")
def test_stopped_and_continued(how: str, shell: Terminal, writer: Writer) -> None:
    writer.map("area", "anon", 64 * 256).fill()
    command = " ".join(memtop("-p", str(writer.pid), "-d", "0.2", "--track", "write-protect"))
    shell.send(f"{command}\r")
    shell.wait_for_text("write-protect", "● live")
    pid = memtop_under(shell.process.pid)
    assert pid is not None
    armed = armed_mappings(writer.pid)
    for _ in range(2):
        if how == "key":
            shell.send("\x1a")
        else:
            os.kill(pid, signal.SIGTSTP)
        shell.wait_for(lambda s: s.modes.get(1049) is False, "the shell's own screen")
        wait_for(lambda: (shell.read(0.01), state_of(pid) == "T")[1], "memtop stopped")
        shell.wait_for_text("Stopped", "ready>")
        modes = shell.screen.modes
        assert modes[25] is True
        assert not any(modes.get(mouse) for mouse in (1000, 1003, 1006)), "the mouse is the shell's"
        shell.send("echo still $((40+2))\r")
        shell.wait_for_text("still 42")
        assert armed_mappings(writer.pid) == armed, "it goes on where it was"
        shell.send("fg\r")
        shell.wait_for(lambda s: s.modes.get(1049), "memtop's screen again")
        shell.wait_for_text("writer", "write-protect", "● live", "64M")
    shell.send("q")
    shell.wait_for(lambda s: s.modes.get(1049) is False, "the shell's own screen")
    shell.wait_for_text("ready>")
    shell.send("echo code $?\r")
    shell.wait_for_text("code 0")
    assert armed_mappings(writer.pid) == 0


STOPPED_WHILE_IT_WRITES = """
import os, signal, sys
from textual.drivers._writer_thread import WriterThread
from memtop.cli import main

def write(self, text, write=WriterThread.write):
    if "RSS" in text:  # a picture
        WriterThread.write = write
        with self._queue.mutex:
            os.kill(os.getpid(), signal.SIGTSTP)
            sum(range(100_000))  # Python's handlers run between two of its instructions
    write(self, text)

WriterThread.write = write
sys.exit(main())
"""


def test_stopped_in_the_middle_of_a_write(shell: Terminal, writer: Writer, tmp_path: Path) -> None:
    """What gives the terminal back writes, too: it waited for the lock of the write that it interrupted."""
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED_WHILE_IT_WRITES)
    words = [sys.executable, str(script), "-p", str(writer.pid), "-d", "0.2"]
    shell.send(f"PYTHONPATH={os.pathsep.join(sys.path)} {' '.join(words)}\r")
    shell.wait_for_text("Stopped", "ready>")
    assert shell.screen.modes.get(1049) is False
    shell.send("fg\r")
    shell.wait_for_text("RSS", "● live")
    shell.send("q")
    shell.wait_for(lambda s: s.modes.get(1049) is False, "the shell's own screen")


@pytest.mark.parametrize("stop", ["not at all", "stopped", "stopped, and its terminal used"])
def test_continued_without_having_been_suspended(stop: str, writer: Writer) -> None:
    """It draws all anew, as others may have drawn, and takes nothing twice."""
    with Terminal(memtop("-p", str(writer.pid), "-d", "0.2")) as terminal:
        terminal.wait_for_text("● live", "writer")
        pid, raw = terminal.process.pid, termios.tcgetattr(terminal.tty)
        tasks = Path(f"/proc/{pid}/task")
        before = len(list(tasks.iterdir()))
        if stop != "not at all":
            os.kill(pid, signal.SIGSTOP)
            wait_for(lambda: state_of(pid) == "T", "it stands")
        if "used" in stop:
            termios.tcsetattr(terminal.tty, termios.TCSANOW, terminal.before)
        terminal.screen.feed("\x1b[2J")
        os.kill(pid, signal.SIGCONT)
        terminal.wait_for_text("● live", "writer", "RSS", "help")
        wait_for(lambda: (terminal.read(0.01), len(list(tasks.iterdir())) <= before)[1], "as many threads")
        wait_for(lambda: termios.tcgetattr(terminal.tty) == raw, "keys as they come")
        terminal.send("?")
        terminal.wait_for_text("any other key closes")
        terminal.send("qq")
        assert terminal.end() == 0
        terminal.assert_restored()


@pytest.mark.usefixtures("needs_write_protect")
@pytest.mark.parametrize("then", ["", "; fg", "; bg; fg"])
def test_ended_while_it_is_stopped(then: str, shell: Terminal, writer: Writer) -> None:
    writer.map("area", "anon", 1000).fill()
    command = " ".join(memtop("-p", str(writer.pid), "-d", "0.2", "--track", "write-protect"))
    shell.send(f"{command}\r")
    shell.wait_for_text("write-protect", "● live")
    pid = memtop_under(shell.process.pid)
    assert pid is not None
    shell.send("\x1a")
    wait_for(lambda: (shell.read(0.01), state_of(pid) == "T")[1], "memtop stopped")
    shell.wait_for_text("Stopped", "ready>")
    shell.send(f"kill -TERM %1{then}\r")
    wait_for(lambda: (shell.read(0.01), not Path(f"/proc/{pid}").exists())[1], "its end")
    assert armed_mappings(writer.pid) == 0
    if then == "; fg":
        shell.send("echo code $?\r")
        shell.wait_for_text("code 143")
    shell.send("echo still $((40+2))\r")
    shell.wait_for_text("still 42")
    assert shell.screen.modes.get(1049) is False
    assert shell.screen.modes.get(25) is True


@pytest.mark.usefixtures("needs_write_protect")
def test_continued_in_the_background_it_leaves_the_terminal_alone(shell: Terminal, writer: Writer) -> None:
    command = " ".join(memtop("-p", str(writer.pid), "-d", "0.2", "--track", "write-protect"))
    shell.send(f"{command}\r")
    shell.wait_for_text("write-protect", "● live")
    pid = memtop_under(shell.process.pid)
    assert pid is not None
    for turn in range(2):
        shell.send("\x1a")
        shell.wait_for_text("Stopped", "ready>")
        shell.send(f"bg; echo turn $(({turn}+1))\r")
        shell.wait_for_text(f"turn {turn + 1}")
        shell.watch(0.5)
        assert state_of(pid) != "T", "it goes on sampling"
        assert shell.screen.modes.get(1049) is False
        assert "live" not in shell.screen.text
        shell.send("fg\r")
        shell.wait_for(lambda s: s.modes.get(1049), "memtop's screen again")
        shell.wait_for_text("writer", "write-protect", "● live")
    shell.send("q")
    shell.wait_for(lambda s: s.modes.get(1049) is False, "the shell's own screen")


# ---- multiplexers --------------------------------------------------------------------------------------


def multiplexed(name: str, folder: Path, words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """A command that runs another one in a multiplexer of its own, and its environment."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"no {name} here")
    if name == "tmux":
        return [program, "-S", str(folder / "socket"), "-f", "/dev/null", "new-session", *words], {"TMUX": ""}
    (folder / "sockets").mkdir(mode=0o700)
    return [program, "-U", "-c", "/dev/null", "-m", *words], {"SCREENDIR": str(folder / "sockets"), "STY": ""}


@pytest.mark.parametrize("name", ["tmux", "screen"])
@pytest.mark.usefixtures("needs_write_protect")
def test_in_a_multiplexer(name: str, writer: Writer, tmp_path: Path) -> None:
    writer.map("area", "anon", 64 * 256).fill()
    words = memtop("-p", str(writer.pid), "-d", "0.2", "--track", "write-protect")
    command, env = multiplexed(name, tmp_path, words)
    with Terminal(command, 100, 30, **env) as terminal:
        terminal.wait_for_text("write-protect", "64M", "● live")
        before = CLOCK.search(terminal.screen.text)
        terminal.wait_for(lambda s: CLOCK.search(s.text)[0] != before[0], "the clock goes on")  # type: ignore[index]
        assert "?" not in terminal.screen.text.replace("? help", ""), "every sign arrives"
        terminal.send("\x1b[B\x1b[A")
        terminal.send("i")
        terminal.wait_for_text("smaps of")
        terminal.send("q")
        assert terminal.end() == 0
    assert armed_mappings(writer.pid) == 0


# ---- a link that takes nothing -------------------------------------------------------------------------


def write_protected(pid: int, address: int) -> bool:
    """Bit 57 of the pagemap entry: a tick has taken the page's write and armed it again."""
    with open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        pagemap.seek(address // PAGE * 8)
        return bool(int.from_bytes(pagemap.read(8), sys.byteorder) >> 57 & 1)


def rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def behind(screen: Screen) -> float:
    """Seconds that the picture is older than now."""
    found = CLOCK.search(screen.text)
    if found is None:
        return 1e9
    now = datetime.now(timezone.utc)
    shown = datetime.strptime(found[0], "%H:%M:%SZ").replace(year=now.year, month=now.month, day=now.day)
    return (now - shown.replace(tzinfo=timezone.utc)).total_seconds() % 86400


def taken(pid: int) -> int:
    """Bytes that the kernel has taken from a process (proc_pid_io(5))."""
    return int(Path(f"/proc/{pid}/io").read_text().partition("wchar: ")[2].split()[0])


@pytest.mark.usefixtures("needs_write_protect")
def test_a_stalled_link_delays_no_sample_and_piles_up_nothing(writer: Writer) -> None:
    area = writer.map("area", "anon", 64 * 256)
    area.fill()
    words = "-p", str(writer.pid), "-d", "0.1", "--track", "write-protect", "--max-cost", "0"
    with Terminal(memtop(*words)) as terminal:
        terminal.wait_for_text("write-protect", "64M")
        terminal.watch(1)
        memory, before = rss(terminal.process.pid), taken(terminal.process.pid)
        for turn in range(60):  # nobody reads meanwhile
            area.write("random", 3000, 2, seed=turn)
            area.poke(7)
            wait_for(lambda: write_protected(writer.pid, area.start + 7 * PAGE), "a tick")
        time.sleep(2)
        assert rss(terminal.process.pid) - memory < 24 * MIB
        at, held = len(terminal.output), taken(terminal.process.pid) - before
        terminal.wait_for(lambda screen: behind(screen) < 2, "the newest picture")
        late = len(terminal.output) - at
        waited = late - held
        assert waited < 30_000, f"behind {held} bytes that the kernel held, {waited} of old pictures waited"
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()


# ---- signals before there is a screen ------------------------------------------------------------------


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_any_moment_of_the_start(number: signal.Signals, delay: float, writer: Writer) -> None:
    with Terminal(memtop("-p", str(writer.pid), "-d", "0.2", "--track", "auto")) as terminal:
        terminal.watch(delay)
        terminal.process.send_signal(number)
        assert terminal.end() in (128 + number, -number), "before there are handlers, the kernel's own way"
        modes = terminal.screen.modes
        assert not modes.get(1049)
        assert modes.get(25, True)
        assert termios.tcgetattr(terminal.tty) == terminal.before
        assert "Traceback" not in terminal.screen.text
    assert armed_mappings(writer.pid) == 0


# ---- a recording ---------------------------------------------------------------------------------------


@pytest.fixture
def recording(writer: Writer, tmp_path: Path) -> Path:
    area = writer.map("area", "anon", 64 * 256)
    area.fill()
    path = tmp_path / "run.jsonl"
    subprocess.run(
        memtop("record", "-p", str(writer.pid), "-n", "8", "-d", "0.1", "-o", str(path)),
        check=True,
        timeout=60,
    )
    return path


def test_replay_is_the_same_screen(recording: Path, writer: Writer) -> None:
    writer.kill()
    with Terminal(memtop("replay", str(recording))) as terminal:
        terminal.wait_for_text("replay", "writer", "64M")
        terminal.send("i")
        terminal.wait_for_text("not recorded")
        terminal.wait_for_text("end 8/8")
        terminal.send("\x1b[1;2D")  # shift and left: a step back
        terminal.wait_for_text("frozen 7/8")
        terminal.send("\x1b[1;2C")
        terminal.wait_for_text("end 8/8")
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_replay_ends_on_signals(number: signal.Signals, recording: Path) -> None:
    with Terminal(memtop("replay", str(recording))) as terminal:
        terminal.wait_for_text("replay", "64M")
        terminal.process.send_signal(number)
        assert terminal.end() == 128 + number
        terminal.assert_restored()


def test_replay_ends_with_its_terminal(recording: Path) -> None:
    with Terminal(memtop("replay", str(recording))) as terminal:
        terminal.wait_for_text("replay", "64M")
        terminal.hang_up()
        assert terminal.end() == 128 + signal.SIGHUP
