"""The live screen (the default verb): ``memtop -p PID[,PID…]``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from memtop.cli.log import logged
from memtop.cli.options import add_pids, add_sampling, care_of
from memtop.cli.targets import open_targets
from memtop.linux import access
from memtop.model.actions import Method


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = argparse.ArgumentParser(prog="memtop", description="Shows live what processes do to their memory.")
    add_pids(p, required=True)
    add_sampling(p)
    add_screen(p)
    return p


def add_screen(p: argparse.ArgumentParser) -> None:
    """Options of the screen itself, shared with ``demo``."""
    p.add_argument("--ascii", action="store_true", help="draw with ASCII only")
    p.add_argument(
        "--peek",
        action="store_true",
        help="with --readonly: allow the map's hex view, which reads contents of memory",
    )
    p.add_argument(
        "--no-mouse", action="store_true", help="leave the mouse to the terminal (its own copy works)"
    )


def run(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit code."""
    options = parser().parse_args(argv)
    return show(options.pid, options)


def show(pids: Sequence[int], options: argparse.Namespace) -> int:
    """Opens the processes and the screen on them."""
    access.set_readonly(options.readonly, peek=options.peek)
    with logged(options.log, ["-p", ",".join(map(str, pids))]):
        return _show(pids, options)


def _show(pids: Sequence[int], options: argparse.Namespace) -> int:
    access.drop_capabilities()
    targets = open_targets(pids, swap=options.swap, care=care_of(options))
    # Only now: importing Textual costs ten times what all before it does.
    from memtop.sampler.loop import Sampler
    from memtop.ui import run as run_screen

    sampler = Sampler(targets, options.delay)
    try:
        return run_screen(
            sampler,
            [target.process for target in targets],
            readonly=options.readonly,
            ascii=options.ascii,
            arm_at_start=None if options.track is Method.OFF else options.track,
            mouse=not options.no_mouse,
        )
    finally:
        sampler.stop()
