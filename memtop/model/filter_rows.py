"""The filter language on mappings: which rows of a sample an expression matches.

A category holds for a mapping that has such pages; so ``written & huge`` is a mapping that has both, not
necessarily the same pages. What a sample does not know of a mapping is unknown, and unknown does not match,
inverted or not.
"""

from __future__ import annotations

from memtop.model.filter import Atom, Field, Tree, evaluate
from memtop.model.layout import Category
from memtop.model.sample import MappingSample


def matches(tree: Tree, row: MappingSample) -> bool | None:
    """Whether a mapping matches; None: it depends on something that is not known of it."""
    return evaluate(tree, lambda atom: _truth(atom, row))


def _truth(atom: Atom, row: MappingSample) -> bool | None:
    if isinstance(atom, Field):
        return atom.holds(row.mapping)
    if atom.category is Category.FILE:  # as the kernel means it: a file, or shared memory
        return row.mapping.inode != 0
    if atom.category is Category.WPALLOWED:
        return row.coverage.tracked and not row.coverage.soft_dirty
    amount = _amount(atom.category, row)
    return None if amount is None else amount > 0


def _amount(category: Category, row: MappingSample) -> int | None:
    """Pages or bytes of that category in the mapping, None where they are not known."""
    if category is Category.SOFT_DIRTY:
        return row.written_pages if row.coverage.soft_dirty else None
    return {
        Category.PRESENT: row.resident,
        Category.WRITTEN: row.written_pages,
        Category.HUGE: row.huge,
        Category.SWAPPED: row.swapped,
        Category.PFNZERO: row.zero,
        Category.GUARD: row.guard,
    }[category]
