"""``memtop replay``: the live screen on a recording, from a file or as it comes through a pipe."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from memtop.cli.live import add_screen, wants_mouse
from memtop.cli.options import Parser, positive
from memtop.linux.errors import Failed
from memtop.stream.recording import Recording, open_recording


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = Parser(
        prog="memtop replay",
        description="Shows a recording: of memtop record, or of memtop batch --json --pages.",
        epilog="ssh HOST memtop record -p PID -o - | memtop replay -   is the live screen of another host",
    )
    p.add_argument("file", metavar="FILE", help="the recording, or - for standard input")
    p.add_argument(
        "--at", type=positive, metavar="N", help="start at its Nth sample, standing (default: play it)"
    )
    add_screen(p)
    return p


def run(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit code."""
    options = parser().parse_args(argv)
    recording = _from_stdin() if options.file == "-" else open_recording(options.file)
    processes = recording.processes()
    from memtop.stream.replay import ReplaySource
    from memtop.ui import run as run_screen

    return run_screen(
        lambda: ReplaySource(recording, options.at),
        processes,
        ascii=options.ascii,
        mouse=wants_mouse(options),
        theme=options.theme,
    )


def _from_stdin() -> Recording:
    """The recording on standard input; the terminal takes its place, since the keys come from there."""
    if os.isatty(0):
        raise Failed("nothing to replay", "standard input is a terminal", "name a file, or pipe a recording")
    fd = os.dup(0)
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError as error:
        os.close(fd)
        why = error.strerror or str(error)
        raise Failed("the screen can't open", f"no terminal to read keys from: {why}") from None
    os.dup2(terminal, 0)
    os.close(terminal)
    return Recording(fd, "standard input")
