"""What has changed of a process that stands still, since its pages were protected a moment before.

To ask of every page what it is, and to protect it anew, would take most of the stop. Neither need be: a page
that still has its protection is as it was.
"""

from __future__ import annotations

from memtop.dump.feed import Written
from memtop.dump.live import LiveSource
from memtop.dump.plan import Census, Plan, ranges_runs
from memtop.linux.runsets import runs_intersect, runs_subtract, runs_union
from memtop.model.runs import PageRuns


class Expectation:
    """What is known before the stop; worked out while the process still runs.

    Args:
        plan: of the mappings at that time.
        census: of all of their pages.
        written: what the tracker told and protected then.
    """

    def __init__(self, plan: Plan, census: Census, written: Written) -> None:
        self._plan, self._census = plan, census
        ranges = ranges_runs(plan.ranges)
        self._told = runs_intersect(ranges, ranges_runs(written.tracked))
        """Where protection tells. All else is read again, but for what can't be written."""
        untold = runs_subtract(ranges, runs_union(self._told, ranges_runs(written.blind)))
        self._quiet = runs_intersect(untold, ranges_runs(plan.steady))

    def recount(self, source: LiveSource, plan: Plan) -> tuple[Census, PageRuns]:
        """The census of now, and the pages that may differ from what they were.

        Args:
            source: of the process, which stands still.
            plan: of now. What is new in it counts as changed.
        """
        now, told, quiet, census = ranges_runs(plan.ranges), self._told, self._quiet, self._census
        if plan is not self._plan:
            told = runs_intersect(told, now)
            quiet = runs_intersect(quiet, ranges_runs(plan.steady))
            census = census.over(lambda runs: runs_intersect(runs, now))
        changed = runs_union(source.changed(told), runs_subtract(now, runs_union(told, quiet)))
        fresh = source.census_of(plan, changed)

        def merge(old: PageRuns, new: PageRuns) -> PageRuns:
            return runs_union(runs_subtract(old, changed), new)

        return (
            Census(
                merge(census.data, fresh.data),
                merge(census.zero, fresh.zero),
                merge(census.swapped, fresh.swapped),
                merge(census.guard, fresh.guard),
            ),
            changed,
        )
