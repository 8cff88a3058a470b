"""A terminal for tests: a real pty, and just enough of a VT to know what a user would see."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from harness import PATIENCE
from rich.cells import cell_len

_ESCAPES = re.compile(
    r"\x1b\[(?P<private>[<=>?]?)(?P<numbers>[\d;:]*)[ !$\"']?(?P<final>[@-~])"  # CSI
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\)"  # OSC, DCS and their like
    r"|\x1b[ -/]*[0-~]",
    re.S,
)
_LOOK, _NONE = os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC, bytes(4)
_STARTED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)?\Z")
_MOVE = re.compile(r"(?=\x1b\[[\d;]*H)")
BLANK = " "


class Screen:
    """The grid of characters and the modes that a stream of output leaves behind; colours are ignored."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.modes: dict[int, bool] = {}
        """DEC private modes that were ever set or reset: 25 cursor, 1049 alternate screen, 1000… mouse."""
        self._x = self._y = 0
        self._pending = ""
        self._clear()

    def _clear(self) -> None:
        self._cells = [[BLANK] * self.columns for _ in range(self.rows)]

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._cells]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._clear()

    def feed(self, text: str) -> None:
        text, at = self._pending + text, 0
        self._pending = ""
        if started := _STARTED.search(text):
            self._pending, text = text[started.start() :], text[: started.start()]
        for escape in _ESCAPES.finditer(text):
            self._print(text[at : escape.start()])
            at = escape.end()
            if escape["final"]:
                self._control(escape["private"], escape["numbers"], escape["final"])
        self._print(text[at:])

    def _print(self, text: str) -> None:
        for character in text:
            if character == "\r":
                self._x = 0
            elif character == "\n":
                self._y = min(self._y + 1, self.rows - 1)
            elif character == "\b":
                self._x = max(self._x - 1, 0)
            elif character >= " ":
                width = cell_len(character)
                if self._x + width <= self.columns and self._y < self.rows:
                    self._cells[self._y][self._x : self._x + width] = [character, *[""] * (width - 1)]
                self._x += width

    def _control(self, private: str, text: str, final: str) -> None:
        if private == "?" and final in "hl":
            for mode in text.split(";"):
                self.modes[int(mode)] = final == "h"
                if mode == "1049":
                    self._clear()
            return
        if private or ":" in text:
            return
        numbers = [int(n) if n else 0 for n in text.split(";")]
        count = max(numbers[0], 1)
        if final in "Hf":
            self._y = min(count, self.rows) - 1
            self._x = min(max(numbers[1], 1) if len(numbers) > 1 else 1, self.columns) - 1
        elif final == "A":
            self._y = max(self._y - count, 0)
        elif final == "B":
            self._y = min(self._y + count, self.rows - 1)
        elif final == "C":
            self._x = min(self._x + count, self.columns - 1)
        elif final == "D":
            self._x = max(self._x - count, 0)
        elif final == "G":
            self._x = count - 1
        elif final == "J" and numbers[0] == 2:
            self._clear()
        elif final == "K" and numbers[0] == 0 and self._y < self.rows:
            self._cells[self._y][self._x :] = [BLANK] * (self.columns - self._x)


class Terminal:
    """A command on a pty of its own, as its controlling terminal.

    Attributes:
        output: every byte that came out of it.
        screen: what they drew.
    """

    def __init__(self, command: Sequence[str], columns: int = 120, rows: int = 40, **env: str) -> None:
        self._master, slave = os.openpty()
        self._name = os.ttyname(slave)
        self._size(columns, rows)
        self.before = termios.tcgetattr(self._master)
        self.screen = Screen(columns, rows)
        self.output = bytearray()
        self._decoded = 0
        self._pieces = deque[str]()  # decoded, not yet on the screen
        keep = {
            k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES", "CI", "LC_ALL")
        }
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**keep, "TERM": "xterm-256color", "LANG": "C.UTF-8", "COLORTERM": "truecolor", **env},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.hang_up()

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """As a user who drags the window's corner."""
        self.screen.resize(columns, rows)
        self._size(columns, rows)

    @property
    def tty(self) -> int:
        """Whose attributes are the terminal's."""
        return self._master

    def hang_up(self) -> None:
        """Closes the terminal, as a lost ssh connection does."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def send(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def escape(self) -> None:
        """Esc alone, which is told from a sequence by the time after it."""
        self.send("\x1b")
        with open(self._name, "rb", buffering=0, opener=lambda path, _: os.open(path, _LOOK)) as slave:
            self.wait_for(lambda _: fcntl.ioctl(slave, termios.FIONREAD, _NONE) == _NONE, "Esc read")
        self.watch(0.5)

    def read(self, seconds: float = 0.0) -> bool:
        """Takes some of what has come, waiting at most so long for something; whether there was anything.

        As little at a time as draws one run of cells: who looks in between misses no picture, however late.
        """
        if self._pieces:
            self.screen.feed(self._pieces.popleft())
            return True
        if self._master < 0 or not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # EIO: nobody has the other end open any more
            return False
        self.output += data
        whole = bytes(self.output[self._decoded :])
        with contextlib.suppress(UnicodeDecodeError):
            self._pieces.extend(filter(None, _MOVE.split(whole.decode())))
            self._decoded = len(self.output)
        return bool(data)

    def read_all(self, seconds: float = 0.0) -> bool:
        """Takes all that has come, waiting at most so long for something; whether there was anything."""
        came = self.read(seconds)
        self.screen.feed("".join(self._pieces))
        self._pieces.clear()
        return came

    def wait_for(self, condition: Callable[[Screen], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Reads until the screen shows it."""
        end = time.monotonic() + seconds
        while not (answer := condition(self.screen)):
            ended = self.process.poll() is not None or time.monotonic() > end
            if not self.read(0.1) and ended and not condition(self.screen):
                raise AssertionError(
                    f"not within {seconds:g} s or before its end: {what}\n{self.screen.text}"
                )
        return answer

    def wait_for_text(self, *parts: str, seconds: float = PATIENCE) -> None:
        self.wait_for(lambda s: all(p in s.text for p in parts), f"{parts} on screen", seconds)

    def watch(self, seconds: float) -> None:
        """Reads what is drawn for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not self.read_all(min(left, 0.1)) and self.process.poll() is not None:
                return

    def end(self, seconds: float = PATIENCE) -> int:
        """Waits until the command ends; its exit status."""
        until = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < until, f"did not end within {seconds:g} s\n{self.screen.text}"
            if not self.read(0.05):
                time.sleep(0.01)
        while self.read(0.05):
            pass
        assert self.process.returncode is not None
        return self.process.returncode

    def assert_restored(self) -> None:
        """As it was: no alternate screen, cursor shown, mouse left alone, line discipline back."""
        modes = self.screen.modes
        assert modes.get(1049) is False, "the alternate screen was not left (or never entered)"
        assert modes.get(25) is True, "the cursor stays hidden"
        still = {mode for mode, on in modes.items() if on and mode not in (25, 7)}
        assert not still, f"modes left on: {still}"
        assert termios.tcgetattr(self._master) == self.before, "the line discipline is not as it was"
