"""ptrace(2) for tracing the injector itself: stop it at every system call it makes, and name them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections import Counter
from struct import Struct

ALL_CHILDREN = 0x40000000  # __WALL, wait(2)

_SEIZE, _CONT, _SYSCALL, _DETACH = 0x4206, 7, 24, 17
_SETOPTIONS, _GETEVENTMSG, _GET_SYSCALL_INFO = 0x4200, 0x4201, 0x420E
_SYSGOOD, _FORKS = 1, 1 << 1 | 1 << 2 | 1 << 3  # PTRACE_O_TRACEFORK, VFORK, CLONE
_INFO = Struct("<B3xIQQ QQQQQQQ")  # op, arch, ip, sp; at an entry: number and arguments
_ENTRY, _EXIT = 1, 2

# x86-64, as the injector's are all the calls of one processor.
_CALLS = {
    0: "read", 1: "write", 3: "close", 9: "mmap", 10: "mprotect", 11: "munmap", 13: "rt_sigaction",
    14: "rt_sigprocmask", 15: "rt_sigreturn", 17: "pread64", 35: "nanosleep", 39: "getpid", 46: "sendmsg",
    60: "exit", 61: "wait4", 62: "kill", 101: "ptrace", 112: "setsid", 128: "rt_sigtimedwait",
    131: "sigaltstack", 141: "setpriority", 144: "sched_setscheduler", 157: "prctl", 200: "tkill",
    203: "sched_setaffinity", 204: "sched_getaffinity", 230: "clock_nanosleep", 231: "exit_group",
    234: "tgkill", 247: "waitid", 257: "openat",
    258: "mkdirat", 267: "readlinkat", 302: "prlimit64", 310: "process_vm_readv", 311: "process_vm_writev",
    312: "kcmp", 424: "pidfd_send_signal", 434: "pidfd_open", 436: "close_range", 438: "pidfd_getfd",
}  # fmt: skip
_REQUESTS = {
    1: "PEEKTEXT", 2: "PEEKDATA", 3: "PEEKUSER", 4: "POKETEXT", 5: "POKEDATA", 6: "POKEUSER", 7: "CONT",
    9: "SINGLESTEP", 12: "GETREGS", 13: "SETREGS", 14: "GETFPREGS", 15: "SETFPREGS", 17: "DETACH",
    24: "SYSCALL", 0x4200: "SETOPTIONS", 0x4201: "GETEVENTMSG", 0x4202: "GETSIGINFO", 0x4203: "SETSIGINFO",
    0x4204: "GETREGSET", 0x4205: "SETREGSET", 0x4206: "SEIZE", 0x4207: "INTERRUPT", 0x4208: "LISTEN",
    0x4209: "PEEKSIGINFO", 0x420A: "GETSIGMASK", 0x420B: "SETSIGMASK", 0x420E: "GET_SYSCALL_INFO",
    0x420F: "GET_RSEQ_CONFIGURATION", 0x4210: "SET_SYSCALL_USER_DISPATCH_CONFIG",
    0x4211: "GET_SYSCALL_USER_DISPATCH_CONFIG",
    0x420C: "SECCOMP_GET_FILTER",
}  # fmt: skip
_REGSETS = {1: "", 2: " fp", 0x202: " xstate", 0x204: " shadow stack"}
SEIZES = "SEIZE"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, address: int, data: int) -> int:
    result = int(_libc.ptrace(request, pid, address, data))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")
    return result


def seize(pid: int) -> None:
    """Traces a process without stopping it, and all that it forks."""
    _ptrace(_SEIZE, pid, 0, _SYSGOOD | _FORKS)


def resume(pid: int, to_syscall: bool = False, signal_number: int = 0) -> None:
    """Lets a stopped one go on."""
    _ptrace(_SYSCALL if to_syscall else _CONT, pid, 0, signal_number)


def detach(pid: int) -> None:
    """Lets a stopped one go for good."""
    _ptrace(_DETACH, pid, 0, 0)


def forget_forks(pid: int) -> None:
    """A stopped one may fork from now on without a stop."""
    _ptrace(_SETOPTIONS, pid, 0, _SYSGOOD)


def wait(pid: int) -> int:
    """The next status of a traced process, waited for as long as it takes."""
    return os.waitpid(pid, ALL_CHILDREN)[1]


def become_subreaper() -> None:
    """Orphans below this process become its children: none is left to others to reap; prctl(2)."""
    if _libc.prctl(36, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def reap_orphans() -> None:
    """Waits for all children that there are: what the targets started ends with them."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, ALL_CHILDREN)


def die_with_parent() -> None:
    """Run in a new child: it is killed when this process ends, however that does; prctl(2)."""
    _libc.prctl(1, signal.SIGKILL, 0, 0, 0)


def next_fork(pid: int) -> int | None:
    """Waits until a traced process forks: its child's pid, both of them stopped; None if it ended instead."""
    while os.WIFSTOPPED(status := wait(pid)):
        if status >> 16 in (1, 2, 3):  # PTRACE_EVENT_FORK, VFORK, CLONE
            message = ctypes.c_ulong()
            _ptrace(_GETEVENTMSG, pid, 0, ctypes.addressof(message))
            child = int(message.value)
            wait(child)
            return child
        resume(pid, signal_number=signal_at(status))
    return None


def at_syscall(status: int) -> bool:
    """Whether this is a stop at the beginning or the end of a system call."""
    return os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGTRAP | 0x80


def signal_at(status: int) -> int:
    """The signal that a process is stopped to receive, else 0."""
    return 0 if status >> 16 or at_syscall(status) else os.WSTOPSIG(status)


class Namer:
    """Names the stops of one process: ``before ptrace SETREGSET 2`` is its second such call, not yet made."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._current = ""

    def name(self, pid: int) -> str:
        """Of the stop that this process is in."""
        room = ctypes.create_string_buffer(_INFO.size)
        _ptrace(_GET_SYSCALL_INFO, pid, _INFO.size, ctypes.addressof(room))
        op, _, _, _, number, *arguments = _INFO.unpack(room.raw)
        if op == _ENTRY:
            name = _call(number, arguments)
            self._seen[name] += 1
            self._current = f"{name} {self._seen[name]}"
            return f"before {self._current}"
        return f"after {self._current}"


def _call(number: int, arguments: list[int]) -> str:
    name = _CALLS.get(number, f"call {number}")
    if name != "ptrace":
        return name
    request = _REQUESTS.get(arguments[0], hex(arguments[0]))
    if request.endswith("REGSET"):
        request += _REGSETS.get(arguments[2], f" {arguments[2]:#x}")
    return request if arguments[1] else f"{request} (nobody)"
