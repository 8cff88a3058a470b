"""What a caller of redis-server notices of who looks at it: p50, p99 and p99.9, the ways in turn."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from _common import ROOT, Report, options, programs, vm_kib
from redis import KEYS, VALUE, observed, server

SMAPS = "import sys, time\nwhile True: open('/proc/' + sys.argv[1] + '/smaps').read(); time.sleep(1)"
PERCENTILES = ("p50", "p99", "p99.9")


@contextmanager
def running(*command: str) -> Iterator[None]:
    """Anything that looks at it."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        yield
        if process.poll() is not None:
            raise SystemExit(f"{command[0]} ended")
    finally:
        process.kill()
        process.wait()


@contextmanager
def nobody() -> Iterator[None]:
    """Alone."""
    yield


def priority() -> str:
    """How all of it was scheduled, where that was not as usual."""
    if os.sched_getscheduler(0) == os.SCHED_OTHER:
        return ""
    return " All of it, observers too, with real-time priority (chrt -r 1), as the machine had other work."


def main() -> None:
    chosen = options(__doc__, rounds=6, seconds=8, rate=10_000)
    if not shutil.which("redis-server"):
        print("left out: redis-server is not installed")
        return
    took: dict[str, list[list[float]]] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        programs("latency") as (latency,),
        server(Path(directory)) as (pid, socket),
    ):
        words = [str(latency), str(socket), str(chosen.rate), str(chosen.seconds), str(KEYS), str(VALUE)]
        ways = {
            "no observer": nobody,
            "memtop, not tracking": lambda: observed(pid, ["--track", "off"]),
            "memtop, tracking": lambda: observed(pid, ["--track", "write-protect"]),
            "smaps read in a loop": lambda: running(sys.executable, "-c", SMAPS, str(pid)),
            "top": lambda: running("top", "-b", "-d", "1"),
        }
        size = vm_kib(pid, "VmRSS") >> 10
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)  # warms up
        for turn in range(chosen.rounds):
            order = list(ways.items())
            first = turn % len(order)  # no way is always the first
            for way, observer in order[first:] + order[:first]:
                with observer():
                    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
                took.setdefault(way, []).append([float(word) for word in text.split()[1:]])
    report = Report(
        "redis-latency",
        f"Latency of redis-server with {size} MiB at {chosen.rate:,} requests/s, observed at 1 Hz",
        ["observer", *(f"{p} µs" for p in PERCENTILES), *(f"{p}, to alone" for p in PERCENTILES)],
        f"Half SET, half GET, {VALUE} B, {KEYS:,} keys, sent at fixed times, timed from when they were due; "
        f"{chosen.rounds} runs of {chosen.seconds} s each in turn, medians of these. To alone: median over "
        f"the rounds of the ratio to the run without an observer in the same round.{priority()}",
    )
    for way in ways:
        columns = list(zip(*took[way], strict=True))[: len(PERCENTILES)]
        alone = list(zip(*took["no observer"], strict=True))[: len(PERCENTILES)]
        ratios = [
            median(a / b for a, b in zip(mine, base, strict=True))
            for mine, base in zip(columns, alone, strict=True)
        ]
        report.add(way, *(f"{median(c):,.0f}" for c in columns), *(f"{ratio:.2f} ×" for ratio in ratios))
    report.finish(chosen.write)


if __name__ == "__main__":
    main()
