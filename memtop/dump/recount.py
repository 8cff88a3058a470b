"""The census of a process that stands still, from the one of a moment before and what was written since.

To look at every page again would take most of the stop. It need not be done where two numbers prove that no
page
went: in a mapping that is tracked exactly and has nothing in swap, a page that comes is a written page. So
    if the scan that told what was written counted as many pages as there were before or were written, none
    has gone, and these are the pages.
"""

from __future__ import annotations

from memtop.dump.feed import Written
from memtop.dump.live import LiveSource
from memtop.dump.plan import Census, Plan, Range, ranges_runs
from memtop.linux.runsets import runs_intersect, runs_subtract, runs_union
from memtop.model.coverage import Coverage
from memtop.model.layout import COUNT, PAGE, RUN
from memtop.model.runs import PageRuns


class Expectation:
    """What a plan and a census make one expect; worked out while the process still runs.

    Args:
        plan: of the mappings at that time.
        census: of all of their pages.
    """

    def __init__(self, plan: Plan, census: Census) -> None:
        self.plan, self.census = plan, census
        swapped = _pages_by_part(plan, runs_union(census.swapped, census.guard))
        self._pages = _pages_by_part(plan, census.data)
        self._may = [not pages for pages in swapped]

    def recount(self, source: LiveSource, plan: Plan, written: Written) -> Census:
        """The census of now; looks only at mappings where it has to.

        Args:
            source: of the process, which stands still.
            plan: of now.
            written: since the census, as told by one scan of now.
        """
        if plan is not self.plan or written.table.packed != plan.table.packed:
            return source.census(plan)
        came = runs_subtract(written.runs, self.census.data)
        new = _pages_by_part(plan, came) if len(came) else None
        again: list[Range] = []
        for index, part in enumerate(plan.parts):
            if part.take.start == part.take.end:
                continue
            resident, _, _, swapped = COUNT.unpack_from(written.counts, index * COUNT.size)[:4]
            whole = (part.take.start, part.take.end) == (part.area.start, part.area.end)
            exact = whole and written.coverage[index] == Coverage.EXACT and self._may[index] and not swapped
            if not exact or resident != self._pages[index] + (new[index] if new else 0):
                again.append(part.take)
        census = self.census
        kept = runs_union(census.data, came)
        if not again:
            return Census(kept, runs_subtract(census.zero, came), census.swapped, census.guard)
        fresh, looked = source.census_of(plan, again), ranges_runs(again)

        def merge(old: PageRuns, new: PageRuns) -> PageRuns:
            return runs_union(runs_subtract(old, looked), new)

        return Census(
            merge(kept, fresh.data),
            merge(runs_subtract(census.zero, came), fresh.zero),
            merge(census.swapped, fresh.swapped),
            merge(census.guard, fresh.guard),
        )


def _pages_by_part(plan: Plan, runs: PageRuns) -> list[int]:
    """How many of these pages lie in each part of a plan."""
    counts = [0] * len(plan.parts)
    taken = [(index, part.take) for index, part in enumerate(plan.parts) if part.take.start < part.take.end]
    if len(taken) > len(runs) * 4:
        runs = runs_intersect(runs, ranges_runs(plan.ranges))
    at, position = 0, 0
    records = list(RUN.iter_unpack(runs.packed))
    while at < len(records) and position < len(taken):
        start, pages, _ = records[at]
        end = start + pages * PAGE
        index, take = taken[position]
        low, high = max(start, take.start), min(end, take.end)
        if low < high:
            counts[index] += (high - low) // PAGE
        if end <= take.end:
            at += 1
        else:
            position += 1
    return counts
