"""All threads of a process stand still, for milliseconds; see ptrace(2), PTRACE_SEIZE and PTRACE_INTERRUPT.

A helper process does it in C (``memtop/native/standstill.c``): whatever happens to memtop, they run on.
System calls that were interrupted go on as if nothing had been.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from memtop.linux import ptrace
from memtop.linux.access import require_action
from memtop.linux.errors import Failed, KernelCannot, MemtopError, ProcessGone
from memtop.linux.process import ProcessHandle
from memtop.linux.threads import FUSE_WAIT, fuse_waiter
from memtop.native import ffi, lib

LATE_MS = 200
"""What a thread in state D gets to stop; one that only lacks a processor gets ten times that."""

PATIENCE_MS = 2000
"""The helper lets all go when memtop shows no sign of life for so long (it was stopped by Ctrl-Z)."""

_WHAT = "stopping process {pid} ({comm}) is not possible"
_ATTEMPTS = 3  # where the helper process was ended: then all run on as before


class _Stage(IntEnum):
    OK = 0
    FORK = 1
    SEIZE = 2
    LOST = 3
    GONE = 4
    ARCH = 5
    COMPAT = 6


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread as it stood still; register sets as ptrace gives them, empty where there were none.

    Attributes:
        stop_s: seconds it stood still.
        blocked: its signal mask.
        general, floating, extended: NT_PRSTATUS, NT_PRFPREG, NT_X86_XSTATE.
        siginfo: of the signal it was stopped by, if any.
    """

    tid: int
    stop_s: float
    blocked: int
    general: bytes
    floating: bytes
    extended: bytes
    siginfo: bytes


@dataclass(frozen=True, slots=True)
class Stop:
    """How long it took, and who did not take part.

    Attributes:
        whole_s: seconds from the first thread being told to stop until the last one ran again.
        longest_s: seconds that the thread stood still that did so for longest.
        threads: all that stood still.
        late: thread ids that did not stop in time (state D): they stop before they return to their program.
        complete: they stood still until memtop let them go; else the helper was ended, or had waited too
            long.
    """

    whole_s: float
    longest_s: float
    threads: tuple[Thread, ...]
    late: tuple[int, ...] = ()
    complete: bool = True


class Frozen:
    """A process that stands still.

    Attributes:
        beat: for ``vmread``: says that the stop is still needed.
        late: see ``Stop``.
        stop: what came of it; None: it still stands.
    """

    def __init__(self, process: ProcessHandle, *, registers: bool = True) -> None:
        self._freeze = _start(process, registers)
        self.beat: Any = lib.mt_standstill_beat(self._freeze)
        self.stop: Stop | None = None
        stop = lib.mt_standstill_stop(self._freeze)
        if stop.stage != _Stage.OK:
            stage, error, tid = _Stage(stop.stage), stop.error, stop.tid
            self.close()
            raise _explain(process, stage, error, tid)
        self.late = _late(self._freeze) if stop.late else ()

    def release(self) -> Stop:
        """Lets all threads go. Idempotent."""
        if self.stop is None:
            complete = lib.mt_standstill_release(self._freeze) == 0
            self.stop = _read_stop(self._freeze, complete)
        return self.stop

    def close(self) -> None:
        """Lets go and frees. Idempotent."""
        if self._freeze != ffi.NULL:
            lib.mt_standstill_free(self._freeze)
            self._freeze = ffi.NULL


def _start(process: ProcessHandle, registers: bool) -> Any:
    pidfd = -1 if process.pidfd is None else process.pidfd
    for left in reversed(range(_ATTEMPTS)):
        freeze = lib.mt_standstill_start(process.pid, pidfd, LATE_MS, PATIENCE_MS, registers)
        if freeze == ffi.NULL:
            raise Failed(f"stopping process {process.pid} failed", "out of memory")
        if lib.mt_standstill_stop(freeze).stage != _Stage.LOST or not left:
            break
        lib.mt_standstill_free(freeze)
    return freeze


