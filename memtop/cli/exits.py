"""Exit codes, and the one place where an error becomes a sentence on stderr."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import TextIO

from memtop.linux.errors import Failed, KernelCannot, MemtopError, Misused, NotPermitted, ProcessGone
from memtop.model.names import clean_text


class ExitCode(IntEnum):
    """What memtop's exit status means; 128 + n: ended by signal n."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_PROCESS = 3
    NOT_PERMITTED = 4
    KERNEL_CANNOT = 5
    DIFFERENT = 6


class Interrupted(BaseException):
    """A signal asked memtop to end. A BaseException, so that no handler of errors swallows it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


_CODES: tuple[tuple[type[MemtopError], ExitCode], ...] = (
    (ProcessGone, ExitCode.NO_PROCESS),
    (NotPermitted, ExitCode.NOT_PERMITTED),
    (KernelCannot, ExitCode.KERNEL_CANNOT),
    (Misused, ExitCode.USAGE),
)


def code_of(error: MemtopError) -> ExitCode:
    """The exit code of an error's class."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)


def complain(sentence: str) -> None:
    """One line on stderr, whatever names are in it; a closed stderr is not worth failing for."""
    with suppress(OSError, ValueError):
        print(f"memtop: {clean_text(sentence)}", file=sys.stderr, flush=True)


def _interrupt(number: int, _frame: object) -> None:
    raise Interrupted(number)


def guarded(verb: Callable[[], int]) -> int:
    """Runs a verb; every end has its exit code, none a traceback.

    A reader that closed the pipe is a clean end. SIGINT, SIGTERM and SIGHUP unwind the verb, so that
    what was armed is given back, and end as 128 + n.
    """
    _open_what_is_closed()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        code = verb()
        sys.stdout.flush()
        return code
    except MemtopError as error:
        complain(error.sentence)
        return code_of(error)
    except Interrupted as interrupted:
        return 128 + interrupted.number
    except BrokenPipeError:
        return ExitCode.DONE
    except OSError as error:
        complain(f"{error.filename or 'output'}: {error.strerror or error}")
        return ExitCode.FAILED
    finally:
        _let_go(sys.stdout)
        _let_go(sys.stderr)


def require_stdout() -> None:
    """For what was asked to go there by name (``-``): without one, it would be lost.

    Raises:
        Failed: memtop was started with ``>&-``.
    """
    if "stdout" in _closed:
        raise Failed("writing standard output failed", "it is closed")


_closed: set[str] = set()


def _open_what_is_closed() -> None:
    """Started with ``>&-``, the next file that memtop opens would be its stdout."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            _closed.add(name)
            setattr(sys, name, os.fdopen(fd, "r" if fd == 0 else "w", closefd=False))


def _let_go(stream: TextIO) -> None:
    """The interpreter flushes it once more at exit; what it can't take then would end memtop with 120."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
