"""``memtop batch``: samples on stdout, as JSON lines or as tables like ``top -b``."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence

from memtop.cli.log import logged
from memtop.cli.options import Parser, add_number, add_pids, add_sampling, care_of
from memtop.cli.rounds import sample_all
from memtop.cli.targets import opened
from memtop.linux import access
from memtop.model.sample import Sample

Writer = Callable[[Sample], None]


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = Parser(prog="memtop batch", description="Prints samples of processes.")
    add_pids(p, required=True)
    add_number(p)
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
    with logged(options.log, ["batch", *argv]):
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    access.drop_capabilities()
    write = _json_writer(options.pages) if options.json else _table_writer()
    with opened(options.pid, options.track, swap=options.swap, care=care_of(options)) as targets:
        return sample_all(targets, options.n, options.delay, write)


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
