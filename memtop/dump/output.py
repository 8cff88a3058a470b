"""The file of a dump: complete under its final name, or not there at all.

It has no name until it is whole (O_TMPFILE, open(2)), so even a kill -9 leaves nothing behind; where the
file system has no such files, a hidden name beside the final one. Only its owner may read it: it holds what
a process held in memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import threading
from collections.abc import Iterator

from memtop.dump.nameless import Nameless
from memtop.linux.closing import Closing
from memtop.linux.directio import LEAST
from memtop.linux.errors import Failed, MemtopError, NotPermitted
from memtop.linux.fallocate import reserve, unreserve
from memtop.linux.vmread import OutFile, Pieces
from memtop.model.names import clean_text
from memtop.model.units import size

RESERVE = 64 << 20
"""Bytes that a dump leaves free on the disk: others want to write there, too."""

_CHUNK = 1 << 20


class Output(Closing):
    """A file that is being written.

    Args:
        path: the final name, or ``-`` for standard output: then the file is put together in the directory for
            temporary files first, and passed on when it is whole.

    Attributes:
        place: what is written before, for a sentence.

    Raises:
        Failed: there is something of that name, or no directory.
        NotPermitted: no right to write there.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._to_stdout = path == "-"
        self._file: Nameless | None = None
        self._directory = -1
        self._writing: threading.Thread | None = None
        self._lost: OSError | None = None
        self._through_cache = False
        where = _temporary() if self._to_stdout else os.path.dirname(path) or "."
        self.place = f"a temporary file in {where}" if self._to_stdout else path
        self._name = os.path.basename(path)
        try:
            self._directory = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._refuse_existing()
            self._file = Nameless(self._directory, self._name, cached=self._to_stdout)
        except OSError as error:
            there = self._directory >= 0
            if there and error.errno == errno.ENOENT:  # /proc
                error = OSError(errno.EOPNOTSUPP, "")
            self.close()
            raise explain_output(error, self.place if there else where) from error
        except BaseException:
            self.close()
            raise

    def _refuse_existing(self) -> None:
        if self._to_stdout:
            if sys.stdout.isatty():
                raise Failed("a dump on a terminal is of no use", "", "send it to a file or a program")
            return
        if self._name in ("", ".", ".."):
            raise Failed(f"{clean_text(self.path) or 'an empty name'} is no file name")
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False).st_mode
            what = "is a symbolic link" if stat.S_ISLNK(mode) else "exists already"
            raise Failed(
                f"{clean_text(self.path)} {what}", "memtop writes new files only", "choose another name"
            )

    @property
    def fd(self) -> int:
        """The file, written at any offset; -1 when it is closed."""
        return self._file.fd if self._file is not None else -1

    @property
    def out(self) -> OutFile:
        """The same for whoever writes pages."""
        return self._file.out if self._file is not None and not self._through_cache else OutFile(self.fd)

    @contextlib.contextmanager
    def cached(self, yes: bool) -> Iterator[None]:
        """Whether pages go through the page cache for now: so nobody waits for the disk."""
        before, self._through_cache = self._through_cache, yes or self._through_cache
        try:
            yield
        finally:
            self._through_cache = before

    def reserve(self, pieces: Pieces) -> None:
        """Makes room for these in few parts of the disk, where they are written past the page cache. To
        make it with each write takes a third of the speed.

        Raises:
            OSError: disk full.
        """
        if self.out.direct >= 0:
            reserve(self.fd, pieces, LEAST)

    def unreserve(self, pieces: Pieces) -> None:
        """Gives room back that turned out not to be needed. Single pages keep theirs, as zeros."""
        if self.out.direct >= 0:
            unreserve(self.fd, pieces, LEAST)

    @property
    def is_piped(self) -> bool:
        """It goes to standard output in the end, holes as zeros."""
        return self._to_stdout

    @property
    def free(self) -> int:
        """Bytes that may still be written here; below 0: others write, too, and use up ``RESERVE``."""
        disk = os.fstatvfs(self.fd)
        return disk.f_bavail * disk.f_frsize - RESERVE

    def require(self, wanted: int) -> None:
        """Checks that so many bytes more have room.

        Raises:
            Failed: they have not.
        """
        free = self.free
        if wanted > free:
            what = f"writing {clean_text(self.place)} is not possible"
            if wanted:
                why = f"it takes {size(wanted)} more, and the file system has {size(max(free, 0))} to spare"
            else:
                why = f"the file system has less than {size(RESERVE)} left, for others to write"
            raise Failed(what, why, "free some space, or choose another place")

    def write_back(self) -> None:
        """Sends what was written so far to the disk, while more is copied: so there is less to wait for in
        the end. Does not wait. Of what goes past the page cache nothing is left to do."""
        if (
            not self._to_stdout
            and self.out.direct < 0
            and (self._writing is None or not self._writing.is_alive())
        ):
            self._writing = threading.Thread(target=self._sync, args=(os.dup(self.fd),), daemon=True)
            self._writing.start()

    def _sync(self, fd: int) -> None:
        try:
            os.fdatasync(fd)
        except OSError as error:
            self._lost = error  # the kernel tells of it once
        finally:
            os.close(fd)

    def _written_back(self) -> None:
        """What came of it; to be asked before the last fsync is believed."""
        if self._writing is not None:
            self._writing.join()
        if self._lost is not None:
            raise self._lost

    def commit(self) -> int:
        """Gives the file its name, when all of it is on the disk. Returns its size in bytes.

        Raises:
            Failed: disk full, or something of that name came up meanwhile.
        """
        try:
            length = os.fstat(self.fd).st_size
            if self._to_stdout:
                self._pass_on(length)
                return length
            self._written_back()
            if self._file is not None:
                self._file.link(self._name)
            sync_directory(self._directory)
            return length
        except OSError as error:
            raise explain_output(error, "standard output" if self._to_stdout else self.path) from error

    def _pass_on(self, length: int) -> None:
        sys.stdout.flush()
        at = 0
        while at < length:
            sent = self._send(at, min(_CHUNK, length - at))
            if sent == 0:
                raise OSError(errno.EIO, "the temporary file came short")
            at += sent

    def _send(self, at: int, length: int) -> int:
        try:
            return os.sendfile(1, self.fd, at, length)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file that is appended to (>>), and some devices
                raise
            return os.write(1, os.pread(self.fd, length, at))

    def close(self) -> None:
        """Lets go; what was not committed is gone. Idempotent."""
        if self._file is not None:
            self._file.close()
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1


