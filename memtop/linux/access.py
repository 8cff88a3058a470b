"""What memtop itself may do: ``--readonly``, and the capabilities it has."""

from __future__ import annotations

from enum import IntEnum

from memtop.linux.errors import NotPermitted

_readonly = False


class Capability(IntEnum):
    """Bits of ``CapEff``, capabilities(7)."""

    SYS_PTRACE = 19
    SYS_ADMIN = 21
    PERFMON = 38


def set_readonly(readonly: bool) -> None:
    """From now on every action on a target is refused, in this whole process."""
    global _readonly
    _readonly = readonly


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
