"""From pids on the command line to open targets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from memtop.cli.exits import complain
from memtop.cli.several import complain_of, of_each
from memtop.linux import access
from memtop.linux.descendants import descendants
from memtop.linux.errors import MemtopError, ProcessGone
from memtop.linux.features import probe_kernel
from memtop.model.actions import Care, Method
from memtop.sampler.target import Target, open_target
from memtop.tracking.choose import DEFAULT_CARE


def open_targets(
    pids: Sequence[int],
    *,
    swap: bool = False,
    care: Care = DEFAULT_CARE,
    refused: Callable[[MemtopError], None] = complain_of,
) -> list[Target]:
    """Opens all, as long as one can be opened.

    Args:
        refused: is told of those that can't be.

    Raises:
        MemtopError: of the first, when none can be opened.
    """
    kernel = probe_kernel()
    targets = of_each(pids, lambda pid: open_target(pid, kernel, swap=swap, care=care), refused)
    for target in targets:
        target.share_processor(len(targets))
    return targets


LOOK_EVERY = 1.0
"""Seconds between two looks for new children: a file of each thread is read."""


class Children:
    """Opens the processes that come to descend from some, when it is called; see ``Sampler``.

    Args:
        pids: from whom; those that are looked at already are not opened again.
        swap, care: as for the others.
    """

    def __init__(self, pids: Sequence[int], *, swap: bool = False, care: Care = DEFAULT_CARE) -> None:
        self._pids, self._swap, self._care = pids, swap, care
        self._seen = set(pids)
        self._kernel = probe_kernel()
        self._looked = float("-inf")

    def __call__(self) -> list[Target]:
        """Those that are new.

        Raises:
            MemtopError: one can't be opened; it is not tried again.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return []
        self._looked = now
        there = descendants(self._pids)
        new = [pid for pid in there if pid not in self._seen]
        self._seen = {*self._pids, *there}  # a pid that comes back is another process
        opened = []
        for pid in new:
            try:
                opened.append(open_target(pid, self._kernel, swap=self._swap, care=self._care))
            except ProcessGone:
                continue
            except MemtopError:
                if opened:  # those first; this one is tried and told the next time
                    self._seen -= set(new[new.index(pid) :])
                    break
                raise
        return opened


@contextmanager
def opened(
    pids: Sequence[int], method: Method, *, swap: bool = False, care: Care = DEFAULT_CARE
) -> Iterator[list[Target]]:
    """Open, armed targets that are given back at the end, however it comes.

    Before a process is armed, what that will cost it is said on stderr.
    """
    targets = open_targets(pids, swap=swap, care=care)
    try:
        if method is not Method.OFF:
            for target in targets:
                _arm(target, method)
        yield targets
    finally:
        for target in targets:
            target.close()


def _arm(target: Target, method: Method) -> None:
    name = f"{target.process.comm} {target.process.pid}"
    cost = None if access.readonly() else target.look_at_cost(method)
    if cost is not None:
        complain(f"{name}: going to {cost.sentence}")
    target.arm(method)
    if target.tracker_info.note:
        complain(f"{name}: {target.tracker_info.note}")
