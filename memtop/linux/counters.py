"""What the kernel counts for a whole process: /proc/PID/stat, status and ksm_stat, kept open.

Reading an open file again costs a third of opening it anew, and an open file can't come to mean another
process: once this one is gone it answers ESRCH, whoever has its number then. See proc_pid_stat(5),
proc_pid_status(5) and Documentation/admin-guide/mm/ksm.rst.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cache

from memtop.linux.closing import Closing
from memtop.linux.procfs import Memory, Stat, directory, explain, live_thread, parse_stat

_MOST = 1 << 14
_VM = re.compile(rb"^Vm(Size|RSS|Swap|Pin):\s*(\d+) kB", re.MULTILINE)
_KSM = re.compile(rb"^ksm_(?:zero|merging)_pages (\d+)", re.MULTILINE)


class Counters(Closing):
    """The counters of one process, read tick after tick.

    Args:
        pid: the process.

    Raises:
        ProcessGone: there is none.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._files: dict[str, int] = {}
        try:
            for name in ("stat", "status"):
                self._files[name] = _open(f"{directory(pid)}/{name}")
        except OSError as error:
            self.close()
            raise explain(error, pid, f"reading the counters of process {pid}") from error
        with suppress(OSError):  # no KSM in this kernel, or before Linux 6.1
            self._files["ksm_stat"] = _open(f"{directory(pid)}/ksm_stat")

    def stat(self) -> Stat:
        """Identity and counters.

        Raises:
            ProcessGone: it is gone, its exit status fetched.
        """
        return parse_stat(self._pid, self._read("stat"))

    def memory(self) -> Memory:
        """Size, residency and swap as the kernel sums them; all 0 where it has no memory.

        Raises:
            ProcessGone: it is gone, its exit status fetched.
        """
        sizes = _sizes(self._read("status"))
        merged = self._files.get("ksm_stat")
        if "Size" not in sizes and (tid := live_thread(self._pid)) is not None:  # its main thread has ended
            with suppress(OSError):  # and now that one too
                with open(f"{directory(self._pid, tid)}/status", "rb") as file:
                    sizes = _sizes(file.read())
                with open(f"{directory(self._pid, tid)}/ksm_stat", "rb") as file:
                    return _memory(sizes, file.fileno())
        return _memory(sizes, merged)

    def close(self) -> None:
        """Closes the files. Idempotent."""
        while self._files:
            os.close(self._files.popitem()[1])

    def _read(self, name: str) -> bytes:
        try:
            return os.pread(self._files[name], _MOST, 0)
        except OSError as error:
            raise explain(error, self._pid, f"reading {name} of process {self._pid}") from error


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _sizes(status: bytes) -> dict[str, int]:
    return {name.decode(): int(kilobytes) * 1024 for name, kilobytes in _VM.findall(status)}


def _memory(sizes: dict[str, int], ksm_stat: int | None) -> Memory:
    return Memory(
        size=sizes.get("Size", 0),
        resident=sizes.get("RSS", 0),
        swapped=sizes.get("Swap"),
        pinned=sizes.get("Pin", 0),
        merged=_merged(ksm_stat),
    )


@cache
def _ksm_of_the_host() -> tuple[int, ...]:
    """The host's own counts; zero pages are counted since Linux 6.6, for host and process alike."""
    found = []
    for name in ("pages_shared", "ksm_zero_pages"):
        with suppress(OSError):
            found.append(_open(f"/sys/kernel/mm/ksm/{name}"))
    return tuple(found)


def _merged(ksm_stat: int | None) -> int:
    """Pages of the process that are merged; before Linux 6.4, where it is not told, of the host.

    While no page of the whole host is merged, nothing else is asked for: to answer, the kernel may look at
    each mapping of the process.
    """
    files = _ksm_of_the_host()
    of_host = sum(int(os.pread(file, 32, 0)) for file in files)
    if files and not of_host:
        return 0
    if ksm_stat is not None:
        with suppress(OSError):  # it has just ended
            if own := _KSM.findall(os.pread(ksm_stat, _MOST, 0)):
                return sum(map(int, own))
    return of_host