def sync_directory(fd: int) -> None:
    """So that the name of a file survives a loss of power; where directories can't be synced, the file system
    sees to that.

    Raises:
        OSError: the disk did not take it.
    """
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise


def explain_output(error: OSError, path: str) -> MemtopError:
    """The sentence for an output that could not be made or written."""
    name = clean_text(path)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        why = "it is mounted read-only" if error.errno == errno.EROFS else "you may not write there"
        return NotPermitted(f"writing {name} is not permitted", why)
    words = {
        errno.ENOSPC: ("the disk is full", "free some space, or choose another place"),
        errno.EDQUOT: ("your disk quota is used up", "free some space, or choose another place"),
        errno.EFBIG: ("a file of this size is not allowed here", "raise RLIMIT_FSIZE (ulimit -f)"),
        errno.EEXIST: ("something of that name came up meanwhile", "choose another name"),
        errno.ENOENT: ("there is no such directory", ""),
        errno.ENOTDIR: ("there is no such directory", ""),
        errno.EOPNOTSUPP: ("no files can be made there", "choose another place"),
    }
    why, remedy = words.get(error.errno or 0, (os.strerror(error.errno or 0), ""))
    return Failed(f"writing {name} failed", why, remedy)


def _temporary() -> str:
    from tempfile import gettempdir  # of use here alone, and slow to import

    return gettempdir()
