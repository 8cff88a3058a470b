"""All that the kernel says of one mapping, asked for by a key; what it costs is stated first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

VM_FLAGS = {
    "rd": "readable",
    "wr": "writable",
    "ex": "executable",
    "sh": "shared",
    "mr": "may be made readable",
    "mw": "may be made writable",
    "me": "may be made executable",
    "ms": "may be shared",
    "gd": "grows down (stack)",
    "pf": "raw page frames, no pages",
    "dw": "writing to the file is disabled",
    "lo": "locked in memory",
    "io": "device memory",
    "sr": "advised: read in order",
    "rr": "advised: read at random",
    "dc": "not copied on fork",
    "de": "does not grow",
    "ac": "counted against the commit limit",
    "nr": "no swap reserved",
    "ht": "hugetlb pages",
    "sf": "faults are synchronous (DAX)",
    "nl": "non-linear",
    "ar": "architecture's own flag",
    "wf": "zeroed in a forked child",
    "dd": "left out of core dumps",
    "sd": "soft-dirty",
    "mm": "pages mixed with page frames",
    "hg": "advised: huge pages",
    "nh": "advised: no huge pages",
    "mg": "advised: merge same pages (KSM)",
    "bt": "guarded branch targets",
    "mt": "memory tagging",
    "um": "userfaultfd tells of missing pages",
    "uw": "userfaultfd tells of writes (so memtop tracks, too)",
    "ui": "userfaultfd tells of minor faults",
    "ss": "shadow stack",
    "sl": "sealed",
    "lf": "locked as it is touched",
    "dp": "droppable: may vanish under memory pressure",
    "gu": "has guard pages, maybe",
}
"""VmFlags of smaps in words; Documentation/filesystems/proc.rst, and fs/proc/task_mmu.c for newer ones."""

ORDINARY_FLAGS = frozenset({"rd", "wr", "ex", "sh", "mr", "mw", "me", "ms", "ac"})
"""What nearly every mapping has: not worth a word each."""


def flag_words(code: str) -> str:
    """One flag in words; one that is newer than memtop stays a code."""
    return VM_FLAGS.get(code, "not known to memtop")


@dataclass(frozen=True, slots=True)
class Smaps:
    """One entry of smaps, proc_pid_smaps(5).

    Attributes:
        start, end: byte addresses, as they were when it was read.
        sizes: fields in kB, in bytes, by the kernel's names and in its order.
        numbers: other fields (THPeligible, ProtectionKey).
        flags: VmFlags, two letters each.
    """

    start: int
    end: int
    sizes: Mapping[str, int]
    numbers: Mapping[str, int] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Numa:
    """One line of numa_maps, numa(7).

    Attributes:
        policy: as the kernel writes it: ``default``, ``bind:0-1``.
        nodes: pages on each node that has some.
        page_bytes: of one such page.
        counts: other fields that are numbers: anon, dirty, mapmax, active, swapcache, writeback.
    """

    policy: str
    nodes: Mapping[int, int]
    page_bytes: int
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Detail:
    """The answer to ``Source.detail``.

    Attributes:
        address: byte address that was asked about: where the mapping begins in the sample shown.
        time: unix seconds when it was read.
        seconds: what the reading took; the kernel walks all mappings below this one, too.
        smaps: None: not read.
        huge: whether it may have huge pages, and why (not), in one sentence; empty: not known.
        numa: None: not read.
        numa_why: why not, or what there is to say.
        why: why smaps was not read, in one sentence.
        dear: it was not read because of what it would take; asked for once more, it is.
    """

    address: int
    time: float
    seconds: float = 0.0
    smaps: Smaps | None = None
    huge: str = ""
    numa: Numa | None = None
    numa_why: str = ""
    why: str = ""
    dear: bool = False
