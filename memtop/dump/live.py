"""A live process as the source of a dump."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from typing import Any

from memtop.dump.image import Area, Origin
from memtop.dump.plan import Census, Plan, Planner, Range, count
from memtop.linux import coreinfo
from memtop.linux.errors import ProcessGone
from memtop.linux.features import KernelFeatures
from memtop.linux.look import Looker
from memtop.linux.mapped_file import open_mapped
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import MapsReader
from memtop.linux.smaps import vm_flags
from memtop.linux.standstill import Thread
from memtop.linux.vmread import Copied, Held, MemoryReader, OutFile, Pieces, new_buffer
from memtop.model.layout import PAGE
from memtop.model.runs import PageRuns
from memtop.model.sample import Life
from memtop.native import ffi

NO_BEAT: Any = ffi.NULL


class LiveSource:
    """Reads a process. What it opens stays bound to the address space of this moment.

    Attributes:
        facts: what a core says of the process.
        beat: set while the process stands still: reading says then that it goes on.

    Args:
        handle: the process; stays the caller's.
        kernel: what this kernel can.
        take_all: dump what coredump_filter and MADV_DONTDUMP leave out, too.
        read_swap: read swapped pages, which brings them back into memory.
        only: nothing but these ranges.

    Raises:
        MemtopError: it can't be looked at.
    """

    whole = False

    def __init__(
        self,
        handle: ProcessHandle,
        kernel: KernelFeatures,
        *,
        take_all: bool = False,
        read_swap: bool = False,
        only: Sequence[Range] = (),
    ) -> None:
        self.handle = handle
        self.beat: Any = NO_BEAT
        pid, tid = handle.pid, handle.maps_tid()
        self._read_swap = read_swap
        with contextlib.ExitStack() as stack:
            self._maps = MapsReader(pid, tid)
            stack.callback(self._maps.close)
            self._looker = Looker(
                pid,
                use_ioctl=bool(kernel.pagemap_scan.works),
                guard_bit=bool(kernel.guard_bit.works),
                tid=tid,
            )
            stack.callback(self._looker.close)
            self._memory = MemoryReader(pid, tid)
            stack.callback(self._memory.close)
            self.facts = coreinfo.read_facts(pid, tid)
            # Before the tracker starts: that would have to wait for this walk, and the process for that.
            flags = {} if take_all else {start: flags for start, _, flags in vm_flags(pid, tid)}
            wanted = coreinfo.coredump_filter(pid)
            self._planner = Planner(self._looker, wanted, flags, take_all=take_all, only=only)
            self._close = stack.pop_all().close
        self._buffer = new_buffer(1)
        self._room = 1

    def plan(self) -> Plan:
        """What is to be dumped of the mappings of now.

        Raises:
            ProcessGone: the address space that was opened has ended.
        """
        return self._planner.plan(self._maps.read())

    def gone(self) -> ProcessGone:
        """Why the address space is no more."""
        ended = self.handle.life() is Life.ENDED
        why = "it ended" if ended else "it ran exec, so the memory that was to be dumped is no more"
        return ProcessGone(f"the dump of process {self.handle.pid} can't be finished", why)

    def census(self, plan: Plan) -> Census:
        """What is in memory of it now."""
        return count(self._looker, plan, read_swap=self._read_swap)

    def census_of(self, plan: Plan, among: PageRuns) -> Census:
        """The same of some pages of the plan."""
        return count(self._looker, plan, read_swap=self._read_swap, among=among)

    def changed(self, runs: PageRuns) -> PageRuns:
        """See ``Looker``."""
        return self._looker.changed(runs)

    def copy(self, pieces: Pieces, out: OutFile, *, hashed: bool, overwrite: bool) -> Copied:
        """See ``PageSource``."""
        return self._memory.copy(pieces, out, hashed=hashed, overwrite=overwrite, beat=self.beat)

    def load(self, runs: PageRuns, *, hashed: bool) -> tuple[memoryview, Copied]:
        """See ``PageSource``."""
        pages = runs.pages
        if pages > self._room:
            self._buffer, self._room = new_buffer(pages), pages
        copied = self._memory.read(runs, self._buffer, hashed=hashed, beat=self.beat)
        return memoryview(ffi.buffer(self._buffer, pages * PAGE)), copied

    def hold(self, runs: PageRuns, into: Any) -> Held:
        """Reads pages into memory that has room for them, to be written later."""
        return Held(runs, into, self._memory.read(runs, into, beat=self.beat).states)

    def file_of(self, area: Area) -> int | None:
        """The file behind a mapping; the caller's to close. None: it can't be had."""
        return open_mapped(self.handle.pid, area.start, area.end, area.name, area.inode)

    def origin(self) -> Origin:
        """Whose memory it is, with the time of now."""
        process = self.handle.describe()
        return Origin(
            pid=process.pid,
            start_time=process.start_time,
            boot_id=process.boot_id,
            kernel=os.uname().release,
            host=process.host,
            comm=process.comm,
            machine=self.facts.machine,
            time=time.time(),
        )

    def about(self, threads: Sequence[Thread]) -> list[tuple[Thread, coreinfo.ThreadFacts]]:
        """What the files of /proc say of these threads, the main one first."""
        pid = self.handle.pid
        return [
            (t, coreinfo.read_thread(pid, t.tid))
            for t in sorted(threads, key=lambda t: (t.tid != pid, t.tid))
        ]

    def close(self) -> None:
        """Lets go. Idempotent."""
        self._close()
