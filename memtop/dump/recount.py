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

_NONE = PageRuns()


class Expectation:
    """What there is, as far as it is known while the process runs; brought up to date in the stop.

    Args:
        plan: of the mappings of now.
        census: of all of their pages, taken after ``written`` was.
        written: what the tracker told and protected.

    Attributes:
        census: with what was written since. What has gone since is found in the stop.
    """

    def __init__(self, plan: Plan, census: Census, written: Written) -> None:
        self.census = census
        self._adopt(plan, written)

    def _adopt(self, plan: Plan, written: Written) -> None:
        self._plan, self._blind = plan, written.blind
        ranges = ranges_runs(plan.ranges)
        self._told = runs_intersect(ranges, ranges_runs(written.tracked))
        """Where protection tells. All else is read again, but for what can't be written."""
        untold = runs_subtract(ranges, runs_union(self._told, ranges_runs(written.blind)))
        self._quiet = runs_intersect(untold, ranges_runs(plan.steady))

    def advance(self, source: LiveSource, plan: Plan, written: Written) -> None:
        """One round later: what was written is there and protected anew.

        Args:
            source: of the process.
            plan: of now.
            written: since the time before.
        """
        census, runs = self.census, runs_intersect(written.runs, ranges_runs(plan.ranges))
        self.census = Census(
            runs_union(census.data, runs), *(runs_subtract(old, runs) for old in census.others)
        )
        if plan is not self._plan or written.blind != self._blind:
            self.recount(source, plan)
            self._adopt(plan, written)

    def recount(self, source: LiveSource, plan: Plan, more: PageRuns = _NONE) -> PageRuns:
        """Brings the census up to date; returns the pages that may differ from what they were.

        Args:
            source: of the process; what this tells is exact if it stands still.
            plan: of now. What is new in it counts as changed.
            more: pages that were written, and lost and got back their protection since.
        """
        now, told, quiet, census = ranges_runs(plan.ranges), self._told, self._quiet, self.census
        if plan is not self._plan:
            told = runs_intersect(told, now)
            quiet = runs_intersect(quiet, ranges_runs(plan.steady))
            census = census.over(lambda runs: runs_intersect(runs, now))
        changed = runs_union(source.changed(told), runs_subtract(now, runs_union(told, quiet)))
        changed = runs_union(changed, runs_intersect(more, now))
        fresh, kept = source.census_of(plan, changed), census.over(lambda runs: runs_subtract(runs, changed))
        self.census = Census(*(runs_union(old, new) for old, new in zip(kept.sets, fresh.sets, strict=True)))
        return changed
