"""``memtop core``: an ELF core from a snapshot, or another dump."""

from __future__ import annotations

from collections.abc import Sequence

from memtop.cli.exits import ExitCode, complain, require_stdout
from memtop.cli.formats import add_format, check_format
from memtop.cli.options import Parser
from memtop.dump.convert import convert
from memtop.dump.image import PageKind
from memtop.model.layout import PAGE
from memtop.model.names import clean_text
from memtop.model.units import size


def run(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit code."""
    p = Parser(
        prog="memtop core", description="Writes an ELF core of the moment that a snapshot holds, for gdb."
    )
    p.add_argument("snapshot", metavar="SNAPSHOT", help="any of a chain; its parents lie beside it")
    p.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="a new file, or - for standard output"
    )
    add_format(p, "an ELF core (default), a snapshot that needs no parents, or a directory of CRIU images")
    options = p.parse_args(argv)
    check_format(p, options)
    if options.output == "-":
        require_stdout()
    image = convert(options.snapshot, options.output, options.format, compress=options.zstd)
    say = complain if options.output == "-" else print
    stored = size(image.pages_of(PageKind.DATA) * PAGE)
    say(f"{clean_text(options.output)}: {stored} of {image.origin.comm} {image.origin.pid}")
    say("  " + "; ".join((image.statement.consistency.meaning, *image.statement.doubts)))
    return ExitCode.DONE
