"""Same pages merged (KSM), Documentation/admin-guide/mm/ksm.rst: which memory of a process that may concern.

A merge replaces a page by one of the same contents, and the soft-dirty bit of what was there is lost with it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from memtop.linux.procfs import directory, explain_memory

_HOST = Path("/sys/kernel/mm/ksm")
_SMAPS = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) [-r][-w][-x][-ps] |^VmFlags:.* mg\b", re.MULTILINE)


def merging() -> bool:
    """Whether pages of this host are being merged, or are merged still; no where the kernel has no KSM."""
    for name in ("run", "pages_shared", "ksm_zero_pages"):
        with suppress(OSError, ValueError):
            if int((_HOST / name).read_text(encoding="ascii")):
                return True
    return False


def mergeable(pid: int, tid: int | None = None) -> list[tuple[int, int]]:
    """Mappings that MADV_MERGEABLE or PR_SET_MEMORY_MERGE is on (``mg`` of smaps): first byte, byte behind.

    The kernel walks every page for the answer.

    Raises:
        MemtopError: it is gone, or smaps may not be read.
    """
    try:
        smaps = Path(directory(pid, tid), "smaps").read_bytes()
    except OSError as error:
        raise explain_memory(error, pid, f"reading smaps of process {pid}") from error
    found, span = [], (0, 0)
    for match in _SMAPS.finditer(smaps):
        if match[1]:
            span = int(match[1], 16), int(match[2], 16)
        else:
            found.append(span)
    return found
