"""A filter expression on the rows of a sample: thousands of rows, few of them of different kinds."""

from __future__ import annotations

from collections.abc import Iterable

from memtop.model.filter import categories_of, parse
from memtop.model.filter_rows import matches
from memtop.model.sample import Sample
from memtop.ui import packed

_MOST_KNOWN = 100_000


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
        self._fields_only = not categories_of(self._tree)
        self._known: dict[object, bool] = {}

    def rows(self, sample: Sample) -> list[int]:
        """Indices of the mappings that match; of equal ones the answer is looked for once."""
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        known, answer = self._known, []
        for index, what in enumerate(self._facts(sample)):
            match = known.get(what)
            if match is None:
                match = known[what] = bool(matches(self._tree, sample.mappings[index]))
            if match:
                answer.append(index)
        return answer

    def _facts(self, sample: Sample) -> Iterable[tuple[object, ...]]:
        """All that an answer can depend on."""
        mapping = (packed.names(sample), packed.perms(sample), packed.kinds(sample))
        if self._fields_only:
            return zip(*mapping, strict=True)
        amounts = (packed.resident, packed.huge, packed.zero, packed.guard, packed.written)
        swapped = sample.swapped
        return zip(
            *mapping,
            [inode != 0 for inode in packed.inodes(sample)],
            sample.coverage,
            packed.flags(sample),
            *([amount > 0 for amount in column(sample)] for column in amounts),
            [None if swapped is None else bool(swapped.get(m, 0)) for m in sample.table.ids],
            [sample.baseline] * len(sample.table),
            strict=True,
        )
