"""``memtop record``: samples into a file or a pipe, for ``memtop replay``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO

from memtop.cli.options import add_number, add_pids, add_sampling, care_of
from memtop.cli.rounds import sample_all
from memtop.cli.targets import opened
from memtop.linux import access
from memtop.linux.errors import Failed


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = argparse.ArgumentParser(
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


@contextmanager
def new_file(name: str) -> Iterator[BinaryIO]:
    """Opens what did not exist before, for its owner alone: a recording tells what a process is and does.

    A file that nothing was written to is taken away again.

    Args:
        name: ``-`` for standard output.

    Raises:
        Failed: it exists already, as a file or as a link.
        OSError: it can't be made.
    """
    if name == "-":
        yield sys.stdout.buffer
        return
    try:
        # O_EXCL follows no link either.
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Failed(f"{name} exists already", "memtop writes over no file", "name another") from None
    with open(fd, "wb") as file:
        try:
            yield file
        finally:
            if os.fstat(fd).st_size == 0:
                with suppress(OSError):
                    os.unlink(name)
