"""The directory of a dump of several files: all of them under its final name, or none of it."""

from __future__ import annotations

import contextlib
import os

from memtop.dump.leftovers import create_directory
from memtop.dump.nameless import Nameless
from memtop.dump.output import Output, explain_output, sync_directory
from memtop.linux.errors import Failed
from memtop.linux.rename import rename_new


class OutputDirectory(Output):
    """Files that become a directory. None has a name before all are whole.

    Args:
        path: the final name of the directory.
        main: file name of what ``fd`` writes; the others come from ``add``.

    Raises:
        Failed: there is something of that name, or no directory to put it in.
        NotPermitted: no right to write there.
    """

    def __init__(self, path: str, main: str) -> None:
        if path == "-":
            what = "a dump of several files can't go to standard output"
            raise Failed(what, "", "name a directory that is to be made")
        self._main = main
        self._others: dict[str, Nameless] = {}
        super().__init__(path.rstrip("/") or path)

    def add(self, name: str) -> int:
        """One more file; written at any offset.

        Raises:
            OSError: it can't be made.
        """
        self._others[name] = Nameless(self._directory, self._name)
        return self._others[name].fd

    def replace_main(self) -> int:
        """A new, empty main file; the old one is gone, and its descriptor is the caller's to close.

        Raises:
            OSError: it can't be made.
        """
        assert self._file is not None
        old = os.dup(self._file.fd)
        try:
            new = Nameless(self._directory, self._name)
        except OSError:
            os.close(old)
            raise
        self._file.close()
        self._file = new
        return old

    def commit(self) -> int:
        """Gives the directory its name, when all files are on the disk. Returns their size in bytes.

        Raises:
            Failed: disk full, or something of that name came up meanwhile.
        """
        assert self._file is not None
        files = {self._main: self._file, **self._others}
        try:
            self._written_back()
            for file in files.values():  # first, so that the hidden directory is there for a moment only
                os.fsync(file.fd)
            inside, hidden = create_directory(self._directory, self._name)
            try:
                for name, file in files.items():
                    file.link(name, inside)
                sync_directory(inside)
                rename_new(self._directory, hidden, self._name)
            except BaseException:
                self._discard(hidden, files)
                raise
            finally:
                os.close(inside)
            sync_directory(self._directory)
            return sum(os.fstat(file.fd).st_size for file in files.values())
        except OSError as error:
            raise explain_output(error, self.path) from error

    def _discard(self, hidden: str, files: dict[str, Nameless]) -> None:
        with contextlib.suppress(OSError):
            for name in files:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{hidden}/{name}", dir_fd=self._directory)
            os.rmdir(hidden, dir_fd=self._directory)

    def close(self) -> None:
        """Lets go; what was not committed is gone. Idempotent."""
        for file in self._others.values():
            file.close()
        super().close()
