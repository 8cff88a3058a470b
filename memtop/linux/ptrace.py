"""Creating a userfaultfd inside another process, and saying why when it is refused; see ptrace(2).

The work is done in C by a helper process (``memtop/native/inject.c``). This module chooses the thread,
refuses beforehand what could harm or can't work, and turns every outcome into a sentence.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain, islice
from typing import Any, NoReturn

from memtop.linux.access import Capability, has_capability, is_filtered, require_action
from memtop.linux.errors import Failed, KernelCannot, MemtopError, NotPermitted, ProcessGone
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import directory, explain, read_stat, read_status
from memtop.linux.threads import (
    FUSE_WAIT,
    choose_thread,
    keeps_waiting_for_fuse,
    rank_threads,
    waits_for_fuse,
)
from memtop.model.sample import Life
from memtop.native import ffi, lib

_WHAT = "tracking writes of process {pid} ({comm}) is not possible"
NOT_PROVEN = "stopping a process is proven on x86-64 only, not on this processor ({})"
_YAMA = "/proc/sys/kernel/yama/ptrace_scope"
_log = logging.getLogger(__name__)
_TRIES = 8  # threads, to find one with a stack of its own
_ATTEMPTS = 3  # where the helper process was ended, or got no processor
# What it takes is in the C library, which a process that has only just begun has not mapped yet.
_WHILE_LOADING_S = (0.01, 0.02, 0.04, 0.08, 0.16)
_WAITS_FOR_CHILD = (56, 58, 435)  # clone, vfork, clone3 on x86-64: uninterruptible only with CLONE_VFORK


class Stage(IntEnum):
    """How far an injection came (``MT_INJECT_*``)."""

    OK = 0
    FORK = 1
    SEIZE = 2
    STOP = 3
    REGISTERS = 4
    COMPAT = 5
    GADGET = 6
    SECCOMP = 7
    CALL = 8
    FETCH = 9
    TIMEOUT = 10
    GONE = 11
    ARCH = 12
    STACK = 13
    SHADOW = 14
    VECTORS = 15
    KILLED = 16


@dataclass(frozen=True, slots=True)
class Injection:
    """A userfaultfd of the target.

    Attributes:
        fd: open, close-on-exec, not yet asked for its features; the caller's to close.
        stop_s: seconds that one thread of the target stood still.
        tid: which one.
        verified: its registers and signal mask were read back before it was let go, and were as before.
    """

    fd: int
    stop_s: float
    tid: int
    verified: bool = False


def create_userfaultfd(process: ProcessHandle, timeout_s: float = 0.2) -> Injection:
    """Makes one userfaultfd() call in a thread of the process; nothing is left in it.

    Args:
        process: whose address space the userfaultfd is to be of.
        timeout_s: seconds that its thread may take to stop from state D; one that is only short of a
            processor gets ten times that.

    Raises:
        NotPermitted: no right to trace it, a seccomp filter that can't be suspended, or ``--readonly``.
        KernelCannot: a 32-bit process, or a kernel or processor without what it takes.
        ProcessGone: it has ended, or ran exec meanwhile.
        Failed: it is traced already, does not stop, or is out of descriptors.
    """
    require_action(f"tracking writes of process {process.pid}")
    out = ffi.new("mt_injection *")
    with _watch_for_exec(process) as ran_exec:
        for wait_s in (*_WHILE_LOADING_S, 0.0):
            tid, stage, tries = _insist(process, timeout_s, out)
            if not wait_s or stage is not Stage.GADGET or out.error or ran_exec():
                break
            time.sleep(wait_s)
        if stage in (Stage.GADGET, Stage.STACK) and ran_exec():  # what was looked up is of the old memory
            stage = Stage.GONE
    if stage is not Stage.OK:
        _explain(process, tid, stage, out.error, timeout_s, tries)
    return Injection(out.uffd, out.stop_ns / 1e9, tid, bool(out.verified))


@contextlib.contextmanager
def _watch_for_exec(process: ProcessHandle) -> Iterator[Callable[[], bool]]:
    """Yields what answers whether the process has run exec since: its maps, once open, read empty then."""
    with contextlib.ExitStack() as files:
        maps = None
        with contextlib.suppress(OSError, MemtopError):
            path = f"{directory(process.pid, process.maps_tid())}/maps"
            maps = files.enter_context(open(path, "rb", buffering=0))
        yield lambda: maps is not None and not maps.read(1)


def _insist(process: ProcessHandle, timeout_s: float, out: Any) -> tuple[int, Stage, int]:
    """Some attempts, while only the helper process comes to grief: thread, how far it came, how many."""
    tries = 0
    while True:
        tries += 1
        tid, stage = _inject(process, timeout_s, out)
        lost = stage in (Stage.TIMEOUT, Stage.KILLED) and not out.touched
        if tries == _ATTEMPTS or not lost or not _is_let_go(tid):
            return tid, stage, tries
        why = _why_lost(stage, out.error)
        _log.info("%d: the helper process %s; nothing was changed", process.pid, why)


def _inject(process: ProcessHandle, timeout_s: float, out: Any) -> tuple[int, Stage]:
    """One attempt: the thread, and how far it came; the rest is in ``out``."""
    first, refusal = choose_thread(process.pid, lambda tid: find_refusal(process, tid))
    if refusal is not None:
        raise refusal
    pidfd = -1 if process.pidfd is None else process.pidfd
    others = (tid for tid in rank_threads(process.pid) if tid != first and not waits_for_fuse(tid))
    for tid in islice(chain([first], others), _TRIES):
        stage = Stage(lib.mt_inject_uffd(process.pid, tid, pidfd, int(timeout_s * 1000), out))
        if stage is not Stage.STACK and os.path.exists(f"/proc/{process.pid}/task/{tid}"):  # it may end
            break
    return tid, Stage.FETCH if stage is Stage.OK and out.uffd < 0 else stage


def _is_let_go(tid: int) -> bool:
    """It is as if nothing had been: nobody traces the thread, and it is in no trace stop."""
    try:
        return read_status(tid).get("TracerPid") == "0" and read_stat(tid).state not in "tZX"
    except MemtopError:
        return False


def find_refusal(process: ProcessHandle, tid: int) -> MemtopError | None:
    """Why nothing is to be injected into this thread, as far as that shows without touching it; or None."""
    refusal = find_trace_refusal(process, tid, _WHAT)
    if refusal is not None:
        return refusal
    pid, status = process.pid, read_status(tid)
    what = _WHAT.format(pid=pid, comm=read_stat(pid).comm)
    if process.pidfd is None:
        return KernelCannot(
            what, "it takes pidfd_open and pidfd_getfd", "Linux 5.6, and a sandbox that lets them through"
        )
    error = lib.mt_may_fetch(process.pidfd) if tid == pid else 0  # an ended main thread has none
    if error:
        return refused_attach(pid, what, -error, "pidfd_getfd")
    if status.get("Seccomp", "0") != "0" and not may_suspend_seccomp():
        return _filtered(what)
    if keeps_waiting_for_fuse(tid):
        return Failed(what, f"it {FUSE_WAIT}", "nothing was changed; try again later")
    return None


def find_trace_refusal(process: ProcessHandle, tid: int, doing: str) -> MemtopError | None:
    """Why this thread is not to be stopped at all, as far as that shows without touching it; or None.

    Args:
        doing: the beginning of the sentence, with places for pid and comm.
    """
    pid = process.pid
    what = doing.format(pid=pid, comm=read_stat(pid).comm)
    if pid == os.getpid():
        return Failed(what, "memtop can't stop itself")
    if pid in _ancestors():
        return Failed(what, "memtop runs under it, and would stop what it depends on")
    tracer = int(read_status(tid).get("TracerPid", "0"))
    if tracer:
        return Failed(
            what, f"it is traced by {_name(tracer)}, and only one may", "end or detach that one first"
        )
    error = lib.mt_may_trace(tid)
    if error:
        return refused_attach(pid, what, -error, "process_vm_readv")
    if _is_32_bit(pid):
        return KernelCannot(what, "it is a 32-bit process, and memtop stops 64-bit ones only")
    return None


def may_suspend_seccomp() -> bool:
    """Whether a target's seccomp filter can be put aside for the call (PTRACE_O_SUSPEND_SECCOMP)."""
    return has_capability(Capability.SYS_ADMIN) and not is_filtered()


