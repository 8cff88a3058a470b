"""A filter expression on the rows of a sample: thousands of rows, few of them of different kinds."""

from __future__ import annotations

from itertools import compress

from memtop.model.filter import categories_of, parse
from memtop.model.filter_rows import matches
from memtop.model.layout import Category
from memtop.model.mapping import MappingTable
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
        amounts = (_AMOUNTS[category] for category in self._categories if category in _AMOUNTS)
        self._amounts = tuple(dict.fromkeys(amounts))
        self._known: dict[int, bool] = {}
        self._sorts: dict[tuple[bytes, int, int, bool], int] = {}
        self._table: MappingTable | None = None
        self._sort_of: list[int] = []

    @property
    def asks_for_zeros(self) -> bool:
        """Whether the answer depends on what not every sample counts: zero pages, guards."""
        return bool(self._categories & (Category.PFNZERO | Category.GUARD))

    def takes(self, row: MappingSample) -> bool:
        """Whether one mapping matches."""
        return bool(matches(self._tree, row))

    def rows(self, sample: Sample) -> list[int]:
        """Indices of the mappings that match; of equal ones the answer is looked for once."""
        if len(self._known) + len(self._sorts) > _MOST_KNOWN:
            self._known, self._sorts, self._table = {}, {}, None
        known, facts = self._known, self._facts(sample)
        for what, index in dict(zip(facts, range(len(facts)), strict=True)).items():
            if what not in known:
                known[what] = self.takes(sample.mappings[index])
        return list(compress(range(len(facts)), map(known.__getitem__, facts)))

    def _facts(self, sample: Sample) -> list[int]:
        """All that an answer can depend on, as a number for each mapping."""
        table = sample.table
        if table is not self._table:
            sorts = self._sorts
            self._table = table
            self._sort_of = [sorts.setdefault(traits, len(sorts)) for traits in packed.traits(table)]
        facts = self._sort_of
        if not self._categories:
            return facts
        states = zip(facts, sample.coverage, packed.flags(sample), strict=True)
        facts = [sort << 64 | cover << 32 | flag for sort, cover, flag in states]
        columns = [column(sample) for column in self._amounts]
        if sample.swapped is not None:
            columns.append([sample.swapped.get(mapping, 0) for mapping in table.ids])
        for column in columns:
            facts = [fact << 1 | (amount > 0) for fact, amount in zip(facts, column, strict=True)]
        both = sample.baseline << 1 | (sample.swapped is not None)
        return [fact << 2 | both for fact in facts]
