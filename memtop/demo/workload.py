"""``python -m memtop.demo.workload``: the process that ``memtop demo`` opens on.

Prints ``ready`` once all memory is in place, then writes until SIGTERM, ``--seconds``, or the end of its
standard input. A parent holds the other end of that pipe, so however the parent dies, this ends too.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from memtop.demo.patterns import PATTERNS, STEPS


def run(seed: int, seconds: float) -> None:
    """Maps everything, says so, and writes.

    Args:
        seed: decides which pages are written.
        seconds: when to end.
    """
    # Each pattern draws from a stream of its own: one that can't be had here leaves the others as they are.
    running = [pattern(Random(f"{seed} {pattern.__name__}")) for pattern in PATTERNS]
    for pattern in running:
        next(pattern, None)
    with suppress(BrokenPipeError):
        print("ready", flush=True)
    end = time.monotonic() + seconds
    due = time.monotonic()
    while due < end:
        for pattern in running:
            next(pattern, None)
        now = time.monotonic()
        due = max(due + 1 / STEPS, now)  # what was missed while stopped is not made up for
        if select.select([0], [], [], due - now)[0] and not os.read(0, 4096):
            return


def call_itself(name: str) -> None:
    """Shows this name instead of the interpreter's path, as comm and as command line (proc_pid_stat(5))."""
    own = Path("/proc/self")
    (own / "comm").write_text(name, encoding="ascii")
    fields = (own / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start, arg_end: fields 48 and 49
    with (own / "mem").open("r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(name.encode().ljust(end - start, b"\0")[: end - start])


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="memtop.demo.workload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so many seconds")
    parser.add_argument("--seed", type=int, default=1, help="decides which pages are written")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    with suppress(OSError):
        call_itself("memtop-demo")
    run(options.seed, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
