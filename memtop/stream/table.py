"""Sample → a text table, as ``top -b`` prints one: a header, then the mappings that matter most."""

from __future__ import annotations

import time
from io import StringIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from memtop.model import units
from memtop.model.coverage import MARKS
from memtop.model.sample import MappingSample, Sample

TALL = 20
"""Mappings shown at most; the rest is summed up in one line."""


def written_text(row: MappingSample) -> str:
    """Written bytes a second with the mark of its exactness, or a dash."""
    if row.written_bytes_per_s is None:
        return units.DASH
    return MARKS.get(row.exactness, "") + units.rate(row.written_bytes_per_s)


def sample_table(sample: Sample, *, tall: int = TALL) -> RenderableType:
    """Header lines and a table; names are plain text, never markup."""
    process, totals, tracker, cost = sample.process, sample.totals, sample.tracker, sample.cost
    clock = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(sample.time))
    tracked = f"{tracker.name} · {tracker.exact.value}" if tracker.name != "off" else "off"
    faults = sample.faults
    head = [
        f"memtop  {process.comm} {process.pid}  {process.user}@{process.host}  {clock}  "
        f"tracking {tracked}  interval {units.seconds(sample.interval) if sample.interval else units.DASH}",
        f"written {units.rate(totals.written_bytes_per_s)}  resident {units.size(totals.resident)}  "
        f"huge {units.percent(totals.huge, totals.resident)}  swap {units.size(totals.swapped)}  "
        f"faults {units.count(faults.minor_per_s)}/s minor {units.count(faults.major_per_s)}/s major",
        f"cost: scan {units.seconds(cost.scan_s)}, "
        f"at most {units.count(cost.target_faults)} write faults in the process",
    ]
    head += [line for line in (tracker.note, sample.message) if line]
    if sample.baseline:
        head.append("baseline: tracking starts here, nothing counts as written yet")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="")
    for column in ("ADDRESS", "SIZE", "RSS", "WRITTEN", "HUGE", "KIND", "NAME"):
        right = column in ("ADDRESS", "SIZE", "RSS", "WRITTEN", "HUGE")
        table.add_column(column, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
    rows = sorted(
        sample.mappings, key=lambda r: (-(r.written_pages or 0), -(r.resident or 0), r.mapping.start)
    )
    for row in rows[:tall]:
        m = row.mapping
        table.add_row(
            f"{m.start:x}",
            units.size(m.size),
            units.size(row.resident),
            written_text(row),
            units.percent(row.huge, row.resident),
            m.kind.label,
            Text(m.name),
        )
    parts: list[RenderableType] = [Text(line) for line in head]
    parts.append(table)
    if len(rows) > tall:
        parts.append(Text(f"… and {len(rows) - tall} mappings more\n"))
    return Group(*parts)


def sample_text(sample: Sample, width: int) -> str:
    """The table as plain text.

    Args:
        width: columns of the paper.
    """
    # A console of its own file: on a closed pipe, rich would end the whole program with its own code.
    console = Console(file=StringIO(), width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(sample_table(sample))
    return captured.get()
