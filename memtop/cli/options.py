"""Options that several verbs share, and their checks."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from memtop.model.actions import Arm, Care, KeepHuge, Method
from memtop.model.layout import HIGHEST, PAGE
from memtop.model.names import clean_text
from memtop.model.units import LONGEST, SHORTEST


class Parser(argparse.ArgumentParser):
    """A verb's command line. A shell's ``*`` may put any file name there, so complaints are cleaned."""

    def error(self, message: str) -> NoReturn:
        """Ends memtop with exit code 2."""
        super().error(clean_text(message))


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


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None


def address_range(text: str) -> tuple[int, int]:
    """``A-B``, hexadecimal as in maps; whole pages."""
    try:
        start, end = (int(part, 16) for part in text.split("-"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no range of addresses like 7f00-8000") from None
    if not 0 <= start < end <= HIGHEST:
        raise argparse.ArgumentTypeError(f"{text!r} is empty, or not of this address space")
    return start // PAGE * PAGE, -(-end // PAGE) * PAGE


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def percent(text: str) -> float:
    """``PERCENT`` from 0 (no bound) to 100, as a share of 1."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage") from None
    if not 0 <= value <= 100:  # also refuses nan
        raise argparse.ArgumentTypeError(f"{text} is not between 0 (no bound) and 100 percent")
    return value / 100


def add_pids(parser: argparse._ActionsContainer, *, required: bool) -> None:
    """``-p``."""
    parser.add_argument(
        "-p", "--pid", type=pids, required=required, metavar="PID[,PID…]", help="the processes to look at"
    )


def add_number(parser: argparse.ArgumentParser) -> None:
    """``-n``."""
    parser.add_argument(
        "-n",
        type=positive,
        default=None,
        metavar="N",
        help="how many samples (default: until the process ends)",
    )


def add_sampling(parser: argparse.ArgumentParser, *, track: Method = Method.OFF) -> None:
    """What live, demo and batch share: from ``-d`` to ``--readonly``."""
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
        "--arm",
        type=Arm,
        choices=list(Arm),
        default=Arm.ANON,
        metavar="|".join(a.value for a in Arm),
        help="which mappings are tracked: anonymous and private ones (default), files, or all",
    )
    parser.add_argument(
        "--keep-huge",
        type=KeepHuge,
        choices=[KeepHuge.PARTS, KeepHuge.WHOLE],
        nargs="?",
        const=KeepHuge.PARTS,
        default=KeepHuge.NO,
        metavar="parts|whole",
        help="leave huge pages out of tracking, which would split each on its first write: them alone "
        "(parts, the default; cuts mappings, and mremap of those fails meanwhile), or the whole mapping",
    )
    parser.add_argument(
        "--max-cost",
        type=percent,
        default=0.02,
        metavar="PERCENT",
        help="of a processor, for the process's write faults and again for memtop's sampling; samples come "
        "less often to stay below it (default: 2; 0: no bound)",
    )
    parser.add_argument(
        "--freeze",
        action="store_true",
        help="soft-dirty: stop all threads at every sample while it reads and clears: no write is missed",
    )
    parser.add_argument(
        "--swap",
        action="store_true",
        help="read swap per mapping from smaps at every sample: expensive, and the process's mmap calls wait",
    )
    add_log(parser)
    parser.add_argument(
        "--readonly", action="store_true", help="make every action on a process impossible: only look"
    )


def add_log(parser: argparse.ArgumentParser) -> None:
    """``--log``; see ``cli.log``."""
    parser.add_argument(
        "--log",
        metavar="FILE",
        help="append what is done to processes, and what was verified after it, to a file",
    )


def care_of(options: argparse.Namespace) -> Care:
    """What tracking may touch and cost."""
    return Care(options.arm, options.keep_huge, options.max_cost, options.freeze)
