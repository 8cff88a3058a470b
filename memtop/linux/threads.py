"""Which thread of a process is best stopped for a moment; see ptrace(2) and proc_pid_syscall(5)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from itertools import islice

from memtop.linux.errors import MemtopError, ProcessGone
from memtop.linux.procfs import live_thread, read_stat
from memtop.native import lib

PATIENCE_S = 0.2
"""Seconds for a thread to leave a wait that a stop would end."""

FUSE_WAIT = "waits for a file system in user space (FUSE), which a stop would tell to give up"

_ENOUGH = 32  # threads to look at: a process may have thousands
_LOOK_S = 0.0005
_LAST = 1 << 30  # the rank of a thread that is not to be stopped
_TRIES = 8  # threads that end while they are looked at, before that is taken for the process's end


def rank_threads(pid: int) -> list[int]:
    """Threads that can be stopped, best first.

    Best is one that waits in a system call which goes on after a stop as if nothing had been: nobody notices,
    nobody waits for it. Then come those that run, then those whose system call would be interrupted, and last
    those whose file system would be told to give up.

    Raises:
        ProcessGone: all have ended.
    """
    found: list[tuple[int, int]] = []
    names = [str(pid)]
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/task") as entries:
        names += islice((entry.name for entry in entries if entry.name != names[0]), _ENOUGH)
    for name in names:
        with contextlib.suppress(MemtopError):
            if read_stat(int(name)).state not in "ZXD":
                rank = _LAST if waits_for_fuse(int(name)) else lib.mt_thread_rank(pid, int(name))
                found.append((rank, int(name)))
    found.sort(key=lambda item: item[0])  # stable: the main thread before others of its rank
    if found:
        return [tid for _, tid in found]
    tid = live_thread(pid)
    if tid is None:
        raise ProcessGone(f"process {pid} has ended")
    return [tid]


def waits_for_fuse(tid: int) -> bool:
    """Whether it waits for a file system in user space.

    A stop ends that wait as a signal does: the file system is told (FUSE_INTERRUPT, the kernel's fuse.rst),
    and may answer EINTR when nobody can undo it any more. Known by the name of the kernel function that it
    waits in (proc_pid_wchan(5)); False where the kernel does not tell it.
    """
    with contextlib.suppress(OSError), open(f"/proc/{tid}/wchan", encoding="ascii") as file:
        return file.read() in ("request_wait_answer", "__fuse_request_send", "__fuse_simple_request")
    return False


def keeps_waiting_for_fuse(tid: int) -> bool:
    """The same, for as long as memtop has patience: most such waits end within a millisecond."""
    return _after_patience(lambda: tid if waits_for_fuse(tid) else None) is not None


def fuse_waiter(pid: int) -> int | None:
    """A thread that waits for a file system in user space, or None: as soon as, within memtop's patience, no
    thread does. Takes about 10 µs a thread."""

    def first() -> int | None:
        tids: list[str] = []
        with contextlib.suppress(OSError):
            tids = os.listdir(f"/proc/{pid}/task")
        return next((int(tid) for tid in tids if waits_for_fuse(int(tid))), None)

    return _after_patience(first)


def _after_patience(waiter: Callable[[], int | None]) -> int | None:
    """None as soon as nobody waits; else who still does when memtop's patience ends."""
    end = time.monotonic() + PATIENCE_S
    while (tid := waiter()) is not None and time.monotonic() <= end:
        time.sleep(_LOOK_S)
    return tid


def choose_thread(pid: int, refuses: Callable[[int], MemtopError | None]) -> tuple[int, MemtopError | None]:
    """The best thread to stop, and what speaks against it; the next best if that one ends meanwhile.

    Args:
        refuses: why a thread is not to be stopped; may raise ProcessGone, too.

    Raises:
        ProcessGone: all have ended.
    """
    for _ in range(_TRIES):
        tid = rank_threads(pid)[0]
        with contextlib.suppress(ProcessGone):
            refusal = refuses(tid)
            if not isinstance(refusal, ProcessGone):
                return tid, refusal
    return tid, refuses(tid)
