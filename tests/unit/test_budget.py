"""The budget against simulated processes: it is kept, calmly, and given back when the load falls."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from memtop.sampler.budget import LEARN_S, Budget

FAULT_S = 600e-9
SHARE = 0.02


class Process:
    """Writes pages at some rate and takes some faults of its own.

    Args:
        pages: how many it writes, at random.
        writes: a second, at a time.
        own_faults: a second, that have nothing to do with tracking.
    """

    def __init__(self, pages: int, writes: Callable[[float], float], own_faults: float = 0) -> None:
        self.pages, self.writes, self.own_faults = pages, writes, own_faults
        self.now = self.faults = 0.0
        self.written = 0.0

    def run(self, seconds: float) -> None:
        """A page that was written since the last sample faults no more."""
        clean = self.pages - self.written
        fresh = clean * (1 - math.exp(-self.writes(self.now) * seconds / self.pages))
        self.written += fresh
        self.faults += fresh + self.own_faults * seconds
        self.now += seconds

    def sample(self) -> int:
        """Get and clear."""
        caused, self.written = round(self.written), 0.0
        return caused


Taken = list[tuple[float, float, float]]
"""Time, interval and share of each sample."""


def watch(
    process: Process, seconds: float, *, share: float = SHARE, every: float = 1.0, cpu_s: float = 0.0
) -> Taken:
    """What a sampler would do with deadlines at ``every``."""
    budget, taken, last = Budget(share, FAULT_S), [], 0.0
    budget.spend(0.0, 0, None, cpu_s, process.pages)
    while process.now < seconds:
        process.run(every)
        if budget.wait(process.now, round(process.faults)) <= 0:
            spent = budget.spend(process.now, round(process.faults), process.sample(), cpu_s, process.pages)
            interval, last = process.now - last, process.now
            taken.append((process.now, interval, spent / interval))
    return taken


def mean_share(taken: Taken) -> float:
    return sum(share * interval for _, interval, share in taken) / sum(interval for _, interval, _ in taken)


def settled(taken: Taken) -> Taken:
    return taken[3:]


GIB = 1 << 18


@pytest.mark.parametrize("writes", [1e5, 1e6, 1e7, 1e9])
@pytest.mark.parametrize("pages", [GIB, 8 * GIB])
def test_random_writes_are_paid_for(pages: int, writes: float) -> None:
    taken = watch(Process(pages, lambda _: writes), 4000)
    assert all(share <= SHARE * 1.01 for _, _, share in settled(taken))
    assert mean_share(taken) <= SHARE * 1.1


def test_it_is_calm() -> None:
    taken = watch(Process(GIB, lambda _: 1e7), 600)
    intervals = [interval for _, interval, _ in settled(taken)]
    assert max(intervals) - min(intervals) <= 1, "one deadline more or less at most"
    assert intervals[0] == pytest.approx(GIB * FAULT_S / SHARE, abs=1), "no longer than it must be"


def test_noise_does_not_swing_it() -> None:
    dice = random.Random(5)
    taken = watch(Process(GIB, lambda _: 1e5 * dice.uniform(0.5, 1.5)), 600)
    intervals = [interval for _, interval, _ in settled(taken)]
    assert max(intervals) <= 1.5 * min(intervals) + 1


@pytest.mark.parametrize("quiet", [0.0, 1000.0])
def test_the_interval_returns_when_the_load_falls(quiet: float) -> None:
    taken = watch(Process(GIB, lambda now: 1e8 if now < 100 else quiet), 200)
    after = [interval for time, interval, _ in taken if time - interval > 100]
    assert taken[3][1] > 5
    assert after
    assert all(interval == 1 for interval in after), "from the first sample that began after it fell"


def test_a_light_load_is_left_alone() -> None:
    taken = watch(Process(GIB, lambda _: 10_000), 60)
    assert {interval for _, interval, _ in taken} == {1.0}


def test_faults_of_the_process_itself_are_not_memtops() -> None:
    """It allocates a lot; writes hardly anything twice. Only the first interval may wait, to learn that."""
    taken = watch(Process(GIB, lambda _: 1000, own_faults=500_000), 120)
    assert taken[0][1] <= LEARN_S
    assert {interval for _, interval, _ in settled(taken)} == {1.0}


def test_what_was_too_much_is_paid_later() -> None:
    """A process whose own faults hid the load: one interval costs too much, the next ones make up for it."""
    process = Process(8 * GIB, lambda now: 100.0 if now < 50 else 3e5, own_faults=400_000)
    taken = watch(process, 1500)
    assert mean_share([sample for sample in taken if sample[0] > 50]) <= SHARE * 1.1


def test_streaming_over_more_than_fits_an_interval_is_waited_for() -> None:
    """Each second new pages: waiting helps only once they have all been written."""
    taken = watch(Process(64 * GIB, lambda _: 1e6), 4000)
    assert mean_share(settled(taken)) <= SHARE * 1.01


def test_memtops_own_work_is_bounded_too() -> None:
    taken = watch(Process(GIB, lambda _: 0.0), 300, cpu_s=0.05)
    assert {interval for _, interval, _ in taken[10:]} == {3.0}, "50 ms every 2.5 s are 2 %"


def test_one_slow_sample_is_no_reason_to_wait() -> None:
    budget = Budget(SHARE, FAULT_S)
    for second in range(20):
        budget.spend(second, 0, None, 0.001)
    budget.spend(20.0, 0, None, 0.05)
    assert budget.wait(21.0, 0) <= 0


def test_zero_is_no_bound() -> None:
    taken = watch(Process(GIB, lambda _: 1e8), 30, share=0.0, cpu_s=1.0)
    assert {interval for _, interval, _ in taken} == {1.0}


def test_it_says_what_it_waits_for() -> None:
    budget = Budget(SHARE, FAULT_S)
    for second in range(-20, 0):
        budget.spend(second, 0, None, 0.4, 1000)
    assert budget.wait(1.0, 0) > 0
    assert not budget.for_faults
    budget = Budget(SHARE, FAULT_S)
    budget.spend(0.0, 0, None, 0.0, GIB)
    assert budget.wait(1.0, GIB) > 0
    assert budget.for_faults


def test_it_knows_how_long() -> None:
    budget = Budget(SHARE, FAULT_S)
    budget.spend(0.0, 0, None, 0.0, GIB)
    budget.spend(1.0, 1000, 1000, 0.0, GIB)
    assert budget.wait(2.0, 1000 + GIB) == pytest.approx(GIB * FAULT_S / SHARE - 1, rel=0.01)
    assert budget.wait(2.0, 1000) <= 0
