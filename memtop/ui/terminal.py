"""The terminal's side: whatever happens, it is left as it was found, and soon.

Textual restores the terminal when its loop ends by itself. Left to do here: signals, a terminal that
hung up (an ignored SIGHUP leaves Textual spinning on end of file), and a terminal that takes no more
output (Textual's writer blocks its loop): after ``PATIENCE`` this process ends without asking it.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from memtop.linux.errors import Failed
from memtop.model.actions import Method
from memtop.model.sample import Process
from memtop.sampler.source import Source
from memtop.ui.app import MemtopApp
from memtop.ui.settings_path import settings_path
from memtop.ui.theme import Palette, named

if TYPE_CHECKING:
    from memtop.dump.background import Dumps
    from memtop.ui.picker import Picked
    from memtop.ui.settings import Settings

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

PATIENCE = 0.7
"""Seconds that an orderly end may take after a signal."""

_RESET = (
    "\x1b[?2004l\x1b[?7h\x1b[?2048l"  # bracketed paste, line wrap, resize reports
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1004l"  # mouse, focus
    "\x1b[<u\x1b[?1049l\x1b[?25h\x1b[0m"  # keyboard protocol, alternate screen, cursor, colours
)


def run_app(
    open_source: Callable[[], Source],
    processes: Sequence[Process],
    *,
    ascii: bool | None,
    arm_at_start: Method | None,
    mouse: bool,
    can_pick: bool,
    theme: str | None,
    open_dumps: Callable[[], Dumps] | None,
) -> int:
    """Runs the screen in this terminal; see ``memtop.ui.run``.

    Raises:
        Failed: there is no terminal.
        MemtopError: of ``open_source``.
    """
    stdin, stderr, plain = _terminal()
    settings = _settings()
    app = MemtopApp(
        open_source,
        processes,
        ascii=plain if ascii is None else ascii,
        arm_at_start=arm_at_start,
        palette=_palette(theme, settings),
        settings=settings,
        open_dumps=open_dumps,
    )
    app.can_pick = can_pick
    guard = Guard(app, app.stop, stdin, stderr)
    with guard:
        try:
            app.run(mouse=mouse)
        finally:
            if app.dumps is not None:
                app.dumps.close()
            app.stop()
            _worn[:] = [app.theme_chosen] if app.theme_chosen else []
    if guard.code is not None:
        return guard.code
    if app.refusal is not None:
        raise app.refusal
    return app.return_value if app.return_value is not None else app.return_code or 0


def run_picker(*, ascii: bool | None, mouse: bool, theme: str | None) -> tuple[Picked, int]:
    """Runs the picker in this terminal; see ``memtop.ui.pick``.

    Raises:
        Failed: there is no terminal.
    """
    from memtop.ui.picker import Picked, PickerApp  # psutil takes time to import

    stdin, stderr, plain = _terminal()
    settings = _settings()
    app = PickerApp(
        ascii=plain if ascii is None else ascii, palette=_palette(theme, settings), settings=settings
    )
    with Guard(app, lambda: None, stdin, stderr) as guard:
        app.run(mouse=mouse)
    code = app.return_code or 0 if guard.code is None else guard.code
    return app.return_value or Picked(), code


_worn: list[str] = []
"""The theme chosen in the screen before: the list of processes wears it, too, and what comes then."""


def _settings() -> Settings | None:
    """What the user has settled; None: nothing, as most have, and then nothing is imported for it."""
    if not os.path.lexists(settings_path()):
        return None
    from memtop.ui.settings import load

    return load()


def _palette(theme: str | None, settings: Settings | None) -> Palette | None:
    """What somebody chose, the latest and closest first; NO_COLOR counts for more than the settings."""
    settled = None if os.environ.get("NO_COLOR") or settings is None else settings.theme
    chosen = next(iter(_worn), theme or settled)
    return None if chosen is None else named(chosen)


def _terminal() -> tuple[int, int, bool]:
    """Descriptors of keys and picture, and whether only ASCII can be shown."""
    stdin, stderr = sys.__stdin__, sys.__stderr__
    if stdin is None or stderr is None or not (stdin.isatty() and stderr.isatty()):
        raise Failed("the live screen can't open", "this is no terminal", "memtop batch writes to anything")
    encoding = (stderr.encoding or "ascii").lower().replace("-", "")
    # Python takes the C locale for UTF-8 (PEP 538, 540). Unset, as in containers, that is a good guess;
    # who has asked for it has a reason.
    if sys.flags.utf8_mode and (os.environ.get("LC_ALL") or os.environ.get("LANG")) in ("C", "POSIX"):
        encoding = "ascii"
    return stdin.fileno(), stderr.fileno(), not encoding.startswith("utf")


class Ending(Protocol):
    """An application that can be told to end."""

    loop: asyncio.AbstractEventLoop | None

    def leave(self, code: int) -> None:
        """Ends it with this exit code."""
        ...


class Guard:
    """Ends the application on signals and on hang-up; a context manager around its run."""

    def __init__(self, app: Ending, stop: Callable[[], None], input_fd: int, output_fd: int) -> None:
        self.code: int | None = None
        self._app, self._stop = app, stop
        self._input, self._output = input_fd, output_fd
        self._attributes: list[Any] = termios.tcgetattr(input_fd)
        self._over = threading.Event()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Guard:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        threading.Thread(target=self._watch_hangup, name="memtop-hangup", daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.code is None and self._hung_up(0):
            self.code = 128 + signal.SIGHUP

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._end(128 + number)

    def _watch_hangup(self) -> None:
        if self._hung_up(None) and not self._over.is_set():
            self._end(128 + signal.SIGHUP)

    def _hung_up(self, timeout: float | None) -> bool:
        """Waits for the terminal to go away; no events asked for, so a key press wakes nobody."""
        poll = select.poll()
        poll.register(self._input, 0)
        return bool(poll.poll(timeout))

    def _end(self, code: int) -> None:
        if self.code is not None:
            return
        self.code = code
        # Not by threading, whose locks the main thread may hold where the signal found it.
        _thread.start_new_thread(self._lose_patience, ())
        loop = self._app.loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has just closed
                loop.call_soon_threadsafe(self._app.leave, code)

    def _lose_patience(self) -> None:
        if self._over.wait(PATIENCE):
            return
        # What was armed dies with our descriptors, so this may be cut short.
        stop = threading.Thread(target=self._stop, daemon=True)
        stop.start()
        stop.join(0.1)
        with contextlib.suppress(OSError, termios.error):
            os.set_blocking(self._output, False)
            os.write(self._output, _RESET.encode())
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self._input, termios.TCSANOW, self._attributes)
        os._exit(self.code or 1)
