"""Stopped by Ctrl-Z or SIGTSTP, continued by ``fg``: signal(7), "Job control" in the glibc manual.

Textual gives the terminal back, and takes it again, wherever its main thread is when the signal comes: in
the middle of a write it waits, for ever, for a lock that it holds itself. And what is continued without
having been stopped so (SIGCONT alone, or behind SIGSTOP) gets a second thread that reads keys. Here both
happen between two turns of the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import termios
import threading
from collections.abc import Callable

from textual.drivers.linux_driver import LinuxDriver

AGAIN_S = 0.1
"""Seconds between two looks whether the terminal is there to be taken."""

_LOCAL_MODES = 3


class JobControl:
    """In place of the driver's own handlers, as soon as it is made; needs a running event loop.

    Args:
        driver: what has the terminal.
        redraw: draws all of the picture again.
        ends: whether the application is about to end.

    Attributes:
        away: the terminal is given back: nothing can be drawn.
    """

    def __init__(self, driver: LinuxDriver, redraw: Callable[[], None], ends: Callable[[], bool]) -> None:
        self.away = False
        self._driver, self._redraw, self._ends = driver, redraw, ends
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGTSTP, self._stop)
        self._loop.add_signal_handler(signal.SIGCONT, self._on_continue)

    def _stop(self) -> None:
        first, self.away = not self.away, True
        if first:
            self._driver.suspend_application_mode()
            # Who ends while it is away has nothing to restore, and is not to be stopped by trying.
            self._driver.attrs_before = None
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # until it is continued
        if first:
            self._take()

    def _take(self) -> None:
        """Once it is in the foreground. In the background it runs on: a stop could come behind the shell's
        ``fg``, and ``kill`` could not end it."""
        if self._ends():
            return
        if not self._is_in_foreground():
            self._loop.call_later(AGAIN_S, self._take)
            return
        self._driver.resume_application_mode()
        self.away = False

    def _is_in_foreground(self) -> bool:
        with contextlib.suppress(OSError):  # the terminal is gone: ``terminal.Guard`` sees that, too
            return os.tcgetpgrp(self._driver.fileno) == os.getpgrp()
        return False

    def _on_continue(self) -> None:
        """After SIGSTOP, which nobody hears of, others may have used the terminal."""
        if self.away or self._ends() or not self._is_in_foreground():
            return
        if termios.tcgetattr(self._driver.fileno)[_LOCAL_MODES] & termios.ICANON:
            self._driver.suspend_application_mode()
            self._driver.resume_application_mode()
        self._redraw()
