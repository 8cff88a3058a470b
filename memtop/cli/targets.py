"""From pids on the command line to open targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from memtop.cli.exits import complain
from memtop.linux.errors import MemtopError
from memtop.linux.features import probe_kernel
from memtop.model.actions import Method
from memtop.sampler.target import Target, open_target


def open_targets(pids: Sequence[int], *, swap: bool = False) -> list[Target]:
    """Opens all; those that can't be opened are complained of as long as one can.

    Raises:
        MemtopError: of the first, when none can be opened.
    """
    kernel = probe_kernel()
    targets: list[Target] = []
    errors: list[MemtopError] = []
    for pid in pids:
        try:
            targets.append(open_target(pid, kernel, swap=swap))
        except MemtopError as error:
            errors.append(error)
    if not targets:
        raise errors[0]
    for refusal in errors:
        complain(refusal.sentence)
    return targets


@contextmanager
def opened(pids: Sequence[int], method: Method, *, swap: bool = False) -> Iterator[list[Target]]:
    """Open, armed targets that are given back at the end, however it comes."""
    targets = open_targets(pids, swap=swap)
    try:
        if method is not Method.OFF:
            for target in targets:
                target.arm(method)
                if target.tracker_info.name == "off":
                    complain(f"{target.process.comm} {target.process.pid}: {target.tracker_info.note}")
        yield targets
    finally:
        for target in targets:
            target.close()
