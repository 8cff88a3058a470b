"""Stopped by Ctrl-Z or SIGTSTP, continued by ``fg``: signal(7), "Job control".

Textual gives the terminal back, and takes it again, wherever its main thread is when the signal comes: in
the middle of a write it waits, for ever, for a lock that it holds itself. And what is continued without
having been stopped so (SIGCONT alone, or behind SIGSTOP) gets a second thread that reads keys. Here both
happen between two turns of the event loop.
"""

from __future__ import annotations

import asyncio
import signal

from textual.drivers.linux_driver import LinuxDriver


class JobControl:
    """In place of the driver's own handlers, as soon as it is made; needs a running event loop.

    Args:
        driver: what has the terminal.
    """

    def __init__(self, driver: LinuxDriver) -> None:
        self._driver, self._away = driver, False
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGTSTP, self._stop)
        signal.signal(signal.SIGCONT, self._on_continue)

    def _stop(self) -> None:
        """Comes back when the process goes on, and has its terminal again."""
        self._away = True
        self._driver._sigtstp_application()
        self._away = False

    def _on_continue(self, *_: object) -> None:
        if self._away:  # right behind the stop, and again if that was in the background
            self._driver._sigcont_application()
        else:
            self._loop.call_soon_threadsafe(self._take_again)

    def _take_again(self) -> None:
        """While it stood (SIGSTOP), somebody else may have set up the terminal in another way."""
        self._driver.suspend_application_mode()
        self._driver.resume_application_mode()
