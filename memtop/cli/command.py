"""``memtop -- COMMAND``: starts it, and keeps what it prints away from the screen."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress

from memtop.cli.exits import complain
from memtop.linux.errors import Failed

PATIENCE_S = 5.0
"""Seconds that it may take to end after SIGTERM; what does not is left alone, and named."""


def divided(argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str] | None]:
    """memtop's own arguments, and what stands behind ``--``; None: there is no ``--``."""
    if "--" not in argv:
        return argv, None
    at = list(argv).index("--")
    return argv[:at], argv[at + 1 :]


class Command:
    """A running command; a context manager at whose end it is asked to end.

    Its standard input is empty. What it prints goes where memtop's output goes, unless that is the
    terminal that the screen needs: then into a new file.

    Args:
        argv: name and arguments.

    Raises:
        Failed: it can't be started.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        if not argv:
            raise Failed("there is nothing to start", "no command stands behind --")
        fd, self.file = tempfile.mkstemp(prefix="memtop-", suffix=".log")
        try:
            out = None if not os.isatty(1) else fd
            # Out of the terminal's process group: Ctrl-C is for the screen.
            self._child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=fd, start_new_session=True
            )
        except (OSError, ValueError) as error:
            os.unlink(self.file)
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise Failed(f"{argv[0]!a} can't be started", why) from None
        finally:
            os.close(fd)
        self.name = os.path.basename(argv[0])
        complain(f"what {self.name!a} prints goes to {self.file}")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def code_or(self, code: int) -> int:
        """Its exit code (128+n: a signal ended it) if it has ended and the screen did not fail."""
        ended = self._child.poll()
        if code or ended is None:
            return code
        return ended if ended >= 0 else 128 - ended

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            with suppress(ProcessLookupError):
                self._child.terminate()
            try:
                self._child.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                complain(f"{self.name!a} (process {self.pid}) did not end on SIGTERM; it is left running")
        with suppress(OSError):
            if os.path.getsize(self.file) == 0:
                os.unlink(self.file)
                return
        if not sys.stderr.closed:
            complain(f"what {self.name!a} printed is in {self.file}")
