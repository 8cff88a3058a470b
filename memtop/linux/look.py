"""Which pages of a process are there: a look that changes nothing (PAGEMAP_SCAN, or pagemap)."""

from __future__ import annotations

from memtop.linux.pagemap_file import PagemapFile
from memtop.linux.runsets import regions_runs, runs_union
from memtop.model.layout import PAGE, REGION, Category
from memtop.model.runs import PageRuns
from memtop.native import ffi, lib

_ROOM = 16384
_THERE = Category.PRESENT | Category.SWAPPED
_NEAR = 64 * PAGE  # to walk past so many pages costs less than a call of its own


class Looker(PagemapFile):
    """Lists the pages of one address space.

    Args:
        pid: the process.
        use_ioctl: the kernel has PAGEMAP_SCAN; else only PRESENT, SWAPPED and FILE are told.
        guard_bit: the kernel knows ``Category.GUARD``.
        tid: a live thread, where the main thread has ended.

    Raises:
        MemtopError: as ``PagemapFile``.
    """

    def __init__(self, pid: int, *, use_ioctl: bool, guard_bit: bool, tid: int | None = None) -> None:
        super().__init__(pid, tid)
        self._use_ioctl = use_ioctl
        self._returns = _THERE | Category.PFNZERO
        if guard_bit:
            self._returns |= Category.GUARD
        self._found = ffi.new("mt_region[]", _ROOM)

    def look(self, runs: PageRuns, *, file: bool = False, near: bool = False) -> bytes:
        """Present and swapped ones of these pages: sorted ``layout.REGION`` records with categories.

        Args:
            runs: which pages.
            file: tell pages of the page cache from the process's own (FILE); costs a look at each page's
                descriptor, four times the rest.
            near: it may tell of pages between these, too. For many runs.

        Raises:
            ProcessGone: the address space ended.
        """
        returns = self._returns | (Category.FILE if file else 0)
        return self._list(runs, {"anyof": int(_THERE)}, int(returns), _NEAR if near else 0)

    def changed(self, runs: PageRuns) -> PageRuns:
        """What of these pages, which were all protected at one time, may differ from what they were then.

        Protection is gone from a written page, from one that was discarded, and from all of a mapping that
        is new or moved. Holes have none, nor do zero pages. The question is put such that the kernel takes
        its shortest way: a nanosecond a page, a fifth of what a scan costs that tells what each page is.
        """
        written, allowed = int(Category.WRITTEN), int(Category.WPALLOWED)
        unprotected = self._list(runs, {"mask": written}, written)
        strays = self._list(runs, {"mask": allowed, "inverted": allowed, "anyof": int(_THERE)}, 0)
        return runs_union(regions_runs(unprotected, written, 0), regions_runs(strays, 0, 0))

    def _list(self, runs: PageRuns, masks: dict[str, int], returns: int, join: int = 0) -> bytes:
        wanted, cursor, parts = ffi.new("mt_masks *", masks), ffi.new("mt_cursor *"), []
        packed, count = ffi.from_buffer("mt_run[]", runs.packed), len(runs)
        while cursor.run < count:
            found = lib.mt_list(
                self._fd, self._use_ioctl, wanted, returns, packed, count, join, cursor, self._found, _ROOM
            )
            if self._check(found):
                parts.append(bytes(ffi.buffer(self._found, found * REGION.size)))
        return b"".join(parts)
