"""What one row of the table says, as runs of styled text."""

from __future__ import annotations

from dataclasses import dataclass

from memtop.model.sample import MappingSample
from memtop.model.units import DASH
from memtop.ui.columns import (
    ADDRESS,
    EXACT,
    KIND,
    MARKED,
    NAME,
    PERMS,
    TREND,
    WRITTEN,
    Layout,
    marked_runs,
    name_runs,
    short_title,
    written_runs,
)
from memtop.ui.glyphs import SELECTED
from memtop.ui.lines import Run, cut_path, fill
from memtop.ui.rows import Group
from memtop.ui.theme import Palette

LOWER_BOUND = "≥"


@dataclass(frozen=True, slots=True)
class Drawing:
    """How rows are drawn.

    Attributes:
        tracking: a tracker is in charge.
        chosen: it is the selected row.
        gap: tracking had a gap since the mark.
    """

    layout: Layout
    palette: Palette
    tracking: bool
    chosen: bool
    gap: bool

    @property
    def mark(self) -> Run:
        """What stands in front of the row."""
        return (f"{SELECTED} " if self.chosen else "  ", self.palette.accent)


def mapping_runs(m: MappingSample, how: Drawing, since_mark: int | None, trend: str) -> list[Run]:
    """A mapping, without its map."""
    p, runs = how.palette, [how.mark]
    for column, width in how.layout.columns:
        if column is WRITTEN:
            runs += written_runs(m, width, how.tracking, p)
        elif column is MARKED:
            if since_mark is None:
                runs.append((fill(DASH, width - 1, right=True) + " ", p.faint))
            else:
                runs += marked_runs(m, since_mark, width, how.gap, p)
        elif column is TREND:
            known = m.written_pages is not None
            runs.append((fill(trend if known else DASH, width), p.spark if known else p.faint))
        elif column is NAME:
            runs += name_runs(m, width, p)
        elif column.cell is not None:
            runs += column.cell(m, width, p)
        runs.append((" " * how.layout.gap, p.text))
    return runs


def group_runs(group: Group, how: Drawing) -> list[Run]:
    """A group's head: sums."""
    p, m, runs = how.palette, group.row, [how.mark]
    for column, width in how.layout.columns:
        if column is ADDRESS:
            runs.append((fill(f"{len(group.members)} map{'s' * (len(group.members) > 1)}", width), p.dim))
        elif column is KIND and group.kinds > 1:
            runs.append((fill(f"{group.kinds} kinds", width), p.dim))
        elif column in (PERMS, TREND, EXACT):
            runs.append((" " * width, p.text))
        elif column is WRITTEN:
            text, style = written_runs(m, width, how.tracking, p)[0]
            runs.append((text if group.whole or m.written_bytes_per_s is None else _bounded(text), style))
        elif column is MARKED:
            if group.since_mark is None:
                runs.append((fill(DASH, width - 1, right=True) + " ", p.faint))
            else:
                ((text, style),) = marked_runs(m, group.since_mark, width, how.gap, p)
                runs.append((text if group.whole else _bounded(text), style))
        elif column is NAME:
            mark = "▾ " if group.open else "▸ "
            runs += [(mark, p.accent), *name_runs(m, width - 2, p)]
        elif column.cell is not None:
            runs += column.cell(m, width, p)
        runs.append((" " * how.layout.gap, p.text))
    return runs


def _bounded(text: str) -> str:
    """The same number as a lower bound; its last cell is that of its mark, and a word stays as it is."""
    number = text[:-1].lstrip(" ")
    if not number[:1].isdigit():
        return text
    return (LOWER_BOUND + number).rjust(len(text) - 1) + text[-1]


def gone_runs(m: MappingSample, how: Drawing) -> list[Run]:
    """The last row of a mapping that is gone: all of it faint, and its name says so."""
    p, runs = how.palette, [how.mark]
    for column, width in how.layout.columns:
        if column is WRITTEN:
            runs.append((fill("[gone]", width - 1, right=True) + " ", p.faint))
        elif column is NAME:
            marked = "" if any(c is WRITTEN for c, _ in how.layout.columns) else "[gone] "
            room = width - len(marked)
            runs.append((marked + fill(cut_path(short_title(m.mapping), room), room), p.faint))
        elif column in (TREND, MARKED, EXACT) or column.cell is None:
            runs.append((" " * width, p.faint))
        else:
            runs += [(text, p.faint) for text, _ in column.cell(m, width, p)]
        runs.append((" " * how.layout.gap, p.faint))
    return runs
