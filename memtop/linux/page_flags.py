"""What single pages are, in words of the model: from PAGEMAP_SCAN, or from entries of /proc/PID/pagemap.

See Documentation/admin-guide/mm/pagemap.rst.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence

from memtop.linux.errors import Failed, ProcessGone
from memtop.model.layout import PAGE, Category
from memtop.model.peek import PageFlags

_PRESENT, _SWAPPED, _FILE = 1 << 63, 1 << 62, 1 << 61
MOST = 1 << 18
"""Pages that one look reads at most: 1 GiB of address space."""


def page_flags(counted: Sequence[int], first_present: int, start: int, end: int, *, guard: bool) -> PageFlags:
    """From how many pages of [start, end) have each category of PAGEMAP_SCAN.

    Args:
        first_present: byte address, 0 for none.
        guard: the kernel tells guard pages.
    """
    count = {bit: counted[bit.bit_length() - 1] for bit in Category}
    return PageFlags(
        (end - start) // PAGE,
        present=count[Category.PRESENT],
        swapped=count[Category.SWAPPED],
        written=count[Category.WRITTEN],
        tracked=count[Category.WPALLOWED],
        huge=count[Category.HUGE],
        file=count[Category.FILE],
        zero=count[Category.PFNZERO],
        guard=count[Category.GUARD] if guard else None,
        first_present=first_present or None,
    )


def look_at_entries(pagemap_fd: int, start: int, end: int) -> PageFlags:
    """What the pages of [start, end) are (bytes); huge, zero and guard pages can't be told from others.

    Raises:
        ProcessGone: the address space ended.
        Failed: they can't be read, or are too many.
    """
    pages = (end - start) // PAGE
    if pages > MOST:
        raise Failed("so many pages are not looked at one by one", "PAGEMAP_SCAN came with Linux 6.7")
    try:
        raw = os.pread(pagemap_fd, 8 * pages, start // PAGE * 8)
    except OSError as error:
        raise Failed("reading page tables failed", os.strerror(error.errno or 0)) from error
    if not raw:
        raise ProcessGone("the address space has ended")
    entries = array("Q", raw)
    present = [i for i, entry in enumerate(entries) if entry & _PRESENT]
    return PageFlags(
        pages,
        present=len(present),
        swapped=sum(1 for entry in entries if entry & _SWAPPED),
        file=sum(1 for i in present if entries[i] & _FILE),
        first_present=start + present[0] * PAGE if present else None,
    )
