"""Which row of the table shows what: filtered, sorted, grouped, with what has just gone still in its place.

A row is a number, so that 30 000 of them are no 30 000 objects: an index into the sample's mappings; behind
those, one into ``gone``; below zero, ``~row`` is one into ``groups``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import compress, repeat
from operator import add, itemgetter
from typing import TypeVar

from memtop.model.coverage import Exactness
from memtop.model.layout import PAGE, CountFlag, Kind
from memtop.model.mapping import Mapping, MappingTable
from memtop.model.names import clean
from memtop.model.runs import PageRuns
from memtop.model.sample import MappingSample, Sample, rate_of
from memtop.ui import packed
from memtop.ui.columns import HUGE, MARKED, RESIDENT, SIZE, SWAP, WRITTEN, ZERO, Column
from memtop.ui.rates import Rates
from memtop.ui.row_filter import RowFilter
from memtop.ui.zeros import EARLIER, carrying

FADE_S = 5.0
"""Seconds that the last row of a mapping stays after it is gone."""
MOST_GONE = 64
"""Of so many at once; of a heap that is torn down nobody reads every row."""

_SCANNED, _ZERO = int(CountFlag.SCANNED), int(CountFlag.ZERO)  # as numbers: an IntFlag is made anew each time
_KINDS = [f"[{kind.label}]" for kind in Kind]
_COVERS = [cover << 32 for cover in range(256)]
_T = TypeVar("_T")
_IS_SOME = (0.0).__lt__  # calls nothing in Python: a group may have 30 000 members
_SUMS = {SIZE, RESIDENT, SWAP, ZERO, WRITTEN, MARKED}


class Grouping(Enum):
    """``F5``."""

    NONE = ""
    FILE = "by file"
    KIND = "by kind"

    @property
    def next(self) -> Grouping:
        """What the key gives after it."""
        every = list(Grouping)
        return every[(every.index(self) + 1) % len(every)]

    def members(self, table: MappingTable) -> dict[str, list[int]]:
        """The groups, and the indices of what is in each: of the same file, or used for the same."""
        return _by_kind(table) if self is Grouping.KIND else _by_file(table)


@packed.of_table
def _by_kind(table: MappingTable) -> dict[str, list[int]]:
    return _members([_KINDS[kind] for _, _, kind, _ in packed.traits(table)])


@packed.of_table
def _by_file(table: MappingTable) -> dict[str, list[int]]:
    facts = packed.traits(table)
    return _members([clean(name) if file else _KINDS[kind] for name, _, kind, file in facts])


def _members(names: Sequence[str]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        members.setdefault(name, []).append(index)
    return members


@dataclass(frozen=True, slots=True)
class Group:
    """Mappings of one file or kind.

    Attributes:
        members: their indices, as sorted.
        open: they stand below.
        row: sums, in the form of one mapping that is as large as all of them.
        whole: every one is tracked, or none; else what was written is a lower bound.
        kinds: how many kinds of mappings.
        since_mark: pages written since the mark; None: not known.
    """

    name: str
    members: Sequence[int]
    open: bool
    row: MappingSample
    whole: bool
    kinds: int
    since_mark: int | None


@dataclass(frozen=True, slots=True)
class Gone:
    """A mapping that is not there any more: the last sample that had it, cut down to it."""

    sample: Sample
    since: float

    @property
    def row(self) -> MappingSample:
        """What was last said of it."""
        return self.sample.mappings[0]


@dataclass(eq=False)
class Rows:
    """The rows of one process.

    Attributes:
        lines: what stands in each row, from the top.
        groups, gone: what the numbers in ``lines`` stand for.
        matched: how many mappings passed the filter.
        picture: the sample, with zero pages as they were counted last where they are asked for.
        zeros_of: when that was, unix seconds; None: now, or nothing of it is shown.
        opened: names of the groups whose members are shown.
    """

    lines: list[int] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    matched: int = 0
    opened: set[str] = field(default_factory=set)
    rates: Rates = field(default_factory=Rates)
    picture: Sample | None = None
    zeros_of: float | None = None
    _sample: Sample | None = None
    _found: dict[tuple[int, str | None], int] = field(default_factory=dict)

    def take(self, sample: Sample, recent: Sequence[Sample] = (), *, anew: bool = False) -> None:
        """Takes in the next sample, or an earlier one, which forgets what is gone.

        Args:
            recent: the samples up to this one: those that no picture was made of count, too.
            anew: it does not follow the one before.
        """
        before, self._sample = self._sample, sample
        self._found.clear()
        if before is sample:
            return
        since = float("-inf") if anew or before is None else before.time
        if anew or sample.time < since:
            self.rates, since = Rates(), float("-inf")
        for each in recent or (sample,):
            if each.time > since:
                self.rates.take(each)
        if before is None or sample.time < before.time:
            self.gone = []
            return
        self.gone = [gone for gone in self.gone if sample.time < gone.since + FADE_S]
        if before.table.ids != sample.table.ids:
            there = set(sample.table.ids)
            lost = [i for i, mapping in enumerate(before.table.ids) if mapping not in there]
            self.gone += [Gone(packed.only(before, i), sample.time) for i in lost[:MOST_GONE]]
            del self.gone[:-MOST_GONE]

    def arrange(
        self,
        column: Column,
        reverse: bool,
        *,
        only: RowFilter | None = None,
        grouping: Grouping = Grouping.NONE,
        marked: Sequence[int] | None = None,
        earlier: Sequence[Sample] = (),
    ) -> None:
        """Puts all rows in order; ties by address.

        Args:
            earlier: where zero pages are shown, samples that may have counted them.
        """
        self.groups, self.picture, self.zeros_of = [], self._sample, None
        self._found.clear()
        if self._sample is None:
            self.lines, self.matched = [], 0
            return
        sample, self.zeros_of = carrying(self._sample, earlier) if earlier else (self._sample, None)
        self.picture = sample
        shown = list(range(len(sample.table))) if only is None else only.rows(sample)
        self.matched = len(shown)
        keys = self._keys(sample, column, marked)
        # A stable sort, also with reverse=True: equal rows stay in the order of their addresses.
        down = column.descending ^ reverse
        if grouping is not Grouping.NONE:
            self._group(sample, grouping, column, down, keys, shown, marked)
            return
        if self.gone:
            keys, shown = self._with_gone(sample, column, list(keys), shown, only)
        self.lines = sorted(shown, key=keys.__getitem__, reverse=down)

    def _keys(self, sample: Sample, column: Column, marked: Sequence[int] | None) -> Sequence[float | bytes]:
        if column is MARKED and marked is not None:
            return marked
        return self.rates.keys(sample) if column is WRITTEN else column.keys(sample)

    def _with_gone(
        self,
        sample: Sample,
        column: Column,
        keys: list[float | bytes],
        shown: list[int],
        only: RowFilter | None,
    ) -> tuple[list[float | bytes], list[int]]:
        """The same with those that are gone, where they would stand."""
        starts = list(packed.starts(sample))
        for gone in self.gone:
            if only is None or only.takes(gone.row):
                shown.append(len(keys))
            keys.append(self._keys(gone.sample, column, [0])[0])
            starts += packed.starts(gone.sample)
        return keys, sorted(shown, key=starts.__getitem__)

    # ---- groups ------------------------------------------------------------------------------------

    def _group(
        self,
        sample: Sample,
        grouping: Grouping,
        column: Column,
        down: bool,
        keys: Sequence[float | bytes],
        shown: list[int],
        marked: Sequence[int] | None,
    ) -> None:
        members = grouping.members(sample.table)
        if len(shown) < len(sample.table):
            there = set(shown)
            members = {
                name: left for name, of in members.items() if (left := list(filter(there.__contains__, of)))
            }

        def key(name: str) -> float | bytes:
            of = _picks(members[name])(keys)
            if column in _SUMS:
                return sum(filter(_IS_SOME, of)) or max(of)  # type: ignore[arg-type]  # numbers
            if column is HUGE:
                return sum(of)  # type: ignore[arg-type]  # numbers
            return min(of)

        of_group = {name: key(name) for name in members}
        sums = _Sums(sample, marked)
        self.lines = []
        for name in sorted(members, key=of_group.__getitem__, reverse=down):
            inside = sorted(members[name], key=keys.__getitem__, reverse=down)
            self.lines.append(~len(self.groups))
            self.groups.append(sums.group(name, members[name], inside, name in self.opened))
            if name in self.opened:
                self.lines += inside

    # ---- looking up --------------------------------------------------------------------------------

    def group_in(self, row: int) -> Group | None:
        """The group whose head stands in a row."""
        at = self.lines[row] if 0 <= row < len(self.lines) else 0
        return self.groups[~at] if at < 0 else None

    def mapping_in(self, row: int) -> int | None:
        """Id of the mapping in a row: of a group, its first; None: it is gone."""
        assert self._sample is not None
        group, ids = self.group_in(row), self._sample.table.ids
        at = group.members[0] if group is not None else self.lines[row]
        return ids[at] if at < len(ids) else None

    def row_of(self, mapping: int, group: str | None = None) -> int:
        """Where a mapping stands, or the group's head, or else that of the group it is in; -1: nowhere."""
        row = self._found.get((mapping, group))  # asked several times for each picture
        if row is None:
            row = self._found[mapping, group] = self._look_for(mapping, group)
        return row

    def _look_for(self, mapping: int, group: str | None) -> int:
        sample = self._sample
        index = None if sample is None else sample.table.index_of(mapping)
        if group is not None:
            for i, each in enumerate(self.groups):
                if each.name == group:
                    return self.lines.index(~i)
        if index is None:
            return -1
        with suppress(ValueError):
            return self.lines.index(index)
        for i, each in enumerate(self.groups):
            if not each.open and index in each.members:
                return self.lines.index(~i)
        return -1

    def find(self, text: str) -> list[int]:
        """Rows whose name, address or kind contains a text, in any case."""
        sample, text = self._sample, text.casefold()
        if sample is None or not text:
            return []
        names, starts, kinds = packed.names(sample), packed.starts(sample), packed.kinds(sample)
        # Thousands of mappings have few different names, and no text but a number is in an address.
        named = {name for name in set(names) if text in clean(name).casefold()}
        kindred = {kind for kind in Kind if text in f"[{kind.label}]"}
        digits = text.removeprefix("0x")
        number = not digits.strip("0123456789abcdef")

        def holds(row: int) -> bool:
            if row < 0:
                return text in self.groups[~row].name.casefold()
            if row >= len(names):
                return False
            return names[row] in named or kinds[row] in kindred or (number and digits in f"{starts[row]:x}")

        return [at for at, row in enumerate(self.lines) if holds(row)]


