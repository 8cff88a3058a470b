"""Which process: identity that outlives a reused pid, held by a pidfd (pidfd_open(2))."""

from __future__ import annotations

import os
import pwd
import re
import select
import time
from functools import lru_cache

from memtop.linux.closing import Closing
from memtop.linux.errors import Failed, KernelCannot, MemtopError, ProcessGone
from memtop.linux.procfs import TICKS, Stat, boot_id, live_thread, read_cmdline, read_stat, read_status
from memtop.model.names import clean_text
from memtop.model.sample import Life, Process


class ProcessHandle(Closing):
    """One process, held: as long as the handle is open, its pid can't come to mean another one unnoticed.

    Attributes:
        pid: in the pid namespace of memtop.
        start_time: clock ticks since boot.
        pidfd: a descriptor of the process, or None where the kernel or a sandbox gives none; then only
            the start time tells a reused pid, and nothing can be injected.
    """

    def __init__(self, pid: int, start_time: int, pidfd: int | None) -> None:
        self.pid, self.start_time, self.pidfd = pid, start_time, pidfd

    @classmethod
    def open(cls, pid: int) -> ProcessHandle:
        """Takes hold of a process.

        Raises:
            ProcessGone: there is none, or only its exit status is left.
            KernelCannot: a kernel thread.
            Failed: no process id, or that of a thread, or /proc is that of another pid namespace.
        """
        if pid <= 0:
            raise Failed(f"{pid} is no process id")
        _check_numbers()
        stat = read_stat(pid)
        leader = read_status(pid).get("Tgid", str(pid))
        if leader != str(pid):
            raise Failed(f"{pid} is a thread of process {leader}", remedy=f"use -p {leader}")
        if stat.kernel_thread:
            raise KernelCannot(
                f"process {pid} ({stat.comm}) is a kernel thread", "it has no memory of its own"
            )
        if _ended(pid, stat):
            raise ProcessGone(f"process {pid} ({stat.comm}) has ended", "only its exit status is left")
        handle = cls(pid, stat.start_time, _pidfd(pid))
        if handle.life() is Life.ENDED:  # between the two look-ups
            handle.close()
            raise ProcessGone(f"there is no process {pid}")
        return handle

    def describe(self) -> Process:
        """Identity and names, read anew: an exec changes the names.

        Raises:
            ProcessGone: it has ended.
        """
        stat = read_stat(self.pid)
        if stat.start_time != self.start_time:
            raise ProcessGone(f"process {self.pid} has ended", "its number belongs to another one now")
        return Process(
            pid=self.pid,
            start_time=self.start_time,
            boot_id=boot_id(),
            comm=stat.comm,
            cmdline=read_cmdline(self.pid),
            user=_user(self.pid),
            host=clean_text(os.uname().nodename),
            started=time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + self.start_time / TICKS,
        )

    def life(self) -> Life:
        """RUNNING or ENDED; a zombie has ended, unless threads of it live on.

        An exec does not show here: pid and start time stay. It shows in the open files of the old address
        space, which read empty or answer ESRCH while this still says RUNNING.
        """
        if self.pidfd is not None:
            # Readable once all threads are gone, whether or not it has been waited for.
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            return Life.ENDED if poll.poll(0) else Life.RUNNING
        try:
            stat = read_stat(self.pid)
        except MemtopError:
            return Life.ENDED
        gone = stat.start_time != self.start_time or _ended(self.pid, stat)
        return Life.ENDED if gone else Life.RUNNING

    def maps_tid(self) -> int | None:
        """The thread whose /proc files show the address space, or None for the process's own.

        Once the main thread has ended, /proc/PID/maps is empty although other threads run on.

        Raises:
            ProcessGone: no thread is left.
        """
        stat = read_stat(self.pid)
        if stat.state not in "ZX":
            return None
        tid = live_thread(self.pid)
        if tid is None:
            raise ProcessGone(f"process {self.pid} ({stat.comm}) has ended")
        return tid

    def close(self) -> None:
        """Lets go. Idempotent."""
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None


def _check_numbers() -> None:
    """In a /proc of another pid namespace a number means another process than it does to pidfd and ptrace."""
    try:
        same = os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        same = False
    if not same:
        raise Failed(
            "processes can't be told apart",
            "/proc is missing, or is that of another pid namespace, where they have other numbers",
            "run memtop outside, or mount a proc of its own there (unshare --mount-proc)",
        )


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):  # refused by a sandbox, before Linux 5.3, or a C library without it
        return None


def _ended(pid: int, stat: Stat) -> bool:
    return stat.state in "ZX" and live_thread(pid) is None


def _user(pid: int) -> str:
    real = re.match(r"\d+", read_status(pid).get("Uid", ""))
    return "?" if real is None else user_name(int(real[0]))


@lru_cache(maxsize=1024)
def user_name(uid: int) -> str:
    """A user's name, cleaned; the number where it has none: of another user namespace, or none any more."""
    try:
        return clean_text(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return str(uid)
