"""Memory that a process has mapped more than once: what it writes through one mapping changes the others.

A tracker tells of the mapping that was written through, and of no other. Heaps are mapped like that (ZGC's
views), and code that is written in one place and run in another.
"""

from __future__ import annotations

from itertools import groupby

from memtop.dump.image import Area
from memtop.dump.plan import Part, Plan, Range, ranges_runs
from memtop.linux.runsets import runs_intersect, runs_union
from memtop.model.layout import PAGE, RUN, Perm
from memtop.model.runs import PageRuns


class Aliases:
    """Mappings of the same file or shared memory, of which at least one is shared."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._groups: list[list[tuple[PageRuns, Area]]] = []
        self._unseen = PageRuns()

    def told(self, plan: Plan, written: PageRuns) -> PageRuns:
        """What was written, wherever it is mapped."""
        self._adopt(plan)
        found = written
        for group in self._groups:
            for pages, area in group:
                here = runs_intersect(written, pages)
                for _, other in group if len(here) else ():
                    if other is not area:
                        found = runs_union(found, _moved(here, area, other))
        return found

    def told_at_last(self, plan: Plan, written: PageRuns) -> PageRuns:
        """The same, and what may have been written through mappings that are not dumped: nobody looks."""
        return runs_union(self.told(plan, written), self._unseen)

    def _adopt(self, plan: Plan) -> None:
        if plan is self._plan:
            return
        self._plan, self._groups, unseen = plan, [], []
        mapped = sorted((part for part in plan.parts if part.area.inode), key=_file)
        for _, same in groupby(mapped, key=_file):
            group = list(same)
            if len(group) > 1 and any(part.area.perms & Perm.SHARED for part in group):
                self._groups.append([(_pages(Range(p.area.start, p.area.end)), p.area) for p in group])
                if any(_is_written_unseen(part) for part in group):
                    unseen += [part.take for part in group if part.take.start < part.take.end]
        self._unseen = ranges_runs(sorted(unseen, key=lambda taken: taken.start))


def _file(part: Part) -> tuple[int, int, int]:
    return part.area.major, part.area.minor, part.area.inode


def _pages(span: Range) -> PageRuns:
    return ranges_runs([span])


def _is_written_unseen(part: Part) -> bool:
    area, take = part.area, part.take
    writable = area.perms & Perm.SHARED and area.perms & Perm.WRITE
    return bool(writable) and (take.start, take.end) != (area.start, area.end)


def _moved(runs: PageRuns, area: Area, other: Area) -> PageRuns:
    """Pages of one mapping at the addresses that they have in another one, as far as it has them."""
    by, parts = area.offset - area.start - other.offset + other.start, []
    for start, pages, _ in RUN.iter_unpack(runs.packed):
        low, high = max(start + by, other.start), min(start + by + pages * PAGE, other.end)
        if low < high:
            parts.append(RUN.pack(low, (high - low) // PAGE, 0))
    return PageRuns(b"".join(parts))
