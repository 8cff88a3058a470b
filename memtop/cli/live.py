"""The live screen (the default verb): ``memtop``, ``memtop -p PID[,PID…]``, ``memtop -- COMMAND``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from memtop.cli.command import Command, divided
from memtop.cli.log import logged
from memtop.cli.opening import Opening, find
from memtop.cli.options import Parser, add_pids, add_sampling, pattern
from memtop.linux import access
from memtop.linux.errors import MemtopError, ProcessGone
from memtop.model.actions import Method
from memtop.ui import THEMES


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = Parser(
        prog="memtop",
        usage="memtop [-p PID[,PID…] | --name PATTERN] [options] [-- COMMAND …]",
        description="Shows live what processes do to their memory. Without a process it lists all.",
        epilog="A COMMAND is started and looked at; what it prints goes to a file named on stderr, and "
        "memtop ends with its exit code. q ends it, too (SIGTERM).",
    )
    whom = p.add_mutually_exclusive_group()
    add_pids(whom, required=False)
    whom.add_argument(
        "--name",
        type=pattern,
        metavar="PATTERN",
        help="all processes whose name or command line matches this regular expression",
    )
    p.add_argument(
        "--children", action="store_true", help="and all processes that descend from those, also later"
    )
    add_sampling(p)
    add_screen(p)
    return p


def add_screen(p: argparse.ArgumentParser) -> None:
    """Options of the screen itself, shared with ``demo`` and ``replay``."""
    p.add_argument(
        "--ascii",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="draw with ASCII only, or never; default: where the locale is not UTF-8",
    )
    p.add_argument(
        "--theme",
        choices=THEMES,
        help="colours (default: mono with NO_COLOR, else those of the settings, or what the terminal has)",
    )
    p.add_argument(
        "--peek",
        action="store_true",
        help="with --readonly: allow the map's hex view, which reads contents of memory",
    )
    p.add_argument(
        "--mouse",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="take the mouse from the terminal, or leave it (its own copy works then); default: take it, but "
        "not over ssh, where each of its moves would be sent",
    )


def wants_mouse(options: argparse.Namespace) -> bool:
    """``--mouse``, ``--no-mouse``, or what suits the connection."""
    if options.mouse is not None:
        return bool(options.mouse)
    return not (os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"))


def run(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit code."""
    argv, command = divided(argv)
    p = parser()
    options = p.parse_args(argv)
    if command is None:
        return show(_chosen(options), options)
    if options.pid or options.name:
        p.error("a command stands alone: without -p and --name")
    with Command(command) as child:
        code = show([child.pid], options)
        return child.code_or(code)


def _chosen(options: argparse.Namespace) -> list[int]:
    """The processes that the command line names; empty: none."""
    pids: list[int] = options.pid or []
    if options.name is None and not options.children:
        return pids
    from memtop.linux.processes import named, with_children  # psutil takes time to import

    if options.name is not None:
        pids = [each.pid for each in named(options.name)]
        if not pids:
            raise ProcessGone(f"no process matches {options.name.pattern!r}")
    return with_children(pids) if options.children else pids


def show(pids: Sequence[int], options: argparse.Namespace, *, can_pick: bool = True) -> int:
    """Opens the processes and the screen on them, or first the list of all where there are none."""
    access.set_readonly(options.readonly, peek=options.peek)
    with logged(options.log, ["-p", ",".join(map(str, pids))] if pids else []):
        return _show(pids, options, can_pick)


def _show(pids: Sequence[int], options: argparse.Namespace, can_pick: bool) -> int:
    access.drop_capabilities()
    shown = pids
    while True:
        if not pids:
            from memtop.ui import pick

            pids, code = pick(ascii=options.ascii, mouse=wants_mouse(options), theme=options.theme)
            pids = pids or shown  # Esc in the list goes back to where it was opened
            if code or not pids:
                return code
        code = _screen(pids, options, can_pick)
        if code >= 0:
            return code
        shown, pids = pids, ()


def _screen(pids: Sequence[int], options: argparse.Namespace, can_pick: bool) -> int:
    refused: list[MemtopError] = []
    processes = find(pids, refused)
    opening = Opening(pids, processes, options, refused)
    from memtop.ui import run as run_screen

    return run_screen(
        opening.source,
        processes,
        readonly=options.readonly,
        ascii=options.ascii,
        arm_at_start=None if options.track is Method.OFF else options.track,
        mouse=wants_mouse(options),
        can_pick=can_pick,
        theme=options.theme,
        open_dumps=opening.dumps,
    )
