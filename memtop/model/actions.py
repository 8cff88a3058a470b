"""What a user can do to a target, and the sentence that states its cost before it is done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from memtop.model.layout import PAGE
from memtop.model.units import count, size


class Method(str, Enum):
    """``--track``: how writes are to be tracked."""

    AUTO = "auto"
    WRITE_PROTECT = "write-protect"
    SOFT_DIRTY = "soft-dirty"
    OFF = "off"


class Arm(str, Enum):
    """``--arm``: which mappings write-protect tracking takes."""

    ANON = "anon"
    FILE = "file"
    ALL = "all"

    @property
    def takes_anon(self) -> bool:
        """Anonymous memory, private writable files, and shared memory."""
        return self is not Arm.FILE

    @property
    def takes_files(self) -> bool:
        """All other file mappings."""
        return self is not Arm.ANON


class KeepHuge(str, Enum):
    """``--keep-huge``: what is left out of tracking, so that no huge page is split.

    To leave out a part of a mapping cuts it in maps until tracking ends. The process notices one thing: the
    kernel refuses mremap (EFAULT) over a range that is more than one mapping.
    """

    NO = "no"
    PARTS = "parts"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Care:
    """How careful memtop is with a process.

    Attributes:
        arm: which mappings are tracked.
        keep_huge: whether huge pages are left out of tracking, alone or with the whole mapping.
        max_cost: share of one processor (0.02 is 2 %) that write faults may cost the process, and as much
            again that sampling may cost; 0 is no bound.
        freeze: soft-dirty stops all threads at every sample, while it reads and clears, so that it misses
            nothing.
    """

    arm: Arm = Arm.ANON
    keep_huge: KeepHuge = KeepHuge.NO
    max_cost: float = 0.02
    freeze: bool = False


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
    """What tracking the writes of a process would touch, counted from its last sample.

    Attributes:
        method: as asked for.
        mappings, left_out: how many would be tracked, how many would not.
        pages: present base pages that will be protected.
        huge_pages: huge pages (2 MiB) among them; each splits on its first write.
        expected: what ``auto`` will probably come to; None: ``method`` itself.
        huge_kept: huge pages that are left out (``--keep-huge``).
        cut: mappings that will be cut in maps to leave them out.
        file_pages: present base pages of file mappings among ``pages``.
        fallback: what ``auto`` comes to if the first is refused; None: nothing that costs anything.
        freeze: all threads will be stopped at every sample.
        part: bytes of one mapping that alone would be tracked; then ``pages`` and ``huge_pages`` are upper
            bounds. None: all of each mapping.
        one: only one mapping, or a part of it, was asked for.
    """

    method: Method
    mappings: int
    left_out: int
    pages: int
    huge_pages: int
    expected: Method | None = None
    huge_kept: int = 0
    cut: int = 0
    file_pages: int = 0
    fallback: Method | None = None
    freeze: bool = False
    part: int | None = None
    one: bool = False

    @property
    def sentence(self) -> str:
        """Cost and side effects in one sentence."""
        soft_dirty = self._soft_dirty()
        if (self.expected or self.method) is Method.SOFT_DIRTY:
            return soft_dirty
        present = f"{size(self.pages * PAGE)} present"
        what = f"{count(self.mappings)} mappings ({present})"
        bound = at_most = ""
        if self.one:
            bound, at_most = f", at most {count(self.pages)}", "" if self.part is None else "at most "
            what = f"it ({present})" if self.part is None else f"{size(self.part)} ({at_most}{present})"
        parts = [
            f"write-protect {what}: one thread stops once for about 0.2 ms, then one write fault a "
            f"written page and tick{bound}"
        ]
        if self.huge_pages:
            pages = f"{at_most}{count(self.huge_pages)} huge pages"
            parts.append(f"{pages} split on first write, until tracking ends")
        if self.huge_kept:
            parts.append(f"{count(self.huge_kept)} huge pages stay out of it (--keep-huge)")
        if self.cut:
            many = f"{count(self.cut)} mappings are cut for that, and mremap of them fails meanwhile"
            one = "the mapping is cut in maps for that, and mremap over the cut fails meanwhile"
            parts.append(one if self.one else many)
        if self.file_pages:
            parts.append(f"{size(self.file_pages * PAGE)} of files will be mapped page by page")
        if self.fallback is Method.SOFT_DIRTY:
            parts.append(f"if that is refused: {soft_dirty}")
        return "; ".join(parts)

    @property
    def brief(self) -> str:
        """The same for two lines of 80 cells: each side effect in a few words."""
        if (self.expected or self.method) is Method.SOFT_DIRTY:
            return self._soft_dirty()
        what = present = size(self.pages * PAGE)
        if not self.one:
            what = f"{count(self.mappings)} mappings ({present})"
        elif self.part is not None:
            what = f"{size(self.part)} (at most {present} present)"
        parts = [f"{what}, one stop of about 0.2ms, then a fault a written page and tick"]
        if self.huge_pages:
            parts.append(f"{count(self.huge_pages)} huge pages split")
        if self.huge_kept:
            parts.append(f"{count(self.huge_kept)} stay whole")
        if self.cut:
            parts.append(f"{count(self.cut)} mappings are cut, mremap of them fails")
        if self.file_pages:
            parts.append(f"{size(self.file_pages * PAGE)} of files mapped page by page")
        if self.fallback is Method.SOFT_DIRTY:
            parts.append("or else soft-dirty, whose other users (CRIU) lose their state")
        return "; ".join(parts)

    def _soft_dirty(self) -> str:
        stop = "all threads stop for it (--freeze); " if self.freeze else ""
        return (
            "clear soft-dirty of the whole process each tick: one write fault a page and tick; "
            f"{stop}other soft-dirty users (CRIU) lose their state"
        )


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for the user about something that happened (an action's result, a failure).

    Attributes:
        key: pid and start time of the process it is about, or None.
        severity: ``information``, ``warning`` or ``error``.
        shorter: other forms of it, for one line of a screen; the shorter the later.
    """

    text: str
    severity: str = "information"
    key: tuple[int, int] | None = None
    shorter: tuple[str, ...] = ()
