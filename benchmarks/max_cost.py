"""What --max-cost takes and gives: redis-server under a storm of SETs, tracked within several bounds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from _common import ROOT, Report, options, vm_kib
from redis import KEYS, VALUE, load, server

BOUNDS = ("none", "1", "2", "5", "10", "0")
INTERVAL = 0.5
"""Nominal seconds: shorter than any bound allows under this load, so that the bound is what decides."""


@contextmanager
def tracked(pid: int, bound: str, intervals: list[float]) -> Iterator[None]:
    """memtop batch within a bound, once its baseline is out; adds the measured intervals."""
    if bound == "none":
        yield
        return
    words = f"batch -p {pid} -d {INTERVAL} --json --track write-protect --max-cost {bound}".split()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "memtop", *words], stdout=out, stderr=subprocess.DEVNULL, cwd=ROOT
        )
        try:
            while not (text := Path(f"/proc/{process.pid}/fd/1").read_text()).count("\n") > 1:
                if process.poll() is not None:
                    raise SystemExit(f"memtop ended: {text}")
            yield
            process.terminate()
            process.wait()
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        samples = [json.loads(line) for line in out]
        intervals += [s["interval"] for s in samples if s["type"] == "sample" and not s["baseline"]]


def cpu_seconds(pid: int) -> float:
    """Of all its threads, in the kernel too: write faults are in it, waiting for a processor is not."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    chosen = options(__doc__, rounds=5, requests=1_500_000)
    if not shutil.which("redis-server") or not shutil.which("redis-benchmark"):
        print("left out: redis-server is not installed")
        return
    rates: dict[str, list[float]] = {bound: [] for bound in BOUNDS}
    costs: dict[str, list[float]] = {bound: [] for bound in BOUNDS}
    intervals: dict[str, list[float]] = {bound: [] for bound in BOUNDS}
    with tempfile.TemporaryDirectory() as directory, server(Path(directory)) as (pid, socket):
        load(socket, chosen.requests, "set", pipeline=16)  # warms up
        size = vm_kib(pid, "VmRSS") >> 10
        for turn in range(chosen.rounds):
            for bound in BOUNDS[turn % len(BOUNDS) :] + BOUNDS[: turn % len(BOUNDS)]:
                with tracked(pid, bound, intervals[bound]):
                    before = cpu_seconds(pid)
                    rates[bound].append(load(socket, chosen.requests, "set", pipeline=16)["rps"])
                    costs[bound].append((cpu_seconds(pid) - before) / chosen.requests)
    report = Report(
        "max-cost",
        f"--max-cost: redis-server with {size} MiB under a storm of SETs",
        ["--max-cost", "requests/s", "its CPU µs a request", "of untracked", "interval s, median", "longest"],
        f"{VALUE} B values, {KEYS:,} keys at random, 50 connections, 16 requests at a time; nominal "
        f"interval {INTERVAL} s; {chosen.rounds} runs each in turn; of untracked: processor time that the "
        "server took for a request, median ratio of a round. Runs of some seconds, so that the faults that "
        "follow the baseline weigh more than they do later.",
    )
    for bound in BOUNDS:
        ratio = median(cost / alone for cost, alone in zip(costs[bound], costs["none"], strict=True))
        spent = intervals[bound]
        times = (f"{median(spent):.2f}", f"{max(spent):.2f}") if spent else ("–", "–")
        name = {"none": "not tracked", "0": "0 (no bound)"}.get(bound, bound)
        report.add(
            name, f"{median(rates[bound]):,.0f}", f"{median(costs[bound]) * 1e6:.2f}", f"{ratio:.3f}", *times
        )
    report.finish(chosen.write)


if __name__ == "__main__":
    main()
