"""Options that several verbs share, and their checks."""

from __future__ import annotations

import argparse

from memtop.model.actions import Method
from memtop.sampler.source import LONGEST, SHORTEST


def interval(text: str) -> float:
    """Seconds between SHORTEST and LONGEST."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not SHORTEST <= value <= LONGEST:  # also refuses nan
        raise argparse.ArgumentTypeError(f"{text} is not between {SHORTEST} and {LONGEST:.0f} seconds")
    return value


def pids(text: str) -> list[int]:
    """``PID[,PID…]``, each once, in this order."""
    answer: list[int] = []
    for part in text.split(","):
        if not (part.isascii() and part.isdigit()) or not 0 < int(part) < 2**31:
            raise argparse.ArgumentTypeError(f"{part!r} is no process id")
        if int(part) not in answer:
            answer.append(int(part))
    return answer


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def add_pids(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """``-p``."""
    parser.add_argument(
        "-p", "--pid", type=pids, required=required, metavar="PID[,PID…]", help="the processes to look at"
    )


def add_sampling(parser: argparse.ArgumentParser, *, track: Method = Method.OFF) -> None:
    """``-d``, ``--track``, ``--swap``, ``--readonly``."""
    parser.add_argument(
        "-d",
        "--delay",
        type=interval,
        default=1.0,
        metavar="SECONDS",
        help=f"seconds between samples, {SHORTEST} to {LONGEST:.0f} (default: 1)",
    )
    parser.add_argument(
        "--track",
        type=Method,
        choices=list(Method),
        default=track,
        metavar="|".join(m.value for m in Method),
        help=f"how writes are tracked (default: {track.value})",
    )
    parser.add_argument(
        "--swap",
        action="store_true",
        help="read swap per mapping from smaps at every sample: expensive, and the process's mmap calls wait",
    )
    parser.add_argument(
        "--readonly", action="store_true", help="make every action on a process impossible: only look"
    )
