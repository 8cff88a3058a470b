"""Which pages of a process are there: a look that changes nothing (PAGEMAP_SCAN, or pagemap)."""

from __future__ import annotations

import errno
import os

from memtop.linux.errors import Failed, ProcessGone
from memtop.linux.pagemap import Category
from memtop.linux.procfs import directory, explain_memory
from memtop.model.layout import REGION
from memtop.native import ffi, lib

_ROOM = 16384


class Looker:
    """Lists the pages of one address space.

    Args:
        pid: the process.
        use_ioctl: the kernel has PAGEMAP_SCAN; else only PRESENT, SWAPPED and FILE are told.
        guard_bit: the kernel knows ``Category.GUARD``.
        tid: a live thread, where the main thread has ended.

    Raises:
        ProcessGone: there is no such process.
        NotPermitted: another user's process, a non-dumpable one, or a sandbox.
    """

    def __init__(self, pid: int, *, use_ioctl: bool, guard_bit: bool, tid: int | None = None) -> None:
        self._pid, self._use_ioctl = pid, use_ioctl
        self._what = f"reading the page tables of process {pid}"
        self._returns = Category.PRESENT | Category.SWAPPED | Category.PFNZERO
        if guard_bit:
            self._returns |= Category.GUARD
        self._found = ffi.new("mt_region[]", _ROOM)
        try:
            self._fd = os.open(f"{directory(pid, tid)}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise explain_memory(error, pid, self._what) from error

    def look(self, start: int, end: int, *, file: bool = False) -> bytes:
        """Present and swapped pages of a range (bytes): sorted ``layout.REGION`` records with categories.

        Args:
            start, end: byte addresses.
            file: tell pages of the page cache from the process's own (FILE); costs a look at each page's
                descriptor, four times the rest.

        Raises:
            ProcessGone: the address space ended.
        """
        at, parts = ffi.new("uint64_t *", start), []
        returns = int(self._returns | (Category.FILE if file else 0))
        anyof = int(Category.PRESENT | Category.SWAPPED)
        while at[0] < end:
            count = lib.mt_list(self._fd, self._use_ioctl, at, end, anyof, returns, self._found, _ROOM)
            if count < 0:
                self._fail(-count)
            if count:
                parts.append(bytes(ffi.buffer(self._found, count * REGION.size)))
        return b"".join(parts)

    def close(self) -> None:
        """Lets go of the address space. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _fail(self, error: int) -> None:
        if error == errno.ESRCH:
            raise ProcessGone(f"the address space of process {self._pid} has ended")
        raise Failed(f"{self._what} failed", os.strerror(error))
