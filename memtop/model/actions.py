"""What a user can do to a target, and the sentence that states its cost before it is done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from memtop.model.units import count, size


class Method(str, Enum):
    """``--track``: how writes are to be tracked."""

    AUTO = "auto"
    WRITE_PROTECT = "write-protect"
    SOFT_DIRTY = "soft-dirty"
    OFF = "off"


class ClearRefs(IntEnum):
    """The commands of /proc/PID/clear_refs (proc_pid_clear_refs(5)); no other value reaches the kernel."""

    ALL = 1
    ANON = 2
    FILE = 3
    SOFT_DIRTY = 4
    PEAK = 5

    @property
    def title(self) -> str:
        """What it clears."""
        return _CLEAR[self][0]

    @property
    def disturbs(self) -> str:
        """What it disturbs, in one sentence."""
        return _CLEAR[self][1]


_AGEING = "page reclaim loses what it knew of these pages, and the target's mmap lock is held for the walk"
_CLEAR = {
    ClearRefs.ALL: ("accessed bits of all pages", _AGEING),
    ClearRefs.ANON: ("accessed bits of anonymous pages", _AGEING),
    ClearRefs.FILE: ("accessed bits of file pages", _AGEING),
    ClearRefs.SOFT_DIRTY: (
        "soft-dirty bits of the whole process",
        "every other soft-dirty user (CRIU, another memtop) loses its state; one write fault a page follows",
    ),
    ClearRefs.PEAK: ("the peak resident size (VmHWM)", "whoever watches VmHWM sees it fall to today's size"),
}


@dataclass(frozen=True, slots=True)
class ArmCost:
    """What write-protecting a process would touch, counted from its last sample.

    Attributes:
        mappings, left_out: how many would be tracked, how many would not.
        pages: present base pages that will be protected.
        huge_pages: huge pages (2 MiB) among them; each splits on its first write.
    """

    method: Method
    mappings: int
    left_out: int
    pages: int
    huge_pages: int

    @property
    def sentence(self) -> str:
        """Cost and side effects in one sentence."""
        if self.method is Method.SOFT_DIRTY:
            return (
                "clear soft-dirty of the whole process each tick: one write fault a page and tick; "
                "other soft-dirty users (CRIU) lose their state"
            )
        split = (
            f"; {count(self.huge_pages)} huge pages split on first write, for good" if self.huge_pages else ""
        )
        return (
            f"write-protect {count(self.mappings)} mappings ({size(self.pages * 4096)} present): one thread "
            f"stops once for under a millisecond, then one write fault a written page and tick{split}"
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for the user about something that happened (an action's result, a failure).

    Attributes:
        key: pid and start time of the process it is about, or None.
        severity: ``information``, ``warning`` or ``error``.
    """

    text: str
    severity: str = "information"
    key: tuple[int, int] | None = None
