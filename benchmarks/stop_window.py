"""How long an injection stops its target, and how long gdb does to attach and detach: idle and under load."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from _common import ROOT, Report, options, programs, times

sys.path.insert(0, str(ROOT))  # this tree's memtop, not an installed one

from memtop.linux.process import ProcessHandle
from memtop.linux.ptrace import create_userfaultfd

INJECTIONS_PER_ROUND = 5  # gdb takes so much longer
SETTLED = 20  # readings of the clock after which a gap has been seen whole


class Clock:
    """A target that keeps the largest gap between two readings of its clock."""

    def __init__(self, program: Path, directory: Path) -> None:
        path = directory / "gap"
        path.write_bytes(bytes(4096))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 4096)
        self._process = subprocess.Popen([program, path])
        self.pid = self._process.pid

    def gap_during(self, action: Callable[[], object]) -> float:
        """The largest gap in µs that it saw while this was done."""
        self._settle()
        self._shared[:8] = bytes(8)
        self._settle()
        action()
        self._settle()
        return int(struct.unpack_from("=Q", self._shared)[0]) / 1000

    def _settle(self) -> None:
        before = struct.unpack_from("=Q", self._shared, 8)[0]
        while struct.unpack_from("=Q", self._shared, 8)[0] < before + SETTLED:
            time.sleep(0.0005)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def load(processes: int) -> Iterator[None]:
    """So many processes that compute."""
    command = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def gdb(pid: int) -> None:
    """Attaches and detaches."""
    command = ["gdb", "-nx", "-batch", "-p", str(pid), "-ex", "detach"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "detached" not in done.stdout:
        raise SystemExit(f"gdb: {done.stderr.strip()}")


def is_quiet() -> bool:
    """Waits a while until only the target and this program can run; whether it came to that."""
    end = time.monotonic() + 0.1
    while time.monotonic() < end:
        running = Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0]
        if int(running) <= 2:
            return True
        time.sleep(0.002)
    return False


def measure(clock: Clock, rounds: int, idle: bool) -> tuple[dict[str, list[float]], int]:
    """In turn: nothing, injections, gdb, in µs; idle: each begun, if possible, while nobody else ran.

    Returns them, and how often that was not possible.
    """
    seen: dict[str, list[float]] = {"stop": [], "memtop": [], "gdb": [], "nothing": []}
    disturbed = 0

    def keep(key: str, action: Callable[[], object]) -> None:
        nonlocal disturbed
        disturbed += idle and not is_quiet()
        seen[key].append(clock.gap_during(action))

    with ProcessHandle.open(clock.pid) as process:

        def inject() -> None:
            injection = create_userfaultfd(process)
            os.close(injection.fd)
            seen["stop"].append(injection.stop_s * 1e6)

        for _ in range(rounds):
            for _ in range(INJECTIONS_PER_ROUND):
                keep("nothing", lambda: time.sleep(0.003))
                keep("memtop", inject)
            if shutil.which("gdb"):
                keep("gdb", lambda: gdb(clock.pid))
    return seen, disturbed


def distribution(us: Sequence[float]) -> list[str]:
    """Least, median, 90th and 99th percentile, most."""
    if not us:
        return ["–"] * 5
    ordered = sorted(us)

    def at(percent: int) -> float:
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]

    return [f"{value:,.0f}" for value in (ordered[0], median(ordered), at(90), at(99), ordered[-1])]


def main() -> None:
    chosen = options(__doc__, rounds=40)
    cpus = len(os.sched_getaffinity(0))
    report = Report(
        "stop-window",
        "For how long the target stands still (µs)",
        ["", "times", "min", "median", "p90", "p99", "max", "gdb / memtop, medians"],
        f"Seen by the target: the largest gap in its own loop of clock_gettime, which is what it saw while "
        f"nothing was done to it, too. Idle: begun while only the target was running. Load: {cpus} more "
        f"processes compute on {cpus} CPUs. Load average at the beginning: {os.getloadavg()[0]:.1f}. "
        f"`python benchmarks/stop_window.py --rounds {chosen.rounds}`",
    )
    with programs("clock") as (program,), tempfile.TemporaryDirectory() as directory:
        for name, busy in (("idle", 0), ("load", cpus)):
            clock = Clock(program, Path(directory))
            try:
                with load(busy):
                    seen, disturbed = measure(clock, chosen.rounds, idle=not busy)
            finally:
                clock.end()
            if disturbed:
                report.note += f" {disturbed} of the idle ones had to begin while others were running."
            rows = {
                "stop": "memtop, from seize to detach, as it measures it",
                "memtop": "memtop, seen by the target",
                "gdb": "gdb -p PID -batch -ex detach, seen by the target",
                "nothing": "nothing, seen by the target",
            }
            for key, title in rows.items():
                us = seen[key]
                ratio = times(median(seen["gdb"]) / median(us)) if seen["gdb"] and key == "memtop" else ""
                report.add(f"{name}: {title}", len(us), *distribution(us), ratio)
    report.finish(chosen.write)


if __name__ == "__main__":
    main()
