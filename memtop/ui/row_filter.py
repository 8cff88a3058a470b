"""A filter expression on the rows of a sample: thousands of rows, few of them of different kinds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

from memtop.model.filter import categories_of, parse
from memtop.model.filter_rows import matches
from memtop.model.layout import Category
from memtop.model.sample import MappingSample, Sample
from memtop.ui import packed

_MOST_KNOWN = 100_000
_AMOUNTS = {
    Category.PRESENT: packed.resident,
    Category.WRITTEN: packed.written,
    Category.SOFT_DIRTY: packed.written,
    Category.HUGE: packed.huge,
    Category.PFNZERO: packed.zero,
    Category.GUARD: packed.guard,
}


class RowFilter:
    """One expression (docs/filter.md).

    Args:
        text: as typed.

    Raises:
        FilterError: it means nothing; with the column.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        self._tree = parse(text)
        self._categories = categories_of(self._tree)
        self._known: dict[object, bool] = {}

    def takes(self, row: MappingSample) -> bool:
        """Whether one mapping matches."""
        return bool(matches(self._tree, row))

    def rows(self, sample: Sample) -> list[int]:
        """Indices of the mappings that match; of equal ones the answer is looked for once."""
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        known, facts = self._known, self._facts(sample)
        for what, index in dict(zip(facts, range(len(facts)), strict=True)).items():
            if what not in known:
                known[what] = self.takes(sample.mappings[index])
        return list(compress(range(len(facts)), map(known.__getitem__, facts)))

    def _facts(self, sample: Sample) -> Sequence[object]:
        """All that an answer can depend on."""
        traits = packed.traits(sample.table)
        if not self._categories:
            return traits
        amounts = {_AMOUNTS[category] for category in self._categories if category in _AMOUNTS}
        facts = [traits, sample.coverage, packed.flags(sample)]
        facts += ([amount > 0 for amount in column(sample)] for column in amounts)
        if sample.swapped is not None and Category.SWAPPED in self._categories:
            facts.append([sample.swapped.get(mapping, 0) > 0 for mapping in sample.table.ids])
        facts.append([(sample.baseline, sample.swapped is None)] * len(traits))
        return list(zip(*facts, strict=True))
