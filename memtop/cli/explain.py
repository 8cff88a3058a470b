"""``memtop scan --explain``: the scans that an expression takes, in words and numbers."""

from __future__ import annotations

from itertools import product

from memtop.linux.scan_masks import compile_masks, masks_text
from memtop.model.filter import EVERYTHING, NOTHING, Atom, Field, Tree, atoms, categories_of, substitute
from memtop.model.layout import Category

ALL = Category(0x1FF)
MOST_FIELDS = 4
"""Conditions on the mapping, of which each doubles the cases."""


def explain(tree: Tree, *, protect: bool) -> str:
    """Some lines; the masks are those of a kernel that knows every category."""
    lines = [f"{tree}"]
    if Category.WRITTEN in categories_of(tree):
        lines.append(
            "written is known of tracked pages only (wpallowed); zero pages and guards are never written ones"
        )
    if protect:
        lines.append("what matches is write-protected in the same call (PM_SCAN_WP_MATCHING), guards never")
    fields = list(dict.fromkeys(atom for atom in atoms(tree) if isinstance(atom, Field)))
    if len(fields) > MOST_FIELDS:
        return "\n".join([*lines, "the masks depend on the mapping"]) + "\n"
    for case in product((True, False), repeat=len(fields)):
        truth: dict[Atom, Tree] = {f: EVERYTHING if c else NOTHING for f, c in zip(fields, case, strict=True)}
        if fields:
            where = " & ".join(("" if c else "!") + str(f) for f, c in zip(fields, case, strict=True))
            lines.append(f"where {where}:")
        lines += _case(substitute(tree, truth), protect, "  " if fields else "")
    return "\n".join(lines) + "\n"


def _case(tree: Tree, protect: bool, indent: str) -> list[str]:
    scans = compile_masks(tree, ALL, protect=protect)
    if not scans:
        return [f"{indent}no page can match"]
    lines = []
    for number, scan in enumerate(scans, 1):
        words, *rows = masks_text(scan)
        lines.append(f"{indent}scan {number} of {len(scans)}: {words}")
        lines += [f"{indent}  {row}" for row in rows]
    return lines
