"""Who a process is, in one line: what is known of it before anything of it was looked at."""

from __future__ import annotations

from memtop.model.sample import Process
from memtop.model.units import duration
from memtop.ui.lines import Run
from memtop.ui.theme import Palette

WIDE = 104
"""Cells from which on there is room for how long it has run and for its command line."""


def who_runs(process: Process, p: Palette, width: int, time: float | None = None) -> list[Run]:
    """Name and pid first, then as much else as the width has room for.

    Args:
        time: unix seconds up to which it has run; None: nothing is said of that.
    """
    runs: list[Run] = [(" ", p.text)]
    if width >= 76:
        runs.append(("memtop  ", p.accent))
    runs += [(process.comm, p.strong), (f" {process.pid}", p.strong)]
    if width >= 60:
        runs += [("  ", p.text), (f"{process.user}@{process.host}", p.dim)]
    if width >= WIDE and time is not None and process.started:
        runs.append((f"  up {duration(time - process.started)}", p.dim))
    if width >= WIDE and process.cmdline:
        runs += [("  ", p.text), (process.cmdline, p.faint)]
    return runs
