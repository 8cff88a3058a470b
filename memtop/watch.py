"""A small API: which pages of a process were written since they were last asked for.

The semantics are those of GetWriteWatch and ResetWriteWatch, for any process that memtop may trace::

    with WriteWatch(pid) as watch:
        ...
        for address, pages in watch.get():
            ...

See docs/api.md.
"""

from __future__ import annotations

from memtop.linux.closing import Closing
from memtop.linux.errors import KernelCannot
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.model.actions import Arm, ArmCost, Care
from memtop.model.layout import HIGHEST, PAGE
from memtop.tracking.rounds import WRITTEN, Rounds


class WriteWatch(Closing):
    """Watches the writes of a process from now on, until it is closed or this process ends.

    One thread of the process stops once for under a millisecond; then each written page costs it one write
    fault after every reset, and huge pages split on their first write. Not for several threads at once.

    Args:
        pid: the process.
        start, end: byte addresses to watch between; all by default.
        arm: which mappings: anonymous and private ones by default, ``Arm.FILE`` or ``Arm.ALL``.

    Raises:
        memtop.linux.errors.MemtopError: it can't be watched; the sentence says why and what to do.
    """

    granularity = PAGE
    """Bytes of a page; what a huge page holds is told whole."""

    def __init__(self, pid: int, start: int = 0, end: int = HIGHEST, *, arm: Arm = Arm.ANON) -> None:
        kernel = probe_kernel()
        if not kernel.pagemap_scan.works:
            reason = kernel.pagemap_scan
            raise KernelCannot("watching writes is not possible", reason.reason, reason.remedy)
        self._span = (start, end)
        self._handle = ProcessHandle.open(pid)
        try:
            self._rounds = Rounds(self._handle, kernel, WRITTEN, self._span)
        except BaseException:
            self._handle.close()
            raise
        try:
            care = Care(arm=arm)
            self._cost = self._rounds.cost(care)
            self.stop_s = self._rounds.track(care)
        except BaseException:
            self.close()
            raise

    @property
    def cost(self) -> ArmCost:
        """What watching has touched."""
        return self._cost

    def get(
        self, start: int | None = None, end: int | None = None, *, reset: bool = True
    ) -> list[tuple[int, int]]:
        """Pages written since the watch began or since they were last reset, each once.

        Args:
            start, end: byte addresses to look between; the whole watch by default.
            reset: count them as not written again, in the same step: no write between the two is lost.

        Returns:
            (address, pages), sorted. A mapping that appeared since the last call is told whole.

        Raises:
            memtop.linux.errors.ProcessGone: the address space ended (exit or exec).
        """
        written: list[tuple[int, int]] = []
        for found in self._rounds.find(protect=reset, span=self._within(start, end)):
            match = found.match
            if written and written[-1][0] + written[-1][1] * PAGE == match.start:
                written[-1] = (written[-1][0], written[-1][1] + match.pages)
            else:
                written.append((match.start, match.pages))
        return written

    def reset(self, start: int | None = None, end: int | None = None) -> None:
        """Counts all pages, or those between two byte addresses, as not written.

        Raises:
            memtop.linux.errors.ProcessGone: the address space ended.
        """
        self.get(start, end, reset=True)

    def _within(self, start: int | None, end: int | None) -> tuple[int, int]:
        lower, upper = self._span
        lower = lower if start is None else max(lower, start // PAGE * PAGE)
        return lower, upper if end is None else min(upper, -(-end // PAGE) * PAGE)

    def close(self) -> None:
        """Ends the watch: every protection goes. Idempotent."""
        self._rounds.close()
        self._handle.close()
