"""/proc/PID/clear_refs, see proc_pid_clear_refs(5).

The kernel checks nothing but the mode of the file: whoever may open it may clear.
"""

from __future__ import annotations

import logging
import os

from memtop.linux.access import require_action
from memtop.linux.procfs import directory, explain, explain_memory, live_thread, read_stat
from memtop.model.actions import ClearRefs

_log = logging.getLogger(__name__)


def clear(pid: int, what: ClearRefs) -> None:
    """Clears accessed bits, soft-dirty bits or the peak size of a process.

    The kernel holds the target's mmap lock for the whole walk, so its own mmap calls and page faults wait:
    tens of milliseconds for gigabytes. For ``SOFT_DIRTY`` success proves nothing: a kernel without the
    feature takes the command too (``features.probe_kernel``).

    Raises:
        NotPermitted: another user's process, a sandbox, or ``--readonly``.
        ProcessGone: it has ended.
        KernelCannot: no such file here.
    """
    doing = _doing(pid, what)
    descriptor = _open(pid, doing)
    try:
        os.write(descriptor, str(int(what)).encode())
        _log.info("%d: wrote %d to clear_refs: cleared %s", pid, what, what.title)
    except OSError as error:
        raise explain_memory(error, pid, doing) from error
    finally:
        os.close(descriptor)


def check_clear(pid: int, what: ClearRefs) -> None:
    """Raises what ``clear`` would, as far as that shows without clearing anything."""
    os.close(_open(pid, _doing(pid, what)))


def _doing(pid: int, what: ClearRefs) -> str:
    return f"clearing {what.title} of process {pid}"


def _open(pid: int, doing: str) -> int:
    require_action(doing)
    # The file of a main thread that has ended takes the command and does nothing.
    tid = live_thread(pid) if read_stat(pid).state == "Z" else None
    try:
        return os.open(f"{directory(pid, tid)}/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise explain(error, pid, doing) from error
