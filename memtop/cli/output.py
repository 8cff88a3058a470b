"""Files that memtop writes: new ones, for their owner alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from memtop.cli.exits import require_stdout
from memtop.linux.errors import Failed


@contextmanager
def new_file(name: str) -> Iterator[BinaryIO]:
    """Opens what did not exist before, for its owner alone: it tells what a process is and does.

    A file that nothing was written to is taken away again.

    Args:
        name: ``-`` for standard output.

    Raises:
        Failed: it exists already, as a file or as a link; or standard output is closed.
        OSError: it can't be made.
    """
    if name == "-":
        require_stdout()
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
            file.flush()
        finally:
            if os.fstat(fd).st_size == 0:
                with suppress(OSError):
                    os.unlink(name)
