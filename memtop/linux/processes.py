"""All processes, to choose from: what /proc says of each without touching its memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from memtop.linux.errors import MemtopError
from memtop.linux.process import user_name
from memtop.linux.procfs import explain, read_cmdline, read_stat, read_status


@dataclass(frozen=True, slots=True)
class Listed:
    """One process that has memory of its own.

    Attributes:
        parent: its parent's pid.
        name, command: cleaned; ``command`` may be empty.
        own: it belongs to the user who runs memtop.
        resident, swapped: bytes, as the kernel sums them; None: it does not say.
        faults: page faults since its start.
        allowed: its memory map can be opened.
    """

    pid: int
    parent: int
    name: str
    user: str
    own: bool
    resident: int
    swapped: int | None
    faults: int
    command: str
    allowed: bool


def processes() -> list[Listed]:
    """All but kernel threads and memtop itself; those that end meanwhile are left out."""
    found = []
    for pid in psutil.pids():
        if pid != os.getpid():
            try:
                each = _look(pid)
            except MemtopError:
                continue
            if each is not None:
                found.append(each)
    return found


def _look(pid: int) -> Listed | None:
    status, stat = read_status(pid), read_stat(pid)
    if "VmRSS" not in status or stat.kernel_thread:
        return None
    uid, parent, swapped = _number(status, "Uid"), _number(status, "PPid"), _number(status, "VmSwap")
    return Listed(
        pid,
        parent or 0,
        stat.comm,
        "?" if uid is None else user_name(uid),
        uid == os.getuid(),
        (_number(status, "VmRSS") or 0) * 1024,
        None if swapped is None else swapped * 1024,
        stat.minflt + stat.majflt,
        read_cmdline(pid),
        refusal(pid) is None,
    )


def _number(status: dict[str, str], field: str) -> int | None:
    """The first number of a field of status."""
    digits = re.match(r"\d+", status.get(field, ""))
    return int(digits[0]) if digits else None


def refusal(pid: int) -> OSError | None:
    """Why its memory map can't be opened (the check of ptrace(2)); None: it can."""
    try:
        os.close(os.open(f"/proc/{pid}/maps", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error
    return None


def why_not(pid: int) -> MemtopError | None:
    """Why a process can't be looked at; None: it can."""
    error = refusal(pid)
    return None if error is None else explain(error, pid, f"reading the memory map of process {pid}")


def with_children(pids: Iterable[int], among: Iterable[Listed] | None = None) -> list[int]:
    """These processes, each followed by all that descend from it; each once."""
    children: dict[int, list[int]] = {}
    for each in processes() if among is None else among:
        children.setdefault(each.parent, []).append(each.pid)
    answer: dict[int, None] = {}
    waiting = list(reversed(list(pids)))
    while waiting:
        pid = waiting.pop()
        if pid not in answer:
            answer[pid] = None
            waiting += sorted(children.get(pid, []), reverse=True)
    return list(answer)


def named(pattern: re.Pattern[str]) -> list[Listed]:
    """Processes whose name or command line matches anywhere, as ``pgrep -f`` looks; by pid."""
    return [each for each in processes() if pattern.search(each.name) or pattern.search(each.command)]
