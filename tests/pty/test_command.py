"""memtop that starts a command, that lists processes, and the mouse."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from harness import Writer, memtop, wait_for
from terminal import Terminal

MOUSE = (1000, 1003)


def test_a_command_is_started_and_its_output_stays_off_the_screen(tmp_path: Path) -> None:
    script = (
        "import os,sys; print('LO' + 'UD', flush=True); print('ER' + 'ROR', file=sys.stderr, flush=True); "
    )
    script += "os.read(os.open(sys.argv[1], os.O_RDONLY), 1); sys.exit(7)"
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    command = memtop("-d", "0.2", "--", sys.executable, "-c", script, str(fifo))
    with Terminal(command, TMPDIR=str(tmp_path)) as terminal:
        terminal.wait_for_text("python", "● live")
        assert "LOUD" not in terminal.screen.text
        fifo.write_text("x")
        terminal.wait_for_text("ended")
        terminal.send("q")
        assert terminal.end() == 7
        terminal.assert_restored()
        assert "LOUD" not in terminal.output.decode()
        (file,) = tmp_path.glob("memtop-*.log")
        assert file.read_text().split() == ["LOUD", "ERROR"]
        assert str(file) in terminal.output.decode()


def test_a_command_gets_the_environment_that_memtop_got(tmp_path: Path) -> None:
    script = "import os, signal; read = lambda p: set(open(f'/proc/{p}/environ').read().split(chr(0))); "
    script += "print('other:', *read('self') ^ read(os.getppid()), flush=True); signal.pause()"
    with Terminal(memtop("-d", "0.2", "--", sys.executable, "-c", script), TMPDIR=str(tmp_path)) as terminal:
        terminal.wait_for_text("python", "● live")
        (file,) = tmp_path.glob("memtop-*.log")
        wait_for(file.read_text, "what it prints")
        terminal.send("q")
        assert terminal.end() == 0
        assert file.read_text() == "other:\n"


def test_q_ends_the_command(tmp_path: Path) -> None:
    command = memtop("-d", "0.2", "--", sys.executable, "-c", "import signal; signal.pause()")
    with Terminal(command, TMPDIR=str(tmp_path)) as terminal:
        terminal.wait_for_text("● live")
        pid = int(re.search(r"python\S* (\d+)", terminal.screen.text)[1])  # type: ignore[index]
        terminal.send("q")
        assert terminal.end() == 0
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the command's end")
        assert not list(tmp_path.glob("memtop-*.log")), "an empty file says nothing"


def test_a_command_that_does_not_exist_is_a_sentence() -> None:
    with Terminal(memtop("--", "/nowhere/at/all")) as terminal:
        assert terminal.end() == 1
        assert "can't be started: No such file or directory" in terminal.output.decode()


@pytest.mark.parametrize(
    ("arguments", "env", "on"),
    [
        ((), {}, True),
        (("--no-mouse",), {}, False),
        ((), {"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22"}, False),
        (("--mouse",), {"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22"}, True),
    ],
)
def test_the_mouse(writer: Writer, arguments: tuple[str, ...], env: dict[str, str], on: bool) -> None:
    with Terminal(
        memtop("-p", str(writer.pid), *arguments), SSH_TTY="", **{"SSH_CONNECTION": "", **env}
    ) as terminal:
        terminal.wait_for_text("● live")
        assert any(terminal.screen.modes.get(mode) for mode in MOUSE) is on
        terminal.send("q")
        assert terminal.end() == 0


def selected(terminal: Terminal) -> str:
    """The pid in the selected row of the list of processes."""
    found = re.search(r"^▸[*+! ]*(\d+) ", terminal.screen.text, re.M)
    return found[1] if found else ""


def test_without_a_process_all_are_listed_and_one_is_opened(writer: Writer) -> None:
    with Terminal(memtop("-d", "0.2")) as terminal:
        terminal.wait_for_text("which process?", "COMMAND")
        terminal.send(str(writer.pid))
        # Another process may have these digits in its command line, and stand before it.
        terminal.wait_for(lambda s: re.search(rf"^[▸ ] +{writer.pid} ", s.text, re.M), "the process listed")
        for _ in range(20):
            if re.search(rf"^▸ +{writer.pid} ", terminal.screen.text, re.M):
                break
            before = selected(terminal)
            terminal.send("\x1b[B")
            terminal.wait_for(lambda _, b=before: selected(terminal) != b, "the next one selected")
        terminal.wait_for(lambda s: re.search(rf"▸ +{writer.pid} ", s.text), "the process selected")
        terminal.send("\r")
        terminal.wait_for_text("● live", str(writer.pid))
        terminal.send("p")
        terminal.wait_for_text("which process?")
        terminal.send("\x1b")
        terminal.wait_for_text("● live", str(writer.pid))
        terminal.send("q")
        assert terminal.end() == 0
        terminal.assert_restored()


def test_a_name_that_nobody_has_is_a_sentence() -> None:
    with Terminal(memtop("--name", "^no such process$")) as terminal:
        assert terminal.end() == 3
        assert "no process matches" in terminal.output.decode()
