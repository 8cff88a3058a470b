"""``--children``: processes that come to descend from the one looked at are taken in."""

from __future__ import annotations

import subprocess
import sys
from threading import Event

from memtop.cli.targets import Children
from memtop.linux.descendants import descendants
from memtop.linux.features import probe_kernel
from memtop.model.actions import Notice
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
            assert changed.wait(20), notices
        raise AssertionError(f"{pid} is not seen {life}: {lives}, {notices}")

    sampler = Sampler([open_target(parent.pid, probe_kernel())], 0.1, Children([parent.pid]))
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
        assert len(lives) == 3
    finally:
        sampler.stop()
        parent.stdin.close()
        parent.wait(10)
        parent.stdout.close()
