"""``memtop doctor``: what this kernel, this user and a process allow, tracker by tracker, with remedies."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from memtop.cli.exits import ExitCode, code_of
from memtop.cli.options import Parser, add_pids
from memtop.linux.errors import MemtopError
from memtop.linux.features import Feature, KernelFeatures, probe_kernel, probe_target
from memtop.linux.process import ProcessHandle

WORDS = {True: "yes", False: "no", None: "unknown"}
STYLES = {True: "green", False: "red", None: "yellow"}


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = Parser(
        prog="memtop doctor", description="Says what this kernel, this user and these processes allow."
    )
    add_pids(p, required=False)
    return p


def run(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit code: that of the first process that can't be looked at at all."""
    options = parser().parse_args(argv)
    console = Console(
        width=max(100, shutil.get_terminal_size().columns) if not sys.stdout.isatty() else None,
        highlight=False,
        markup=False,
        emoji=False,
    )
    kernel = probe_kernel()
    console.print(Text(f"This kernel ({kernel.release}) and this user", style="bold"))
    console.print(_features(kernel.features()))
    console.print(Text("Trackers", style="bold"))
    console.print(_trackers(kernel, []))
    code = ExitCode.DONE
    for pid in options.pid or []:
        code = code or _target(pid, kernel, console)
    return code


def _target(pid: int, kernel: KernelFeatures, console: Console) -> ExitCode:
    try:
        handle = ProcessHandle.open(pid)
    except MemtopError as error:
        console.print(Text(f"Process {pid}", style="bold"))
        console.print(Text(f"  {error.sentence}\n"))
        return code_of(error)
    try:
        process, target = handle.describe(), probe_target(handle)
        console.print(Text(f"Process {pid} ({process.comm}, user {process.user})", style="bold"))
        console.print(_features(target.features()))
        console.print(Text(f"Trackers on process {pid}", style="bold"))
        console.print(_trackers(kernel, target.features()))
    finally:
        handle.close()
    return ExitCode.DONE


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _row(table: Table, name: str, works: bool | None, why: str, remedy: str) -> None:
    table.add_row(Text(name), Text(WORDS[works], style=STYLES[works]), Text(why), Text(remedy))


def _features(features: Iterable[Feature]) -> Table:
    table = _table("WHAT", "WORKS", "WHY", "WHAT TO DO")
    for feature in features:
        _row(table, feature.name, feature.works, feature.reason, feature.remedy)
    return table


def _trackers(kernel: KernelFeatures, target: Sequence[Feature]) -> Table:
    """One line a tracker: usable if all that it needs works; else the first thing that does not."""
    table = _table("TRACKER", "USABLE", "EXACTNESS AND COST", "WHAT IS MISSING")
    reading = [kernel.pagemap, *(f for f in target if f.name in ("maps", "pagemap"))]
    attach = [f for f in target if f.name not in ("maps", "pagemap", "clear_refs")]
    clearing = [f for f in target if f.name == "clear_refs"]
    rows = (
        (
            "write-protect",
            [*reading, kernel.pagemap_scan, kernel.wp_async, kernel.ptrace, kernel.injection, *attach],
            "exact to the page; one thread stops once for under a millisecond, then one write fault a "
            "written page and tick; huge pages split on their first write",
        ),
        (
            "soft-dirty",
            [*reading, kernel.soft_dirty, *clearing],
            "approximate (--freeze stops the process at each tick, and misses nothing); the whole process; "
            "other soft-dirty users (CRIU) lose their state",
        ),
        ("off", reading, "residency, huge pages and faults only; no side effects"),
    )
    for name, needs, say in rows:
        missing = next((f for f in needs if f.works is False), None)
        unsure = next((f for f in needs if f.works is None), None)
        works = False if missing else None if unsure else True
        culprit = missing or unsure
        text = f"{culprit.name}: {culprit.reason}" if culprit else ""
        table.add_row(Text(name), Text(WORDS[works], style=STYLES[works]), Text(say), Text(text))
    return table
