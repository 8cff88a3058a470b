"""``--log FILE``: what memtop did to processes and what it verified, line by line.

The modules that act say so to ``logging``; here it gets a file. Nothing is written without ``--log``.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from memtop import __version__
from memtop.cli.exits import Interrupted, complain
from memtop.linux.errors import Failed
from memtop.model.names import clean_text

_log = logging.getLogger("memtop")


@contextmanager
def logged(path: str | None, argv: Sequence[str] = ()) -> Iterator[None]:
    """Within the block, actions are appended to the file; None: nothing is.

    Args:
        argv: the verb's words, for the first line.

    Raises:
        Failed: it is no plain file of this user, or can't be opened.
    """
    if path is None:
        yield
        return
    handler = _File(path)
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    try:
        _log.info("memtop %s starts as user %d: %s", __version__, os.geteuid(), " ".join(argv))
        try:
            yield
        except BaseException as error:
            _log.info("memtop ends: %s", _reason(error))
            raise
        _log.info("memtop ends")
    finally:
        _log.setLevel(logging.NOTSET)
        _log.removeHandler(handler)
        handler.close()
        if handler.lost:
            complain(f"{handler.lost} lines are missing in {clean_text(path)}: {handler.why}")


class _File(logging.Handler):
    """Appends each record with one write(2), so that a kill -9 loses none and two memtops may share a file.

    Attributes:
        lost: how many lines could not be written, and ``why``: a full disk is no reason to leave a target.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.lost, self.why = 0, ""
        self._fd = _open(path)

    def emit(self, record: logging.LogRecord) -> None:
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="microseconds")
        line = f"{when} memtop[{os.getpid()}] {clean_text(record.getMessage())}\n".encode("utf-8", "replace")
        try:
            if os.write(self._fd, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.lost, self.why = self.lost + 1, error.strerror or str(error)

    def close(self) -> None:
        os.close(self._fd)
        super().close()


def _open(path: str) -> int:
    what = f"the log {clean_text(path)} can't be written"
    # Not blocking: a FIFO without a reader is refused below instead of waited for.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Failed(what, "it is a symbolic link", "name the file itself") from error
        if error.errno == errno.ENXIO:
            raise Failed(what, "it is no plain file") from error
        raise Failed(what, error.strerror or str(error)) from error
    is_now = os.fstat(fd)
    if not stat.S_ISREG(is_now.st_mode):
        why = "it is no plain file"
    elif is_now.st_uid != os.geteuid():
        why = "it belongs to another user, who could read and change it"
    else:
        return fd
    os.close(fd)
    raise Failed(what, why, "name another file")


def _reason(error: BaseException) -> str:
    if isinstance(error, Interrupted):
        return f"signal {error.number}"
    return str(error) or type(error).__name__
