"""What memtop itself may do: ``--readonly``, and the capabilities it has."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from memtop.linux.errors import NotPermitted
from memtop.native import lib

_readonly = False
_peek = True


class Capability(IntEnum):
    """Bits of ``CapEff``, capabilities(7)."""

    DAC_OVERRIDE = 1  # files of other users: pagemap and clear_refs are their owner's alone
    DAC_READ_SEARCH = 2  # the same, reading only
    SYS_PTRACE = 19  # looking at and tracing processes of other users or with more capabilities
    SYS_ADMIN = 21  # putting a target's seccomp filter aside
    SYS_NICE = 23  # the injector runs before whatever could delay it while the target stands still
    SYS_RESOURCE = 24  # keeps the OOM killer away from the injector
    PERFMON = 38  # maps of other users where SYS_PTRACE is not given


LOOKING = (Capability.DAC_READ_SEARCH, Capability.SYS_PTRACE, Capability.PERFMON)
"""What reading another user's maps and pagemap takes."""

ACTING = (
    *LOOKING, Capability.DAC_OVERRIDE, Capability.SYS_ADMIN, Capability.SYS_NICE, Capability.SYS_RESOURCE
)  # fmt: skip
"""What tracking and clearing take besides."""


def drop_capabilities() -> None:
    """Gives up, for good, every capability that memtop will not need; before any thread is started.

    With ``--readonly`` the rest can read any process, but not even open another user's file for writing.
    Where there is nothing to give up, or a sandbox refuses, all stays as it is.
    """
    _keep(LOOKING if _readonly else ACTING)


def _keep(capabilities: Iterable[Capability]) -> None:
    lib.mt_caps_keep(sum(1 << capability for capability in capabilities))


def set_readonly(readonly: bool, *, peek: bool = False) -> None:
    """From now on every action on a target is refused, in this whole process.

    Args:
        readonly: refuse.
        peek: contents of memory may be read all the same (``--peek``).
    """
    global _readonly, _peek
    _readonly, _peek = readonly, peek or not readonly


def readonly() -> bool:
    """Whether actions are refused."""
    return _readonly


def require_action(what: str) -> None:
    """Called by whatever is about to change something in a target.

    Args:
        what: the action as the subject of a sentence, e.g. ``write-protecting process 42``.

    Raises:
        NotPermitted: memtop runs with ``--readonly``.
    """
    if _readonly:
        raise NotPermitted(f"{what} is not possible", "memtop runs with --readonly", "start it without")


def require_peek(what: str) -> None:
    """Called by whatever is about to read contents of a target's memory.

    Args:
        what: as of ``require_action``.

    Raises:
        NotPermitted: memtop runs with ``--readonly`` and without ``--peek``.
    """
    if not _peek:
        raise NotPermitted(f"{what} is not possible", "memtop runs with --readonly", "add --peek to allow it")


def _own_status() -> dict[str, str]:
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
            return {name: text.strip() for name, _, text in (line.partition(":") for line in file)}
    except OSError:
        return {}


def has_capability(capability: Capability) -> bool:
    """Whether this process has it in effect; False where /proc does not tell."""
    return bool(int(_own_status().get("CapEff", "0"), 16) >> capability & 1)


def is_filtered() -> bool:
    """Whether a seccomp filter decides about memtop's own system calls."""
    return _own_status().get("Seccomp", "0") != "0"
