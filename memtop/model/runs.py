"""Sets of pages as sorted runs: how memtop passes on which pages were written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from memtop.model.layout import PAGE, RUN, RunFlag


@dataclass(frozen=True, slots=True)
class PageRun:
    """Pages next to each other.

    Attributes:
        start: byte address of the first page.
        pages: how many base pages.
        huge: the answer came from a huge page, so it may name more pages than were written.
    """

    start: int
    pages: int
    huge: bool = False

    @property
    def end(self) -> int:
        """Byte address behind the last page."""
        return self.start + self.pages * PAGE


class PageRuns(Sequence[PageRun]):
    """An immutable, sorted set of page runs over ``layout.RUN`` records."""

    __slots__ = ("packed",)

    def __init__(self, packed: bytes = b"") -> None:
        self.packed = packed

    @classmethod
    def of(cls, runs: Sequence[PageRun]) -> PageRuns:
        """Packs runs that are sorted and do not overlap."""
        return cls(b"".join(RUN.pack(r.start, r.pages, RunFlag.HUGE if r.huge else 0) for r in runs))

    def __len__(self) -> int:
        return len(self.packed) // RUN.size

    @overload
    def __getitem__(self, index: int) -> PageRun: ...
    @overload
    def __getitem__(self, index: slice) -> PageRuns: ...
    def __getitem__(self, index: int | slice) -> PageRun | PageRuns:
        if isinstance(index, slice):
            first, last, step = index.indices(len(self))
            if step != 1:
                raise ValueError("runs are sliced with step 1 only")
            return PageRuns(self.packed[first * RUN.size : last * RUN.size])
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, pages, flags = RUN.unpack_from(self.packed, index * RUN.size)
        return PageRun(start, pages, bool(flags & RunFlag.HUGE))

    def __iter__(self) -> Iterator[PageRun]:
        return (PageRun(s, n, bool(f & RunFlag.HUGE)) for s, n, f in RUN.iter_unpack(self.packed))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PageRuns) and self.packed == other.packed

    def __hash__(self) -> int:
        return hash(self.packed)

    @property
    def pages(self) -> int:
        """Base pages in all runs together."""
        return sum(n for _, n, _ in RUN.iter_unpack(self.packed))

    def addresses(self) -> set[int]:
        """The byte address of every page: for tests and small sets."""
        return {start + i * PAGE for start, pages, _ in RUN.iter_unpack(self.packed) for i in range(pages)}
