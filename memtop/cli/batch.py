"""``memtop batch``: samples on stdout, as JSON lines or as tables like ``top -b``."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence

from memtop.cli.exits import ExitCode, complain
from memtop.cli.options import add_pids, add_sampling, positive
from memtop.cli.targets import opened
from memtop.linux import access
from memtop.model.sample import Life, Sample
from memtop.sampler.target import Target

Writer = Callable[[Sample], None]


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = argparse.ArgumentParser(prog="memtop batch", description="Prints samples of processes.")
    add_pids(p, required=True)
    p.add_argument(
        "-n",
        type=positive,
        default=None,
        metavar="N",
        help="how many samples (default: until the process ends)",
    )
    p.add_argument("--json", action="store_true", help="one JSON object a line and sample")
    p.add_argument(
        "--pages", action="store_true", help="with --json: the written pages of each mapping, as runs"
    )
    add_sampling(p)
    return p


def run(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit code."""
    p = parser()
    options = p.parse_args(argv)
    if options.pages and not options.json:
        p.error("--pages goes with --json")
    access.set_readonly(options.readonly)
    write = _json_writer(options.pages) if options.json else _table_writer()
    with opened(options.pid, options.track, swap=options.swap) as targets:
        return _sample(targets, options.n, options.delay, write)


def _sample(targets: list[Target], number: int | None, delay: float, write: Writer) -> int:
    """Ticks all targets ``number`` times; deadlines are kept, missed ones skipped."""
    due = time.monotonic()
    taken = 0
    alive = list(targets)
    while alive and (number is None or taken < number):
        if taken:
            due = max(due + delay, time.monotonic())
            time.sleep(max(due - time.monotonic(), 0.0))
        for target in list(alive):
            sample = target.tick()
            if sample.message:
                complain(sample.message)
            if sample.life is Life.ENDED:  # its last picture was printed when it was new
                alive.remove(target)
            else:
                write(sample)
        taken += 1
    return ExitCode.DONE if alive or number is None else ExitCode.NO_PROCESS


def _json_writer(pages: bool) -> Writer:
    from memtop.stream.jsonl import sample_line

    def write(sample: Sample) -> None:
        sys.stdout.write(sample_line(sample, pages=pages))
        sys.stdout.flush()

    return write


def _table_writer() -> Writer:
    from memtop.stream.table import sample_text

    width = shutil.get_terminal_size((120, 40)).columns

    def write(sample: Sample) -> None:
        sys.stdout.write(sample_text(sample, width))
        sys.stdout.flush()

    return write