@contextmanager
def urgent() -> Iterator[None]:
    """This thread runs before others, as far as it may (sched(7)): a process stands still for it."""
    before = None
    with contextlib.suppress(OSError):
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        if before is not None:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, *before)


def check_stop(process: ProcessHandle) -> None:
    """Raises what ``frozen`` would, as far as that shows without touching the process."""
    require_action(f"stopping process {process.pid}")
    refusal = ptrace.find_trace_refusal(process, process.maps_tid() or process.pid, _WHAT)
    if refusal is not None:
        raise refusal


@contextmanager
def frozen(process: ProcessHandle, *, registers: bool = True) -> Iterator[Frozen]:
    """Stops all threads; whatever happens inside, they run again at its end.

    Args:
        process: stays the caller's.
        registers: take those, too.

    Raises:
        NotPermitted: no right to trace it, or ``--readonly``.
        KernelCannot: a 32-bit process, or a processor for which this is not proven.
        ProcessGone: it has ended.
        Failed: it is traced already, or a thread waits for a file system in user space.
    """
    check_stop(process)
    waiter = fuse_waiter(process.pid)
    if waiter is not None:
        raise Failed(
            _WHAT.format(pid=process.pid, comm=process.describe().comm),
            f"its thread {waiter} {FUSE_WAIT}",
            "nothing was changed; try again later",
        )
    stopped = Frozen(process, registers=registers)
    try:
        yield stopped
    finally:
        try:
            stopped.release()
        finally:
            stopped.close()


def _late(freeze: Any) -> tuple[int, ...]:
    records = lib.mt_standstill_threads(freeze)
    count = lib.mt_standstill_stop(freeze).threads
    return tuple(records[i].tid for i in range(count) if records[i].error == errno.ETIMEDOUT)


def _read_stop(freeze: Any, complete: bool) -> Stop:
    stop, records = lib.mt_standstill_stop(freeze), lib.mt_standstill_threads(freeze)
    threads = []
    for i in range(stop.threads):
        record = records[i]
        if not record.stopped_ns or record.error:
            continue
        end = record.released_ns or stop.released_ns
        threads.append(
            Thread(
                tid=record.tid,
                stop_s=(end - record.stopped_ns) / 1e9,
                blocked=record.blocked,
                general=bytes(ffi.buffer(record.general_set, record.general)),
                floating=bytes(ffi.buffer(record.floating_set, record.floating)),
                extended=bytes(ffi.buffer(record.extended_set, record.extended)),
                siginfo=bytes(ffi.buffer(record.signal_set, record.signal)),
            )
        )
    return Stop(
        whole_s=(stop.released_ns - stop.begin_ns) / 1e9,
        longest_s=max((t.stop_s for t in threads), default=0.0),
        threads=tuple(threads),
        late=_late(freeze) if stop.late else (),
        complete=complete,
    )


def _explain(process: ProcessHandle, stage: _Stage, error: int, tid: int) -> MemtopError:
    what = _WHAT.format(pid=process.pid, comm=process.describe().comm)
    if stage is _Stage.GONE or error in (errno.ESRCH, errno.ENOENT):
        return ProcessGone(what, "it ended while memtop stopped it")
    if stage is _Stage.ARCH:
        return KernelCannot(what, ptrace.NOT_PROVEN.format(os.uname().machine), "--freeze none")
    if stage is _Stage.COMPAT:
        return KernelCannot(what, f"its thread {tid} runs 32-bit code")
    if stage is _Stage.LOST:
        return Failed(what, "the helper process was ended", "nothing is lost; try again")
    if stage is _Stage.SEIZE and error == errno.E2BIG:
        return Failed(what, "it has more threads than memtop stops (32768)")
    if stage is _Stage.SEIZE and error in (errno.EPERM, errno.EACCES):
        refusal = None
        with contextlib.suppress(MemtopError):
            refusal = ptrace.find_trace_refusal(process, tid, _WHAT)
        return refusal or ptrace.refused_attach(process.pid, what, error)
    return Failed(what, f"the helper process failed: {os.strerror(error)}")
