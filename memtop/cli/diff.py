"""``memtop diff``: what differs between two dumps."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from memtop.cli.exits import ExitCode
from memtop.cli.options import Parser
from memtop.dump.diff import compare, open_memory
from memtop.stream.differences import JsonWriter, TextWriter, Totals, Writer


def run(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit code."""
    p = Parser(
        prog="memtop diff",
        description="Prints what differs between two dumps: mappings, and pages that changed, appeared or "
        "vanished.",
        epilog=f"exit code: 0 nothing differs, {ExitCode.DIFFERENT} something does",
    )
    p.add_argument("a", metavar="A", help="a snapshot (any of a chain) or an ELF core")
    p.add_argument("b", metavar="B", help="another one")
    p.add_argument("--runs", action="store_true", help="each run of pages, too")
    p.add_argument("--hex", action="store_true", help="and the bytes that differ")
    p.add_argument("--json", action="store_true", help="one JSON object a line, runs included: docs/dumps.md")
    options = p.parse_args(argv)
    with contextlib.ExitStack() as stack:
        a = open_memory(options.a)
        stack.callback(a.close)
        b = open_memory(options.b)
        stack.callback(b.close)
        writer: Writer
        if options.json:
            writer = JsonWriter(a, b, bytes_too=options.hex)
        else:
            writer = TextWriter(a, b, runs=options.runs, bytes_too=options.hex)
        sys.stdout.write(writer.begin(a, b))
        totals = Totals()
        for diff in compare(a, b):
            totals.add(diff)
            if diff.differs:
                sys.stdout.writelines(writer.mapping(diff))
        sys.stdout.write(writer.end(totals))
        return ExitCode.DIFFERENT if totals.mappings else ExitCode.DONE
