"""``memtop verify``: whether a snapshot and all that it builds on is what was written."""

from __future__ import annotations

from collections.abc import Sequence

from memtop.cli.exits import ExitCode
from memtop.cli.options import Parser
from memtop.dump.verify import verify
from memtop.model.names import clean_text
from memtop.model.units import size


def run(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit code."""
    p = Parser(
        prog="memtop verify",
        description="Checks all hashes and totals of a snapshot and of its parents, and their pages.",
    )
    p.add_argument("path", metavar="PATH", help="a snapshot")
    options = p.parse_args(argv)
    found = verify(options.path)
    files = "one file" if found.snapshots == 1 else f"a chain of {found.snapshots} files"
    name, checked = clean_text(options.path), f"{found.pages} pages match their hashes"
    print(f"{name}: whole: {files}, {size(found.bytes)}, {checked}")
    return ExitCode.DONE
