"""/proc/PID/pagemap, open, and what its errors mean."""

from __future__ import annotations

import errno
import os

from memtop.linux.closing import Closing
from memtop.linux.errors import Failed, KernelCannot, ProcessGone
from memtop.linux.procfs import directory, explain_memory


class PagemapFile(Closing):
    """The page tables of one address space; the open file stays bound to that of its opening.

    Args:
        pid: the process.
        tid: a live thread, where the main thread has ended.

    Raises:
        ProcessGone: there is no such process.
        NotPermitted: another user's process, a non-dumpable one, or a sandbox.
        KernelCannot: there is no pagemap here.

    Attributes:
        pid: whose pages.
    """

    def __init__(self, pid: int, tid: int | None = None) -> None:
        self.pid = pid
        self._what = f"reading /proc/{pid}/pagemap"
        self._fd = -1
        try:
            self._fd = os.open(f"{directory(pid, tid)}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise explain_memory(error, pid, self._what) from error

    def close(self) -> None:
        """Lets go of the address space. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _check(self, result: int) -> int:
        """What a call of the C core has answered; below zero it is an errno, and raised as a sentence."""
        if result >= 0:
            return result
        if -result == errno.ESRCH:
            raise ProcessGone(f"the address space of process {self.pid} has ended")
        if -result in (errno.ENOTTY, errno.EOPNOTSUPP):
            raise KernelCannot(
                f"{self._what} in this way is not possible", "PAGEMAP_SCAN came with Linux 6.7"
            )
        raise Failed(f"{self._what} failed", os.strerror(-result))
