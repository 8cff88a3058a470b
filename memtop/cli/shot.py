"""``memtop shot``: a picture of the screen without a terminal, of a process or of a recording."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import PurePath

from memtop.cli.log import logged
from memtop.cli.options import Parser, add_pids, add_sampling, care_of, positive
from memtop.cli.output import new_file
from memtop.cli.targets import open_targets
from memtop.linux import access
from memtop.linux.errors import Failed
from memtop.model.actions import Method
from memtop.model.sample import Process
from memtop.sampler.source import Source
from memtop.ui import THEMES

FORMS = (".svg", ".txt")
LEAST, MOST = (40, 10), (1000, 500)
"""Columns and rows."""


def screen_size(text: str) -> tuple[int, int]:
    """``COLUMNSxROWS``."""
    columns, _, rows = text.partition("x")
    if not (columns.isascii() and columns.isdigit() and rows.isascii() and rows.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size like 120x40")
    size = int(columns), int(rows)
    if not (LEAST[0] <= size[0] <= MOST[0] and LEAST[1] <= size[1] <= MOST[1]):
        raise argparse.ArgumentTypeError(f"{text} is not between 40x10 and 1000x500")
    return size


def seconds(text: str) -> float:
    """From 0 to a day."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not 0 <= value <= 86400:  # also refuses nan
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 86400 seconds")
    return value


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = Parser(prog="memtop shot", description="A picture of the screen without a terminal.")
    whom = p.add_mutually_exclusive_group(required=True)
    add_pids(whom, required=False)
    whom.add_argument("--replay", metavar="FILE", help="a recording in place of a process")
    p.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="a new file, .svg or .txt; - prints the text"
    )
    p.add_argument(
        "--size", type=screen_size, default=(120, 40), metavar="COLUMNSxROWS", help="(default: 120x40)"
    )
    p.add_argument(
        "--after",
        type=seconds,
        default=5.0,
        metavar="SECONDS",
        help="how long to look at a process before (default: 5)",
    )
    p.add_argument("--at", type=positive, metavar="N", help="of a recording: its Nth sample (default: last)")
    p.add_argument("--ascii", action="store_true", help="draw with ASCII only")
    p.add_argument("--theme", choices=THEMES, help="colours (default: dark; with NO_COLOR: mono)")
    add_sampling(p)
    return p


def run(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit code."""
    p = parser()
    options = p.parse_args(argv)
    form = PurePath(options.output).suffix
    if options.output != "-" and form not in FORMS:
        p.error(f"-o takes a name in {' or '.join(FORMS)}, or -")
    if options.at is not None and options.replay is None:
        p.error("--at goes with --replay")
    access.set_readonly(options.readonly)
    access.drop_capabilities()
    # First: what can't be written is not worth looking at a process for.
    with logged(options.log, ["shot", *argv]), new_file(options.output) as file:
        picture = _replayed(options) if options.replay is not None else _live(options)
        file.write((picture[0] if form == ".svg" else picture[1]).encode())
    return 0


def _live(options: argparse.Namespace) -> tuple[str, str]:
    targets = open_targets(options.pid, swap=options.swap, care=care_of(options))
    from memtop.sampler.loop import Sampler

    sampler = Sampler(targets, options.delay)
    try:
        method = None if options.track is Method.OFF else options.track
        return _take(sampler, [target.process for target in targets], options, options.after, method)
    finally:
        sampler.stop()


def _replayed(options: argparse.Namespace) -> tuple[str, str]:
    from memtop.stream.recording import open_recording
    from memtop.stream.replay import ReplaySource

    recording = open_recording(options.replay)
    processes = recording.processes()
    source = ReplaySource(recording, options.at or sys.maxsize)
    try:
        return _take(source, processes, options, 0.0, None)
    except Failed:
        raise Failed(f"{options.replay} can't be shown", recording.problem) from None
    finally:
        source.stop()


def _take(
    source: Source,
    processes: Sequence[Process],
    options: argparse.Namespace,
    after: float,
    arm: Method | None,
) -> tuple[str, str]:
    """The picture as SVG and as text."""
    from memtop.ui.shot import photograph
    from memtop.ui.theme import named

    picture = photograph(
        source,
        processes,
        size=options.size,
        after=after,
        ascii=options.ascii,
        arm_at_start=arm,
        palette=named(options.theme or ("mono" if os.environ.get("NO_COLOR") else "dark")),
    )
    return picture.svg, picture.text
