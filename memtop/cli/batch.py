"""``memtop batch``: samples on stdout, as JSON lines or as tables like ``top -b``."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Sequence

from memtop.cli.exits import ExitCode, complain
from memtop.cli.options import add_pids, add_sampling, care_of, positive
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
    access.drop_capabilities()
    write = _json_writer(options.pages) if options.json else _table_writer()
    with opened(options.pid, options.track, swap=options.swap, care=care_of(options)) as targets:
        return _sample(targets, options.n, options.delay, write)


def _sample(targets: list[Target], number: int | None, delay: float, write: Writer) -> int:
    """Samples all targets ``number`` times each; deadlines are kept, missed ones skipped."""
    taken = dict.fromkeys(targets, 0)
    due, done = time.monotonic(), False
    while taken:
        for target in list(taken):
            if target.wait() > 0:
                continue
            sample = target.tick()
            if sample.message:
                complain(sample.message)
            if sample.life is Life.ENDED:  # its last picture was printed when it was new
                del taken[target]
                continue
            began = time.thread_time()
            write(sample)
            target.charge(time.thread_time() - began)
            taken[target] += 1
            if taken[target] == number:
                done = True
                del taken[target]
        if taken:
            due = max(due + delay, time.monotonic())
            time.sleep(max(due - time.monotonic(), 0.0))
    return ExitCode.DONE if done or number is None else ExitCode.NO_PROCESS


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
