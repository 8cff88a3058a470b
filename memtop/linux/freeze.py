"""All threads of a process stopped for a moment (ptrace(2)), by a helper process (memtop/native/freeze.c).

However memtop or the helper ends, the kernel lets the threads go on at once; at the latest after two seconds
they go on in any case.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from memtop.linux import ptrace
from memtop.linux.access import require_action
from memtop.linux.errors import Failed, KernelCannot, ProcessGone
from memtop.linux.process import ProcessHandle
from memtop.linux.threads import choose_thread
from memtop.native import ffi, lib

_TIMEOUT_MS = 200
_WHAT = "stopping process {pid} ({comm}) is not possible"


@dataclass(slots=True)
class Freeze:
    """A stop of all threads.

    Attributes:
        threads: how many stood still.
        held: known at the end: they stood still until then. If not, the helper was killed or memtop slow.
        stop_s: known at the end: seconds from the first that stopped to the last that went on.
    """

    threads: int
    held: bool = False
    stop_s: float = 0.0


def check_freeze(process: ProcessHandle) -> None:
    """Raises what ``frozen`` would, as far as that shows without touching the process."""
    require_action(f"stopping process {process.pid}")
    _, refusal = choose_thread(process.pid, lambda tid: ptrace.find_trace_refusal(process, tid, _WHAT))
    if refusal is not None:
        raise refusal


@contextmanager
def frozen(process: ProcessHandle) -> Iterator[Freeze]:
    """Stops all threads of a process as long as the ``with`` lasts, at most two seconds.

    System calls that were interrupted go on as if nothing had been.

    Raises:
        NotPermitted: no right to trace it, or ``--readonly``.
        KernelCannot: a 32-bit process, or a processor for which this is not proven.
        ProcessGone: it has ended.
        Failed: it is traced already, or a thread does not stop.
    """
    check_freeze(process)
    result = ffi.new("mt_freeze_result *")
    handle = lib.mt_freeze_begin(process.pid, _TIMEOUT_MS, result)
    if handle == ffi.NULL:
        _explain(process, result)
    freeze = Freeze(result.threads)
    try:
        yield freeze
    finally:
        lib.mt_freeze_end(handle, result)
        freeze.held, freeze.stop_s = bool(result.held), result.stop_ns / 1e9


# MT_FREEZE_* of native/api.h
_SEIZE, _STOP, _COMPAT, _CROWD, _ARCH = 2, 3, 4, 5, 6


def _explain(process: ProcessHandle, result: ffi.CData) -> NoReturn:
    stage, tid, error = result.stage, result.tid, result.error
    what = _WHAT.format(pid=process.pid, comm=process.describe().comm)
    if error in (errno.ESRCH, errno.ENOENT):
        raise ProcessGone(what, "it has ended")
    if stage == _SEIZE and error in (errno.EPERM, errno.EACCES):
        raise ptrace.refused_attach(process.pid, what, error)
    if stage == _STOP:
        why = f"thread {tid} did not stop in time: it waits in the kernel (state D), or gets no processor"
        raise Failed(what, why, "nothing was changed; try again later")
    if stage == _COMPAT:
        raise KernelCannot(what, "it runs 32-bit code")
    if stage == _CROWD:
        raise Failed(what, "it makes threads faster than they can be stopped", "try again later")
    if stage == _ARCH:
        raise KernelCannot(what, ptrace.NOT_PROVEN.format(os.uname().machine))
    raise Failed(what, f"the helper process failed{': ' + os.strerror(error) if error else ''}")
