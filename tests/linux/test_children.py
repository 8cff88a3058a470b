"""``--children``: processes that come to descend from the one looked at are taken in."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event

from harness import PATIENCE, spawned

from memtop.cli.targets import Children
from memtop.linux.descendants import descendants
from memtop.linux.features import probe_kernel
from memtop.model.actions import Care, Method, Notice
from memtop.model.sample import Life, Sample
from memtop.sampler.loop import Sampler
from memtop.sampler.target import open_target

PARENT = """
import subprocess, sys
for line in sys.stdin:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    print(child.pid, flush=True)
    sys.stdin.readline()
    child.kill(), child.wait()
    print(0, flush=True)
"""


def descriptors() -> list[str]:
    names = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            names.append(os.readlink(each))
    return names


def test_a_child_appears_is_sampled_and_ends() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    lives: dict[tuple[int, int], Life] = {}
    changed, notices = Event(), []

    def on_sample(sample: Sample) -> None:
        lives[sample.key] = sample.life
        changed.set()

    def on_notice(notice: Notice) -> None:
        notices.append(notice.text)

    def waits_for(pid: int, life: Life) -> None:
        for _ in range(200):
            if any(key[0] == pid and now is life for key, now in list(lives.items())):
                return
            changed.clear()
            assert changed.wait(PATIENCE), notices
        raise AssertionError(f"{pid} is not seen {life}: {lives}, {notices}")

    sampler = Sampler([open_target(parent.pid, probe_kernel())], 0.1, Children([parent.pid]))
    (sampler_key,) = sampler._targets
    try:
        sampler.start(on_sample, on_notice)
        for _ in range(2):
            print("child", file=parent.stdin, flush=True)
            child = int(parent.stdout.readline())
            assert descendants([parent.pid]) == [child]
            waits_for(child, Life.RUNNING)
            print("end", file=parent.stdin, flush=True)
            assert parent.stdout.readline() == "0\n"
            waits_for(child, Life.ENDED)
            # Nothing of it is held any more, and the others have its share of the processor.
            assert not any(f"/proc/{child}/" in name for name in descriptors())
            assert list(sampler._targets) == [sampler_key]
            assert sampler.arm_cost((child, 1), Method.AUTO) is None
        assert len(lives) == 3
        assert sampler._targets[sampler_key]._budget.cpu_share == Care().max_cost
    finally:
        sampler.stop()
        parent.stdin.close()
        parent.wait(PATIENCE)
        parent.stdout.close()


def test_arming_one_leaves_the_others_their_rhythm() -> None:
    """With --track and --children every child is armed when it comes; a rate over no time is no rate."""
    with spawned(["cat"], stdin=subprocess.PIPE) as first, spawned(["cat"], stdin=subprocess.PIPE) as second:
        taken: list[Sample] = []
        seen = Event()

        def on_sample(sample: Sample) -> None:
            taken.append(sample)
            seen.set()

        targets = [open_target(each.pid, probe_kernel()) for each in (first, second)]
        sampler = Sampler(targets, 3600.0)
        sampler.start(on_sample, lambda notice: None)
        try:
            while len(taken) < 2:
                assert seen.wait(PATIENCE)
                seen.clear()
            sampler.arm(targets[1].key, Method.OFF)
            while len(taken) < 3:
                assert seen.wait(PATIENCE)
                seen.clear()
        finally:
            sampler.stop()
        assert [sample.key for sample in taken] == [each.key for each in (*targets, targets[1])]
