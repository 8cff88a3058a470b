"""The command line: one module a verb; without a verb, the live screen.

Nothing here imports a verb before it is asked for: ``--version`` costs no Textual, ``batch`` no screen.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib import import_module

from memtop import __version__
from memtop.cli.exits import guarded

VERBS = {
    "live": "show live what a process does to its memory (the default)",
    "demo": "start a built-in workload and open the live screen on it",
    "batch": "print samples as JSON lines or text tables",
    "scan": "print the pages that an expression matches",
    "record": "write samples to a file or a pipe",
    "replay": "open the same screen on a recording, also as it comes: ssh … record -o - | memtop replay -",
    "shot": "a picture of the screen as SVG or text, without a terminal",
    "dump": "write the memory of a process to a file, with a pause of milliseconds",
    "verify": "check a snapshot and all that it builds on",
    "core": "write an ELF core (or another dump) from a snapshot",
    "diff": "what differs between two snapshots or cores",
    "doctor": "what this kernel, this user and a process allow, and what to do about it",
}

SCREENS = ("live", "demo", "replay")
"""Verbs that end up in ``ui.app``, which turns the collector on again."""

USAGE = """usage: memtop                       choose processes from a list
       memtop -p PID[,PID…]         the live screen of these; also --name PATTERN [--children]
       memtop -- COMMAND …          start a command and look at it
       memtop VERB [options]        memtop VERB --help says more
"""


def _help() -> str:
    verbs = "\n".join(f"  {verb:8} {what}" for verb, what in VERBS.items())
    return (
        f"{USAGE}\nShows live what a Linux process does to its memory.\n\nverbs:\n{verbs}\n\n"
        "options:\n  --version  print the version\n  --help     print this\n\n"
        "exit codes: 0 done, 1 failed, 2 usage, 3 no such process, 4 not permitted, 5 kernel can't, "
        "6 diff: they differ, 128+n signal n\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs memtop; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["--version"]:
        print(f"memtop {__version__}")
        return 0
    if arguments[:1] in (["--help"], ["-h"], ["help"]):
        print(_help(), end="")
        return 0
    verb = "live"
    if arguments and not arguments[0].startswith("-"):
        verb = arguments.pop(0)
        if verb not in VERBS:
            print(f"memtop: there is no verb {verb!a}\n{USAGE}", end="", file=sys.stderr)
            return 2
    if verb in SCREENS:
        gc.disable()  # till the first picture: looking through what is imported, and stays, is slow
    return int(import_module(f"memtop.cli.{verb}").run(arguments))
