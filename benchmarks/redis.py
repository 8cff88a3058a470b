"""Throughput and latency of redis-server under redis-benchmark: alone, looked at, and tracked at 1 Hz."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

from _common import ROOT, Report, options, vm_kib

KEYS = 1_000_000
VALUE = 512
WAYS: dict[str, list[str] | None] = {
    "no observer": None,
    "memtop, not tracking": ["--track", "off"],
    "memtop, tracking": ["--track", "write-protect"],  # within its budget, so less often than at 1 Hz
    "memtop, tracking, no budget": ["--track", "write-protect", "--max-cost", "0"],
}


@contextmanager
def server(directory: Path) -> Iterator[tuple[int, Path]]:
    """A redis-server with at least 500 MB of data."""
    socket = directory / "redis.sock"
    command = [
        "redis-server",
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--save",
        "",
        "--dir",
        str(directory),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            if process.poll() is not None:
                raise SystemExit("redis-server did not start")
            time.sleep(0.01)
        load(socket, 3 * KEYS, "set", pipeline=64)
        if vm_kib(process.pid, "VmRSS") < 500_000:
            raise SystemExit("less than 500 MB of data")
        yield process.pid, socket
    finally:
        process.kill()
        process.wait()


def load(socket: Path, requests: int, test: str, pipeline: int = 1) -> dict[str, float]:
    """One run of redis-benchmark: requests a second and latencies in milliseconds."""
    words = f"-t {test} -r {KEYS} -d {VALUE} -n {requests} -c 50 -P {pipeline} --csv".split()
    command = ["redis-benchmark", "-s", str(socket), *words]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (row,) = csv.DictReader(text.splitlines())
    return {key: float(value) for key, value in row.items() if key != "test"}


@contextmanager
def observed(pid: int, words: list[str]) -> Iterator[None]:
    """memtop batch at 1 Hz, once its first sample is out."""
    command = [sys.executable, "-m", "memtop", "batch", "-p", str(pid), "-d", "1", "--json", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise SystemExit("memtop ended")
        drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        yield
        process.terminate()
        drain.wait()
    finally:
        process.kill()
        process.wait()


def main() -> None:
    chosen = options(__doc__, pairs=4, requests=300_000)
    if not shutil.which("redis-server") or not shutil.which("redis-benchmark"):
        print("left out: redis-server is not installed")
        return
    results: dict[str, dict[str, list[dict[str, float]]]] = {
        test: {way: [] for way in WAYS} for test in ("set", "get")
    }
    with tempfile.TemporaryDirectory() as directory, server(Path(directory)) as (pid, socket):
        load(socket, chosen.requests, "set")  # warms up
        size = vm_kib(pid, "VmRSS") >> 10
        for turn in range(chosen.pairs):
            ways = list(WAYS.items())
            first = turn % len(ways)  # no way is always the first
            for way, words in ways[first:] + ways[:first]:
                with observed(pid, words) if words else nullcontext():
                    for test, by_way in results.items():
                        by_way[way].append(load(socket, chosen.requests, test))
    report = Report(
        "redis",
        f"redis-server with {size} MiB, under redis-benchmark, observed at 1 Hz",
        ["load", "observer", "requests/s", "of alone", "p50 ms", "p99 ms"],
        f"{VALUE} B values, {KEYS:,} keys, 50 connections, {chosen.pairs} runs each in turn; 'of alone': "
        "median over the rounds of the ratio to the run without an observer in the same round; tracking: "
        "within the default --max-cost, which makes samples rarer under this load.",
    )
    for test, by_way in results.items():
        alone = [run["rps"] for run in by_way["no observer"]]
        for way, runs in by_way.items():
            rates = [run["rps"] for run in runs]
            ratio = median(rate / base for rate, base in zip(rates, alone, strict=True))
            report.add(
                test,
                way,
                f"{median(rates):,.0f}",
                f"{ratio:.3f}",
                *(f"{median(run[key] for run in runs):.3f}" for key in ("p50_latency_ms", "p99_latency_ms")),
            )
    report.finish(chosen.write)


if __name__ == "__main__":
    main()
