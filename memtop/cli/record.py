"""``memtop record``: samples into a file or a pipe, for ``memtop replay``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from memtop.cli.log import logged
from memtop.cli.options import Parser, add_number, add_pids, add_sampling, care_of
from memtop.cli.output import new_file
from memtop.cli.rounds import sample_all
from memtop.cli.targets import opened
from memtop.linux import access


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = Parser(
        prog="memtop record", description="Writes samples of processes to a file that memtop replay shows."
    )
    add_pids(p, required=True)
    p.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="a new file, or - for standard output"
    )
    add_number(p)
    add_sampling(p)
    return p


def run(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit code."""
    options = parser().parse_args(argv)
    access.set_readonly(options.readonly)
    access.drop_capabilities()
    from memtop.stream.delta import DeltaWriter

    with (
        logged(options.log, ["record", *argv]),
        new_file(options.output) as file,  # first: what can't be written is not worth tracking
        opened(options.pid, options.track, swap=options.swap, care=care_of(options)) as targets,
    ):
        stream = DeltaWriter(options.delay)

        def put(lines: str) -> None:
            # A sample goes to the kernel at once: kill -9 leaves whole lines, and one torn at most.
            file.write(lines.encode())
            file.flush()

        put("".join(stream.process_line(target.process) for target in targets))
        return sample_all(
            targets, options.n, options.delay, lambda sample: put(stream.lines(sample)), last=True
        )
