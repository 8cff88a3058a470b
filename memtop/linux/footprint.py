"""Whether a process looks as it did before a system call was run inside it: what can be seen from outside.

Read only where somebody asks for it (``--log``): the descriptor table and maps of a large process take
milliseconds each.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass

from memtop.linux.errors import MemtopError
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import read_stat, read_status
from memtop.linux.ptrace import Injection, create_userfaultfd
from memtop.model import units
from memtop.model.names import clean_text

_log = logging.getLogger(__name__)
_MOST = 4  # that one line names
USERFAULTFD = "anon_inode:[userfaultfd]"


@dataclass(frozen=True, slots=True)
class Footprint:
    """What /proc shows of a process at one moment; None: it could not be read.

    Attributes:
        descriptors: number to what it is open on.
        mappings: the lines of maps.
    """

    descriptors: dict[int, str] | None
    mappings: frozenset[str] | None


def take_footprint(pid: int, tid: int) -> Footprint:
    """Now; ``tid`` is a live thread of the process."""
    return Footprint(_descriptors(tid), _mappings(pid, tid))


def injected(process: ProcessHandle) -> Injection:
    """``ptrace.create_userfaultfd``, and in the log what it did and what was verified after it.

    Raises:
        MemtopError: as that.
    """
    pid = process.pid
    before = None
    if _log.isEnabledFor(logging.INFO):
        _log.info("%d: going to run userfaultfd() and close() in one of its threads", pid)
        before = take_footprint(pid, process.maps_tid() or pid)
    injection = create_userfaultfd(process)
    if before is not None:
        _log.info(
            "%d: thread %d stood still for %s; its userfaultfd is memtop's now, and closed in the process",
            *(pid, injection.tid, units.seconds(injection.stop_s)),
        )
        for sentence in (_registers(injection), *verify(pid, injection.tid, before)):
            _log.info("%d: %s", pid, sentence)
    return injection


def _registers(injection: Injection) -> str:
    what = f"the registers and the signal mask of thread {injection.tid}"
    if not injection.verified:
        return f"not verified: {what} could not be read back before it was let go"
    return f"verified: {what} were as before when it was let go; vector registers are not looked at"


def verify(pid: int, tid: int, before: Footprint) -> Iterator[str]:
    """Sentences on what is as before and what is not, after thread ``tid`` has been let go."""
    now = take_footprint(pid, tid)
    yield _thread(tid)
    yield _table(before.descriptors, now.descriptors)
    yield _layout(before.mappings, now.mappings)


def _thread(tid: int) -> str:
    try:
        tracer, state = read_status(tid).get("TracerPid", "?"), read_stat(tid).state
    except MemtopError:
        tracer, state = "", "Z"
    if state in "ZX":
        return f"not verified: thread {tid} has ended since"
    if tracer != "0" or state == "t":
        return f"NOT AS BEFORE: thread {tid} is traced by {tracer}, state {state}"
    return f"verified: thread {tid} is not traced any more, state {state}"


def _table(before: dict[int, str] | None, now: dict[int, str] | None) -> str:
    if before is None or now is None:
        return "not verified: its descriptors can't be listed"
    if before == now:
        return f"verified: its {units.count(len(now))} descriptors are as before"
    more = {fd: name for fd, name in now.items() if before.get(fd) != name}
    gone = sorted(before.keys() - now.keys())
    ours = [fd for fd, name in more.items() if name == USERFAULTFD]
    if ours:
        return (
            f"NOT AS BEFORE: it has a userfaultfd more, descriptor {_some(ours)}: its own, or left by memtop"
        )
    changes = [f"{word} {_some(items)}" for word, items in (("new", [*more]), ("closed", gone)) if items]
    return (
        f"verified: no userfaultfd is left in it; other descriptors have changed ({', '.join(changes)}), by "
        "itself, as far as memtop can tell: it closed none but its own"
    )


def _layout(before: frozenset[str] | None, now: frozenset[str] | None) -> str:
    if before is None or now is None:
        return "not verified: its mappings can't be listed"
    if before == now:
        return f"verified: its {units.count(len(now))} mappings are as before"
    more, gone = len(now - before), len(before - now)
    return (
        f"not verified: {more} lines of maps are new and {gone} gone since, by itself, as far as memtop can "
        "tell: the calls that it ran map nothing"
    )


def _some(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:_MOST]))
    return shown + (f" and {len(numbers) - _MOST} more" if len(numbers) > _MOST else "")


def _descriptors(tid: int) -> dict[int, str] | None:
    table = {}
    try:
        for name in os.listdir(f"/proc/{tid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                table[int(name)] = clean_text(os.readlink(f"/proc/{tid}/fd/{name}"))
    except OSError:
        return None
    return table


def _mappings(pid: int, tid: int) -> frozenset[str] | None:
    try:
        with open(f"/proc/{pid}/task/{tid}/maps", encoding="utf-8", errors="surrogateescape") as file:
            return frozenset(file)
    except OSError:
        return None