def _picks(members: Sequence[int]) -> Callable[[Sequence[_T]], Sequence[_T]]:
    """What takes those out of a column: in its own order, that is three times as fast as in another."""
    if len(members) == 1:
        return lambda column: (column[members[0]],)
    return itemgetter(*members)


class _Sums:
    """Adds up the columns of a sample over groups."""

    def __init__(self, sample: Sample, marked: Sequence[int] | None) -> None:
        self._sample, self._marked = sample, marked
        self._sizes, self._starts = packed.sizes(sample), packed.starts(sample)
        columns = (packed.resident, packed.huge, packed.zero, packed.guard, packed.written)
        self._pages = [column(sample) for column in columns]
        # Numbers rather than tuples: 30 000 of those are work for the garbage collector.
        self._states = list(map(add, map(_COVERS.__getitem__, sample.coverage), packed.flags(sample)))
        self._kinds = packed.kinds(sample)

    def group(self, name: str, members: Sequence[int], inside: Sequence[int], open: bool) -> Group:
        """The group's row; what is not known of any of them is not known of all.

        Args:
            members: in the order of the sample.
            inside: the same in that of the rows.
        """
        sample, of = self._sample, _picks(members)
        resident, huge, zero, guard, written = map(of, self._pages)
        states = of(self._states)
        rows = {state: sample.mappings[members[states.index(state)]] for state in dict.fromkeys(states)}
        tracked = {state: m for state, m in rows.items() if m.written_pages is not None}
        scanned = all(state & _SCANNED for state in rows)
        zeros = all(state & _ZERO for state in rows)
        pages = None
        if tracked:
            known = (
                written if len(tracked) == len(rows) else compress(written, map(tracked.__contains__, states))
            )
            pages = 0 if sample.baseline else sum(known)
        worst = max((tracked or rows).values(), key=lambda m: list(Exactness).index(m.exactness))
        start, size, kinds = min(of(self._starts)), sum(of(self._sizes)), set(of(self._kinds))
        swapped = sample.swapped
        row = MappingSample(
            mapping=Mapping(0, start, start + size, "", 0, "", 0, name, Kind(self._kinds[inside[0]])),
            coverage=worst.coverage,
            flags=CountFlag(worst.flags | EARLIER if any(state & EARLIER for state in rows) else worst.flags),
            resident=sum(resident) * PAGE if scanned else None,
            huge=sum(huge) * PAGE if scanned else None,
            zero=sum(zero) * PAGE if zeros else None,
            swapped=None if swapped is None else sum(map(swapped.get, of(sample.table.ids), repeat(0))),
            guard=sum(guard) * PAGE if zeros else None,
            written_pages=pages,
            written_bytes_per_s=None if pages is None else rate_of(pages * PAGE, sample.interval),
            resident_map=0,
            written_map=0,
            written=PageRuns(),
        )
        since = None if self._marked is None else sum(of(self._marked))
        return Group(name, inside, open, row, len(tracked) in (0, len(rows)), len(kinds), since)
