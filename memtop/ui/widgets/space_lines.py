"""The lines of the whole address space: title, blocks with their marks, legend."""

from __future__ import annotations

from collections.abc import Sequence

from memtop.model.layout import Kind
from memtop.model.units import count, size
from memtop.ui.ages import classify
from memtop.ui.glyphs import CELLS, FOLD, RULE
from memtop.ui.lines import Field, Run, fit, width_of
from memtop.ui.space import FAR_GAP, FAR_WIDTH, Space
from memtop.ui.state import ProcessView
from memtop.ui.theme import Palette, over
from memtop.ui.widgets.map_lines import CURSOR, age_fields, join, resident_fields

LETTERS = {
    Kind.ANON: "a",
    Kind.HEAP: "h",
    Kind.STACK: "s",
    Kind.FILE: "f",
    Kind.SHARED: "S",
    Kind.HUGETLB: "H",
    Kind.JIT: "j",
    Kind.GUARD: "g",
    Kind.SPECIAL: "v",
}
"""What stands where a new kind begins: the initial of its name in the legend."""


def space_rows(space: Space, view: ProcessView, label: int, p: Palette, cursor: int) -> list[list[Run]]:
    """All blocks, row by row.

    Args:
        view: of the process, with the sample shown.
        label: cells that an address takes.
        cursor: index of the block that it stands on.
    """
    assert view.sample is not None
    resident = [block.resident for block in space.blocks]
    ages = classify(space.times, resident, view.sample.time, view.marked_at)
    lines: list[list[Run]] = []
    for i, block in enumerate(space.blocks):
        if not lines or block.row != space.blocks[i - 1].row:
            lines.append([(f" {block.start:x}".rjust(label + 1) + "  ", p.dim)])
        runs = lines[-1]
        if block.gap:
            far = block.gap >= FAR_GAP
            runs.append((f"{FOLD}{size(block.gap):>{FAR_WIDTH - 2}}{FOLD}" if far else FOLD, p.faint))
        if block.lettered:
            kind = Kind(block.kind)
            runs.append((LETTERS.get(kind, "?"), p.kinds[kind]))
        style = p.ages[ages[i]]
        runs.append((CELLS[ages[i]], over(style, CURSOR) if i == cursor else style))
    return lines


def space_title(space: Space, p: Palette, width: int) -> list[Run]:
    """What it is and what a cell holds."""
    left: list[Run] = [(f"{RULE * 2} ", p.faint), ("address space", p.strong)]
    right: list[Run] = [(f" one cell {size(space.cell_bytes)} ", p.text), (RULE * 2, p.faint)]
    for text in (
        f"  {count(len(space.table))} mappings",
        f", {count(sum(1 for b in space.blocks if b.gap))} empty stretches folded {FOLD}",
        f"  {space.starts[0]:x}–{space.starts[-1] + space.cell_bytes:x}" if space.starts else "",
    ):
        if width_of(left) + len(text) + width_of(right) + 2 <= width:
            left.append((text, p.dim))
    left.append((" ", p.faint))
    return [*left, (RULE * max(width - width_of(left) - width_of(right), 0), p.faint), *right]


def space_legend(space: Space, view: ProcessView, p: Palette, width: int) -> list[Run]:
    """The kinds that occur, whose initials are their letters, and the ages."""
    there = {block.kind for block in space.blocks if block.lettered}
    kinds: list[Run] = []
    for kind in (kind for kind in LETTERS if kind in there):
        kinds += [(" " if kinds else "", p.text), (LETTERS[kind], p.kinds[kind]), (_rest(kind), p.dim)]
    ages: Sequence[Field] = age_fields(view, p) if view.tracking else resident_fields(p)
    shortest = [Field(field.forms[-1:], field.keep) for field in ages]
    return join(fit([Field((kinds,), 20), *shortest], width - 2, 2), p, "  ")


def _rest(kind: Kind) -> str:
    return {Kind.FILE: "iles", Kind.SPECIAL: "dso"}.get(kind, kind.label[1:])
