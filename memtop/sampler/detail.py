"""Reads all that the kernel says of one mapping; on a thread of its own, because that can take long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from memtop.linux.errors import MemtopError, ProcessGone
from memtop.linux.procfs import read_stat
from memtop.linux.smaps import MAPPING_S, PAGE_S, read_numa, read_smaps
from memtop.linux.thp import read_settings, why_huge
from memtop.model import units
from memtop.model.detail import Detail
from memtop.model.layout import COUNT, HUGE_PAGES
from memtop.model.sample import Sample

DEAR = 0.05
"""Seconds of reading that are not spent before the user has seen how many it would be."""


def expected(sample: Sample, index: int) -> float:
    """About how many seconds it takes to read the entry of a mapping: all below it are walked, too."""
    pages = 0
    for resident, huge, *_ in COUNT.iter_unpack(sample.counts[: (index + 1) * COUNT.size]):
        pages += resident - huge + huge // HUGE_PAGES
    return PAGE_S * pages + MAPPING_S * (index + 1)


def read_detail(sample: Sample, mapping_id: int, tid: int | None, anyway: bool) -> Detail:
    """Reads it now, or says why not.

    Args:
        sample: a recent one of the process.
        mapping_id: which of its mappings.
        tid: a live thread of the process, where the main thread has ended.
        anyway: even where it takes longer than DEAR.
    """
    index = sample.table.index_of(mapping_id)
    if index is None:
        return Detail(0, time.time(), why="the mapping is not there any more")
    mapping, pid = sample.table[index], sample.process.pid
    takes = expected(sample, index)
    if takes > DEAR and not anyway:
        walk = f"the kernel would walk all mappings below it, too, for about {units.seconds(takes)}"
        why = f"not read: {walk}, and the process's own mmap calls may wait meanwhile"
        return Detail(mapping.start, time.time(), why=why, dear=True)
    began, numa, numa_why = time.monotonic(), None, ""
    try:
        smaps = read_smaps(pid, mapping.start, tid)
        if smaps is not None:
            try:
                numa = read_numa(pid, smaps.start, tid)
                numa_why = "" if numa is not None else "it changed while it was read"
            except MemtopError as error:
                numa_why = error.sentence
        if read_stat(pid).start_time != sample.process.start_time:
            raise ProcessGone(f"process {pid} has ended")
    except MemtopError as error:
        return Detail(mapping.start, time.time(), why=error.sentence)
    took = time.monotonic() - began
    if smaps is None:
        return Detail(mapping.start, time.time(), took, why="nothing is mapped there any more")
    huge = why_huge(smaps, mapping, read_settings(pid))
    return Detail(mapping.start, time.time(), took, smaps, huge, numa, numa_why)


class Errand:
    """Does one thing at a time on a thread of its own; of what waits, only the newest is ever done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: Callable[[], None] | None = None
        self._busy = False

    def send(self, action: Callable[[], None]) -> None:
        """Returns at once. The thread ends with its work, and never keeps memtop from ending."""
        with self._lock:
            self._next = action
            if self._busy:
                return
            self._busy = True
        threading.Thread(target=self._run, name="memtop-errand", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                action, self._next = self._next, None
                if action is None:
                    self._busy = False
                    return
            action()
