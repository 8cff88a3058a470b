"""``memtop dump``: the memory of a process in a file, with a pause of milliseconds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from memtop.cli.exits import ExitCode, complain, require_stdout
from memtop.cli.formats import add_format, check_format
from memtop.cli.options import Parser, address_range, positive
from memtop.dump.image import Freeze, PageKind
from memtop.dump.job import Format, Job, dump
from memtop.dump.plan import Range
from memtop.dump.progress import Result
from memtop.dump.rounds import Limits
from memtop.linux import access
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.model.layout import PAGE
from memtop.model.names import clean_text
from memtop.model.units import rate, seconds, size


def parser() -> Parser:
    """The verb's options."""
    p = Parser(
        prog="memtop dump",
        description="Writes the memory of a process to a file. It is copied while the process runs; only for "
        "what was written meanwhile does it stand still, for milliseconds.",
    )
    p.add_argument("-p", "--pid", type=positive, required=True, metavar="PID", help="the process")
    p.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="PATH",
        help="a new file (criu: directory), or - for standard output",
    )
    add_format(p, "an ELF core for gdb (default), a snapshot, which others can add to, or CRIU images")
    p.add_argument("--parent", metavar="PATH", help="snapshot: only what has changed since this one")
    p.add_argument(
        "--freeze",
        type=Freeze,
        choices=list(Freeze),
        default=Freeze.FINAL,
        metavar="|".join(f.value for f in Freeze),
        help="stop the process for the end (default), never, or for the whole copy",
    )
    p.add_argument(
        "--rounds", type=positive, default=16, metavar="N", help="while it runs, at most (default: 16)"
    )
    p.add_argument(
        "--max-time",
        type=positive,
        default=60,
        metavar="S",
        help="seconds for the rounds, at most (default: 60)",
    )
    p.add_argument(
        "--range",
        type=address_range,
        metavar="A-B",
        help="nothing but these addresses, hexadecimal as in /proc/PID/maps",
    )
    p.add_argument("--all", action="store_true", help="what coredump_filter and MADV_DONTDUMP leave out, too")
    p.add_argument("--swap", action="store_true", help="swapped pages, too: it brings them back into memory")
    p.add_argument("--readonly", action="store_true", help=argparse.SUPPRESS)
    return p


def run(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit code."""
    p = parser()
    options = p.parse_args(argv)
    check_format(p, options, "parent")
    if options.output == "-":
        require_stdout()
    access.set_readonly(options.readonly)
    access.drop_capabilities()
    job = Job(
        path=options.output,
        format=options.format,
        parent=options.parent,
        freeze=options.freeze,
        limits=Limits(options.rounds, options.max_time),
        take_all=options.all,
        read_swap=options.swap,
        only=(Range(*options.range),) if options.range else (),
        compress=options.zstd,
    )
    with ProcessHandle.open(options.pid) as handle:
        result = dump(job, handle, probe_kernel())
    _tell(result, options.output, options.format)
    return ExitCode.DONE


def _tell(result: Result, path: str, format: Format) -> None:
    """What was written, and how consistent it is."""
    say = complain if path == "-" else print
    image, name = result.image, "standard output" if path == "-" else clean_text(path)
    speed = rate(result.stored / result.took) if result.took else ""
    say(
        f"{name}: {size(result.stored)} of {image.origin.comm} {image.origin.pid} "
        f"in {seconds(result.took)} ({speed})"
    )
    say(f"  {image.statement.sentence}")
    left = [area for area in image.areas if not area.wanted and area.end - area.start > PAGE]
    if left:
        space = size(sum(area.end - area.start for area in left))
        reasons = sorted({area.why for area in left})
        say(f"  left out: {len(left)} mappings ({space}): {'; '.join(reasons)}")
    for kind, words in _WORDS.items():
        pages = image.pages_of(kind)
        if pages:
            say(f"  {size(pages * PAGE)} {words}")
    if format is Format.CRIU:
        say("  memory only: crit shows it, criu can't restore it")
    elif not image.statement.threads:
        say("  memory only: no registers were taken")
    sys.stdout.flush()


_WORDS = {
    PageKind.PARENT: "as in the parent",
    PageKind.SWAPPED: "in swap, not read (--swap)",
    PageKind.UNREADABLE: "unreadable",
}
