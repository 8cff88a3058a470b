"""The columns of the mapping table: what they show, how wide, which give way, how they sort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memtop.model.coverage import MARKS, TRACKED, Coverage, Exactness
from memtop.model.layout import PAGE
from memtop.model.mapping import Mapping
from memtop.model.sample import MappingSample, Sample
from memtop.model.units import DASH, percent, size
from memtop.ui import packed
from memtop.ui.lines import Run, cut_path, fill
from memtop.ui.theme import Palette
from memtop.ui.zeros import EARLIER

SHORT = {
    Coverage.BASELINE: "baseline",
    Coverage.FILE_LEFT_OUT: "untracked",
    Coverage.SPECIAL: "kernel’s",
    Coverage.BUSY: "busy",
    Coverage.REFUSED: "refused",
    Coverage.READ_ONLY_FILE: "read-only",
    Coverage.LOST: "moved",
    Coverage.HUGE_KEPT: "huge",
    Coverage.CROWDED: "no room",
    Coverage.NO_SOFT_DIRTY: "hugetlb",
    Coverage.ANON_LEFT_OUT: "untracked",
    Coverage.OUT_OF_SCOPE: "untracked",
}
"""The reason in place of a number; the whole sentence stands below for the selected mapping."""

MEMFD, DELETED = "/memfd:", " (deleted)"
NARROWEST_NAME, NARROWEST_MAP, WIDEST_MAP = 12, 16, 64


def written_runs(m: MappingSample, width: int, tracking: bool, p: Palette) -> list[Run]:
    """Rate and its mark, or why there is none."""
    short = SHORT.get(m.coverage) if tracking else None
    if short is not None:
        return [(fill(short, width - 1, right=True) + " ", p.faint if m.written_pages is None else p.dim)]
    if m.written_bytes_per_s is None:
        return [(fill(DASH, width - 1, right=True) + " ", p.faint)]
    text = size(m.written_bytes_per_s).rjust(width - 1) + MARKS.get(m.exactness, " ")
    return [(text, p.written(m.written_bytes_per_s > 0))]


def _number(
    value: Callable[[MappingSample], str], zero: str
) -> Callable[[MappingSample, int, Palette], list[Run]]:
    def cell(m: MappingSample, width: int, p: Palette) -> list[Run]:
        text = value(m)
        return [(fill(text, width, right=True), p.faint if text in (DASH, zero) else p.text)]

    return cell


def _zero(m: MappingSample, width: int, p: Palette) -> list[Run]:
    """With a mark behind it, where it was counted earlier."""
    text = size(m.zero).rjust(width - 1) + (MARKS[Exactness.APPROXIMATE] if m.flags & EARLIER else " ")
    return [(fill(text, width, right=True), p.text if m.zero else p.faint)]


def _address(m: MappingSample, width: int, p: Palette) -> list[Run]:
    text = f"{m.mapping.start:x}"
    if len(text) > width:  # [vsyscall]: its place is above all others, the exact one is below the table
        text = text[: width // 2] + "…" + text[-(width - width // 2 - 1) :]
    return [(fill(text, width), p.dim)]


def _kind(m: MappingSample, width: int, p: Palette) -> list[Run]:
    return [(fill(m.mapping.kind.label, width), p.kinds[m.mapping.kind])]


def name_runs(m: MappingSample, width: int, p: Palette) -> list[Run]:
    """The name, or the bracketed kind in a dimmer colour."""
    title = short_title(m.mapping)
    return [(fill(cut_path(title, width), width), p.text if m.mapping.name else p.dim)]


def short_title(mapping: Mapping) -> str:
    """The name, without what says nothing: every memfd is "deleted"."""
    title = mapping.title
    return title[1 : -len(DELETED)] if title.startswith(MEMFD) and title.endswith(DELETED) else title


def _by_written(sample: Sample) -> Sequence[int]:
    """Untracked mappings come after those where nothing was written."""
    return [n if TRACKED[c] else -1 for n, c in zip(packed.written(sample), sample.coverage, strict=True)]


def _by_swap(sample: Sample) -> Sequence[int]:
    swapped = sample.swapped or {}
    return [swapped.get(mapping, 0) for mapping in sample.table.ids]


def _exact(m: MappingSample, width: int, p: Palette) -> list[Run]:
    known = m.exactness is not Exactness.NONE
    return [(fill(m.exactness.value if known else DASH, width), p.dim if known else p.faint)]


def _perms(m: MappingSample, width: int, p: Palette) -> list[Run]:
    return [(fill(m.mapping.perms, width), p.dim)]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        head: what stands above it.
        width: cells; 0: takes what is left.
        keys: the value of every mapping to sort by, straight from the packed records.
        descending: the useful order comes first.
        cell: draws it; None for those that the table draws itself (WRITTEN/S, NAME, MAP).
        gives_way: 1 is the first to be left out on a narrow screen; 0 stays.
        right: aligned to the right.
    """

    head: str
    width: int
    keys: Callable[[Sample], Sequence[int] | Sequence[bytes]]
    descending: bool
    cell: Callable[[MappingSample, int, Palette], list[Run]] | None = None
    gives_way: int = 0
    right: bool = True


