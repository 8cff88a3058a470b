"""``--max-cost`` on a real process: its write faults, and memtop's own work, stay within the bound."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness import PATIENCE, Batch, Writer, run, spawned, wait_for

from memtop.linux.features import probe_kernel
from memtop.linux.userfaultfd import fault_seconds
from memtop.model.actions import Care, Method
from memtop.model.sample import Sample
from memtop.sampler.loop import Sampler
from memtop.sampler.target import open_target

MIB = 256
"""Of memory that is hammered: written through in a fraction of a second."""


@pytest.fixture
def hammer(build: Callable[[str], Any]) -> Iterator[subprocess.Popen[str]]:
    """Writes random pages of its memory once it is told how many a second; others leave it a processor."""
    command = [build("hammer"), str(MIB), "1"]
    with spawned(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ok")
        with contextlib.suppress(PermissionError):
            for tid in map(int, os.listdir(f"/proc/{process.pid}/task")):
                os.setpriority(os.PRIO_PROCESS, tid, -10)
        yield process


def writes(hammer: subprocess.Popen[str], pages_per_second: int) -> None:
    assert hammer.stdin is not None
    hammer.stdin.write(f"{pages_per_second}\n")
    hammer.stdin.flush()


def share(samples: list[dict[str, Any]]) -> float:
    """Of the time, how much went into faults."""
    return sum(s["cost"]["target_s"] for s in samples) / sum(s["interval"] for s in samples)


@pytest.mark.usefixtures("needs_write_protect")
def test_the_measured_fault_is_plausible() -> None:
    fault = fault_seconds()
    assert fault is not None
    assert 50e-9 < fault < 50e-6


@pytest.mark.usefixtures("needs_write_protect")
def test_a_hammered_process_pays_no_more_than_allowed(hammer: subprocess.Popen[str]) -> None:
    writes(hammer, -1)
    words = ["-d", "0.2", "--track", "write-protect", "--max-cost", "5"]
    with Batch(hammer.pid, *words) as batch:
        paid = [batch.sample() for _ in range(7)][2:]
        assert any(sample["stretched"] for sample in paid)
        assert share(paid) <= 0.06
        writes(hammer, 1000)
        wait_for(lambda: not batch.sample()["stretched"], "the interval returns")
        batch.process.terminate()
        batch.end().said("samples come every", "write faults cost hammer", "5 %")


@pytest.mark.usefixtures("needs_write_protect")
def test_the_screens_sampler_keeps_it_too(hammer: subprocess.Popen[str]) -> None:
    writes(hammer, -1)
    samples: queue.Queue[Sample] = queue.Queue()
    notices: list[str] = []
    target = open_target(hammer.pid, probe_kernel(), care=Care(max_cost=0.05))
    sampler = Sampler([target], 0.2)
    sampler.start(samples.put, lambda notice: notices.append(notice.text))
    try:
        sampler.arm(target.key, Method.WRITE_PROTECT)
        paid = [samples.get(timeout=PATIENCE) for _ in range(8)][3:]
        assert any(sample.stretched for sample in paid)
        assert sum(s.cost.target_s for s in paid) / sum(s.interval for s in paid) <= 0.06
        writes(hammer, 1000)
        wait_for(lambda: not samples.get(timeout=PATIENCE).stretched, "the interval returns")
    finally:
        sampler.stop()
    assert any("tracking writes" in text for text in notices)


@pytest.mark.usefixtures("needs_write_protect")
def test_without_a_bound_samples_keep_their_pace(hammer: subprocess.Popen[str]) -> None:
    writes(hammer, -1)
    with Batch(hammer.pid, "-d", "0.2", "--track", "write-protect", "--max-cost", "0") as batch:
        samples = [batch.sample() for _ in range(4)]
    assert not any(sample["stretched"] for sample in samples)
    assert share(samples[1:]) > 0.05, "which is what the bound is for"


@pytest.mark.usefixtures("needs_pagemap")
def test_memtops_own_work_is_bounded(writer: Writer) -> None:
    """Scattered pages cost a scan far more than 0.1 % of a processor at 0.1 s."""
    for n in range(8):
        writer.map(f"area{n}", "anon", 4096).write("alternate", 2048)
    with Batch(writer.pid, "-d", "0.1", "--max-cost", "0.1") as batch:
        samples = [batch.sample() for _ in range(4)]
        assert samples[-1]["stretched"]
        assert samples[-1]["interval"] > 0.25
        batch.process.terminate()
        batch.end().said("sampling costs memtop at most 0.1 %")


@pytest.mark.parametrize("value", ["-1", "101", "nan", "much"])
def test_a_bound_that_is_none_is_refused(value: str) -> None:
    assert run("batch", "-p", "1", f"--max-cost={value}").code == 2
