"""Hidden names that a dump has while it is made, where it can't do without, and what a kill -9 leaves.

Each is locked (flock(2)) for as long as memtop lives: one that nobody has locked is nobody's, and the next
dump into the directory that needs such a name removes it. Others may make dumps there at the same time: so
nothing is one's own before it is locked, nor left before it is locked and still has that name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable

_ENDING = "memtop-partial"
_NAME = re.compile(rf"\..*\.[0-9a-f]{{16}}\.{_ENDING}")
_LONGEST = 180
"""Bytes of the final name that a hidden one takes over; with the rest it stays below NAME_MAX."""

_ATTEMPTS = 10
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def hidden_name(name: str) -> str:
    """Beside the final one, and like no other."""
    short = os.fsencode(name)[:_LONGEST].decode("utf-8", "ignore")
    return f".{short}.{os.urandom(8).hex()}.{_ENDING}"


def claim(fd: int) -> bool:
    """Says that a file or directory is in use until memtop ends. Where there are no locks, nobody removes it
    either.

    Returns:
        False: another memtop was faster, took it for left, and removes it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def sweep(directory_fd: int) -> None:
    """Removes what dumps of this user have left in a directory when they were killed. What can't be removed
    stays."""
    with contextlib.suppress(OSError), os.scandir(directory_fd) as entries:
        for name in [entry.name for entry in entries if _NAME.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                _remove_if_left(directory_fd, name)


def _remove_if_left(directory_fd: int, name: str) -> None:
    fd = os.open(name, _READ, dir_fd=directory_fd)
    try:
        what = os.fstat(fd)
        if what.st_uid != os.geteuid() or stat.S_IMODE(what.st_mode) & 0o077:
            return
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        now = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        if not os.path.samestat(what, now):  # or there is none: it was made whole and got its final name
            return
        if stat.S_ISREG(what.st_mode):
            os.unlink(name, dir_fd=directory_fd)
        elif stat.S_ISDIR(what.st_mode):
            for inside in os.listdir(fd):
                os.unlink(inside, dir_fd=fd)
            os.rmdir(name, dir_fd=directory_fd)
    except BlockingIOError:
        pass  # somebody is writing it
    finally:
        os.close(fd)


def create(directory_fd: int, name: str) -> tuple[int, str]:
    """A new file of a hidden name, for its owner alone, claimed: descriptor and name.

    Raises:
        OSError: it can't be made.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    return _create(directory_fd, name, lambda hidden: os.open(hidden, flags, 0o600, dir_fd=directory_fd))


def create_directory(directory_fd: int, name: str) -> tuple[int, str]:
    """The same for a directory."""

    def make(hidden: str) -> int:
        os.mkdir(hidden, 0o700, dir_fd=directory_fd)
        return os.open(hidden, _READ | os.O_DIRECTORY, dir_fd=directory_fd)

    return _create(directory_fd, name, make)


def _create(directory_fd: int, name: str, make: Callable[[str], int]) -> tuple[int, str]:
    """Once more, if another memtop sweeps it away before it is claimed."""
    sweep(directory_fd)
    error = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    for _ in range(_ATTEMPTS):
        hidden = hidden_name(name)
        try:
            fd = make(hidden)
        except FileNotFoundError as gone:
            error = gone  # a directory between mkdir and open; or there is nothing to put it in
            continue
        with contextlib.suppress(FileNotFoundError):
            if claim(fd):
                os.stat(hidden, dir_fd=directory_fd, follow_symlinks=False)
                return fd, hidden
        os.close(fd)
    raise error
