"""``memtop demo``: the live screen on a built-in workload that shows each pattern of writing."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from memtop.cli.live import add_screen, show
from memtop.cli.options import Parser, add_sampling
from memtop.linux.errors import Failed
from memtop.model.actions import Method


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = Parser(prog="memtop demo", description="Starts a built-in workload and opens the live screen on it.")
    add_sampling(p, track=Method.AUTO)
    add_screen(p)
    return p


def run(argv: Sequence[str]) -> int:
    """Runs the verb; the workload ends with it."""
    options = parser().parse_args(argv)
    with workload() as pid:
        return show([pid], options, can_pick=False)


@contextmanager
def workload() -> Iterator[int]:
    """Pid of a running built-in workload; it ends at the end of the block, or when memtop dies.

    Raises:
        Failed: it did not start.
    """
    # Out of the terminal's process group: Ctrl-C is for the screen.
    child = subprocess.Popen(
        [sys.executable, "-m", "memtop.demo.workload"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with child:
        try:
            assert child.stdout is not None
            if child.stdout.readline() != b"ready\n":
                raise Failed("the demo's workload did not start", f"it ended with status {child.wait()}")
            yield child.pid
        finally:
            child.terminate()
