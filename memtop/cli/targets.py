"""From pids on the command line to open targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from memtop.cli.exits import complain
from memtop.linux import access
from memtop.linux.errors import MemtopError
from memtop.linux.features import probe_kernel
from memtop.model.actions import Care, Method
from memtop.sampler.target import Target, open_target
from memtop.tracking.choose import DEFAULT_CARE


def open_targets(pids: Sequence[int], *, swap: bool = False, care: Care = DEFAULT_CARE) -> list[Target]:
    """Opens all; those that can't be opened are complained of as long as one can.

    Raises:
        MemtopError: of the first, when none can be opened.
    """
    kernel = probe_kernel()
    targets: list[Target] = []
    errors: list[MemtopError] = []
    for pid in pids:
        try:
            targets.append(open_target(pid, kernel, swap=swap, care=care))
        except MemtopError as error:
            errors.append(error)
    if not targets:
        raise errors[0]
    for refusal in errors:
        complain(refusal.sentence)
    for target in targets:
        target.share_processor(len(targets))
    return targets


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
