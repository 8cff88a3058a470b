"""The options about the format of a dump: what ``memtop dump`` and ``memtop core`` share."""

from __future__ import annotations

import argparse

from memtop.cli.options import Parser
from memtop.dump.job import Format


def add_format(parser: Parser, meaning: str) -> None:
    """Adds ``--format``, explained by ``meaning``, and ``--zstd``."""
    parser.add_argument(
        "--format",
        type=Format,
        choices=list(Format),
        default=Format.CORE,
        metavar="|".join(f.value for f in Format),
        help=meaning,
    )
    parser.add_argument(
        "--zstd", action="store_true", help="snapshot: compress (takes the zstandard library)"
    )


def check_format(parser: Parser, options: argparse.Namespace, *of_snapshots: str) -> None:
    """Complains of options that only a snapshot has, by their names, and ends memtop."""
    names = [*of_snapshots, "zstd"]
    if options.format is not Format.SNAPSHOT and any(getattr(options, name) for name in names):
        said = " and ".join(f"--{name}" for name in names)
        parser.error(f"{said} {'go' if len(names) > 1 else 'goes'} with --format snapshot")