ADDRESS = Column("ADDRESS", 12, packed.starts, False, _address, right=False)
SIZE = Column("SIZE", 5, packed.sizes, True, _number(lambda m: size(m.mapping.size), "0"), gives_way=3)
RESIDENT = Column("RSS", 5, packed.resident, True, _number(lambda m: size(m.resident), "0"))
WRITTEN = Column("WRITTEN/S", 10, _by_written, True)
HUGE = Column("HUGE", 5, packed.huge, True, _number(lambda m: percent(m.huge, m.resident), "0%"), gives_way=2)
KIND = Column("KIND", 7, packed.kinds, False, _kind, gives_way=1, right=False)
MARKED = Column("SINCE MARK", 10, packed.starts, True)  # the table knows the values
NAME = Column("NAME", 0, packed.names, False, right=False)
SWAP = Column("SWAP", 5, _by_swap, True, _number(lambda m: size(m.swapped), "0"), gives_way=8)
PERMS = Column("PERM", 4, packed.perms, True, _perms, gives_way=7, right=False)
TREND = Column("TREND", 10, _by_written, True, gives_way=6, right=False)
ZERO = Column("ZERO", 6, packed.zero, True, _zero, gives_way=5)
EXACT = Column("EXACT", 11, lambda sample: sample.coverage, False, _exact, gives_way=4, right=False)

COLUMNS = (ADDRESS, SIZE, RESIDENT, WRITTEN, HUGE, KIND, NAME)
"""What is shown unless other columns are chosen (F2)."""
ROOMY = 160
"""Cells of the table from which on more than those are shown, unless other columns are chosen."""
WIDE_COLUMNS = (ADDRESS, PERMS, SIZE, RESIDENT, WRITTEN, TREND, HUGE, KIND, NAME)
EVERY = (ADDRESS, PERMS, SIZE, RESIDENT, SWAP, ZERO, WRITTEN, TREND, MARKED, EXACT, HUGE, KIND, NAME)
"""All, in the order of the screen; the map of the row follows."""
ABOUT = {
    ADDRESS: "where it begins",
    PERMS: "permissions: read, write, execute, private or shared",
    SIZE: "address space",
    RESIDENT: "resident memory",
    SWAP: "swapped out (with --swap: expensive)",
    ZERO: "mapped to the shared zero page: read, never written; ~ earlier",
    WRITTEN: "memory written per second",
    TREND: "written in each of the last ten samples",
    MARKED: "written since the mark (m), each page once; not known of earlier samples (–)",
    EXACT: "how exact what is said of writes is",
    HUGE: "share of the resident memory that huge pages map",
    KIND: "what it is used for",
}
"""Those that can be left out or added, and what they show."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns there is room for.

    Attributes:
        columns: with their widths.
        map_width: cells of the row's map; 0: no row has one.
        gap: cells between columns.
    """

    columns: tuple[tuple[Column, int], ...]
    map_width: int
    gap: int

    @classmethod
    def of(cls, width: int, shown: Sequence[Column] = COLUMNS, *, mapped: bool = True) -> Layout:
        """Columns give way in their stated order until name and map have room.

        Args:
            width: cells of a row, without the two of the selection's mark.
            shown: the columns to choose from.
            mapped: some row has a map; else the name takes its room, and nothing else changes.
        """
        gap = 2 if width >= 100 else 1
        columns = list(shown)
        for column in sorted((c for c in shown if c.gives_way), key=lambda c: c.gives_way):
            if cls._left(columns, width, gap) >= NARROWEST_NAME + NARROWEST_MAP + gap:
                break
            columns.remove(column)
        if cls._left(columns, width, gap) < 0 and RESIDENT in columns:
            columns.remove(RESIDENT)  # half of a number says something else than the number
        left = max(cls._left(columns, width, gap) - gap, 0)
        map_width = min(max(left * 55 // 100 // 8 * 8, NARROWEST_MAP), WIDEST_MAP, left)
        if left - map_width < NARROWEST_NAME // 2:
            map_width = 0  # whose row it is says more
        name = left - map_width
        if not mapped:
            name, map_width = left, 0
        return cls(tuple((c, c.width or name) for c in columns), map_width, gap)

    @staticmethod
    def _left(columns: Sequence[Column], width: int, gap: int) -> int:
        """Cells left for name and map together, with the gap between them."""
        return width - sum(c.width + gap for c in columns if c.width)


def marked_runs(m: MappingSample, pages: int, width: int, gap: bool, p: Palette) -> list[Run]:
    """Memory written since the mark, each page once; ``~`` where tracking had a gap since."""
    if m.written_pages is None:
        return [(fill(DASH, width - 1, right=True) + " ", p.faint)]
    mark = MARKS.get(Exactness.APPROXIMATE if gap else m.exactness, " ")
    return [(size(pages * PAGE).rjust(width - 1) + mark, p.written(pages > 0))]


def order(sample: Sample, column: Column, reverse: bool) -> list[int]:
    """Indices of all mappings in the order of the screen; ties by address."""
    keys = column.keys(sample)
    # A stable sort, also with reverse=True: equal rows stay in the order of their addresses.
    return sorted(range(len(sample.table)), key=keys.__getitem__, reverse=column.descending ^ reverse)
