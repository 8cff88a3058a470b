"""Same pages merged (KSM), Documentation/admin-guide/mm/ksm.rst: which memory of a process that may concern.

A merge replaces a page by one of the same contents, and the soft-dirty bit of what was there is lost with it.
"""

from __future__ import annotations

from contextlib import suppress

from memtop.linux.smaps import vm_flags

_HOST = "/sys/kernel/mm/ksm"


def merging() -> bool:
    """Whether pages of this host are being merged, or are merged still; no where the kernel has no KSM."""
    for name in ("run", "pages_shared", "ksm_zero_pages"):
        with suppress(OSError, ValueError), open(f"{_HOST}/{name}", encoding="ascii") as file:
            if int(file.read()):
                return True
    return False


def mergeable(pid: int, tid: int | None = None) -> list[tuple[int, int]]:
    """Mappings that MADV_MERGEABLE or PR_SET_MEMORY_MERGE is on (``mg`` of smaps): first byte, byte behind.

    The kernel walks every page for the answer.

    Raises:
        MemtopError: it is gone, or smaps may not be read.
    """
    return [(start, end) for start, end, flags in vm_flags(pid, tid) if b"mg" in flags]
