"""The loop of the verbs without a screen: one sample of every process at each deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

from memtop.cli.exits import ExitCode, complain
from memtop.model.sample import Life, Sample
from memtop.sampler.target import Target


def sample_all(
    targets: list[Target],
    number: int | None,
    delay: float,
    write: Callable[[Sample], None],
    *,
    last: bool = False,
) -> ExitCode:
    """Samples all targets ``number`` times each; deadlines are kept, missed ones skipped.

    Args:
        number: how many samples of each; None: until all have ended.
        delay: seconds between two.
        write: takes a sample out; what it costs is charged to the process's budget.
        last: when a process has ended, its last picture is written once more, marked as such.
    """
    taken = dict.fromkeys(targets, 0)
    due, done = time.monotonic(), False
    while taken:
        for target in list(taken):
            if target.wait() > 0:
                continue
            sample = target.tick()
            if sample.message:
                complain(sample.message)
            if sample.life is Life.ENDED:
                if last:
                    write(sample)
                del taken[target]
                continue
            began = time.thread_time()
            write(sample)
            target.charge(time.thread_time() - began)
            taken[target] += 1
            if taken[target] == number:
                done = True
                del taken[target]
        if taken:
            due = max(due + delay, time.monotonic())
            time.sleep(max(due - time.monotonic(), 0.0))
    return ExitCode.DONE if done or number is None else ExitCode.NO_PROCESS