def yama_scope() -> int | None:
    """kernel.yama.ptrace_scope (Documentation/admin-guide/LSM/Yama.rst), or None without Yama."""
    try:
        with open(_YAMA, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def refused_attach(pid: int, what: str, error: int, call: str = "ptrace") -> MemtopError:
    """Why the kernel does not let memtop trace a process; ptrace(2), "Ptrace access mode checking".

    Args:
        what: what memtop wanted, as a sentence's beginning.
        error: its errno.
        call: what was refused; ``process_vm_readv`` and ``pidfd_getfd`` make the same check as ``ptrace``.
    """
    if error == errno.ESRCH:
        return ProcessGone(what, "it has ended")
    sandboxed = NotPermitted(what, f"a sandbox keeps {call} from memtop", "run memtop outside of it")
    if error == errno.ENOSYS:
        return sandboxed
    yama = yama_scope()
    if yama == 3:
        return NotPermitted(
            what, "kernel.yama.ptrace_scope is 3: nobody may trace", "it stays so until a reboot"
        )
    if yama and not has_capability(Capability.SYS_PTRACE):
        remedy = "run memtop as root, or set kernel.yama.ptrace_scope=0"
        return NotPermitted(what, f"kernel.yama.ptrace_scope is {yama}", remedy)
    if is_filtered() and os.geteuid() in (0, _owner(pid)):
        return sandboxed
    if os.geteuid() == 0 and not has_capability(Capability.SYS_PTRACE):
        return NotPermitted(what, "memtop lacks CAP_SYS_PTRACE", "give it that capability")
    general = explain(PermissionError(errno.EPERM, ""), pid, what)
    return NotPermitted(what, general.why, general.remedy)


def _owner(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def _explain(
    process: ProcessHandle, tid: int, stage: Stage, error: int, timeout_s: float, tries: int
) -> NoReturn:
    """Raises the sentence for a stage that failed with this errno, the last of so many tries."""
    pid, why = process.pid, os.strerror(error) if error else ""
    try:
        what = _WHAT.format(pid=pid, comm=read_stat(pid).comm)
        ended = process.life() is Life.ENDED or read_stat(tid).state in "ZX"
    except MemtopError:
        raise ProcessGone(f"process {pid} ended while memtop attached to it") from None
    if stage is Stage.KILLED and not ended:
        raise _lost(what, stage, error, tries)
    if ended or stage is Stage.GONE or error == errno.ESRCH:  # to a dying thread, SEIZE says EPERM
        raise ProcessGone(what, "it ended, or ran exec, while memtop attached to it")
    if error in (errno.EPERM, errno.EACCES) and stage in (Stage.SEIZE, Stage.GADGET):
        raise refused_attach(pid, what, error)
    if stage is Stage.SEIZE and error == errno.ENOSYS:
        raise refused_attach(pid, what, error)
    if stage is Stage.STOP and error == errno.EAGAIN:
        raise Failed(
            what,
            "its code has no `leave; ret`, so that it can be borrowed only when it begins a system call, "
            "and it began none (it computes, or is stopped)",
            "nothing was changed; try again later",
        )
    if stage is Stage.STOP:
        raise Failed(what, _why_unstoppable(tid, timeout_s), "nothing was changed; try again later")
    if stage is Stage.COMPAT:
        raise KernelCannot(what, "it runs 32-bit code, and memtop injects into 64-bit code only")
    if stage is Stage.SECCOMP and error == errno.EBUSY:
        raise KernelCannot(what, "it handles its own system calls (syscall user dispatch, as Wine does)")
    if stage is Stage.SECCOMP and error == errno.EACCES:
        raise KernelCannot(
            what,
            "its seccomp filter forbids the call on pain of death, or may do so: "
            "if memtop were killed at the wrong moment, so would be the process",
        )
    if stage is Stage.SECCOMP:
        raise _filtered(what)
    if stage is Stage.CALL:
        raise _refused_call(what, error)
    if stage is Stage.FETCH and error == errno.EBADF and tid != pid:
        raise KernelCannot(what, "its main thread has ended; then it takes a pidfd of a thread", "Linux 6.9")
    if stage is Stage.FETCH and error in (errno.EPERM, errno.ENOSYS):
        raise NotPermitted(what, f"pidfd_getfd: {why}", "a sandbox refuses it; run memtop outside of it")
    if stage is Stage.ARCH:
        raise KernelCannot(what, NOT_PROVEN.format(os.uname().machine))
    if stage is Stage.GADGET and not error:
        raise KernelCannot(
            what,
            "its program text lacks what a thread takes to give itself back: "
            "a system call or a pop of rax, followed by a return",
            "if it has only just begun, its libraries may follow: try again",
        )
    if stage is Stage.STACK:
        raise KernelCannot(
            what,
            "no thread of it has an untouched page in a stack that the kernel or the C library made, "
            "and so no place for what the thread gives itself back with",
        )
    if stage is Stage.SHADOW:
        raise KernelCannot(what, "it has a shadow stack (CET), which allows no prepared return address")
    if stage is Stage.VECTORS:
        raise KernelCannot(what, "it uses matrix registers (AMX), which take more than a page to give back")
    if stage is Stage.TIMEOUT:
        raise _lost(what, stage, error, tries)
    raise Failed(what, f"{_DOING.get(stage, stage.name.lower())}{': ' + why if why else ''}")


_DOING = {
    Stage.FORK: "no helper process could be started",
    Stage.SEIZE: "attaching failed",
    Stage.REGISTERS: "its registers could not be read",
    Stage.GADGET: "the call could not be run in it",
    Stage.FETCH: "the descriptor could not be handed over",
}


def _why_lost(stage: Stage, error: int) -> str:
    """What became of a helper process that was killed or got no processor."""
    return f"was ended by a signal ({signal.strsignal(error)})" if stage is Stage.KILLED else "took too long"


def _lost(what: str, stage: Stage, error: int, tries: int) -> MemtopError:
    times = f", {tries} times" if tries > 1 else ""
    return Failed(what, f"the helper process {_why_lost(stage, error)}{times}", "nothing is lost; try again")


def _filtered(what: str) -> MemtopError:
    return NotPermitted(
        what,
        "it has a seccomp filter, which might kill it for the call, and may not be suspended",
        "run memtop as root and outside of any sandbox",
    )


def _refused_call(what: str, error: int) -> MemtopError:
    """userfaultfd() was run inside the target, and failed; userfaultfd(2)."""
    if error == errno.ENOSYS:
        return KernelCannot(
            what, "this kernel has no userfaultfd", "it takes CONFIG_USERFAULTFD and Linux 6.7"
        )
    if error == errno.EINVAL:
        return KernelCannot(what, "userfaultfd is too old here", "it takes Linux 6.7")
    if error == errno.EPERM:
        return NotPermitted(what, "a security module does not let the process have a userfaultfd")
    if error == errno.EMFILE:
        return Failed(what, "its descriptor table is full", "raise its RLIMIT_NOFILE (prlimit)")
    return Failed(what, f"userfaultfd in it: {os.strerror(error)}")


def _why_unstoppable(tid: int, timeout_s: float) -> str:
    with contextlib.suppress(MemtopError):
        if read_stat(tid).state != "D":
            return "its thread does not get to run: it is frozen (cgroup), or gets no processor"
    late = f"it did not stop within {timeout_s * 1000:.0f} ms"
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{tid}/syscall", encoding="ascii") as file:
        if int(file.read().split()[0]) in _WAITS_FOR_CHILD:
            return f"{late}: it waits for a child that it made with vfork"
    return f"{late}: it waits in the kernel, uninterruptibly (state D)"


def _is_32_bit(pid: int) -> bool:
    """By the ELF class of the program. Told before it is stopped, for its epoll_wait would say EINTR."""
    try:
        with open(f"/proc/{pid}/exe", "rb") as file:
            return file.read(5) == b"\x7fELF\x01"
    except OSError:
        return False


def _name(pid: int) -> str:
    try:
        return f"{read_stat(pid).comm} (pid {pid})"
    except MemtopError:
        return f"pid {pid}"


def _ancestors() -> set[int]:
    found: set[int] = set()
    pid = os.getppid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            pid = int(read_status(pid).get("PPid", "0"))
        except MemtopError:
            break
    return found
