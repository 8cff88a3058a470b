"""What became of each page that was copied so far."""

from __future__ import annotations

from functools import reduce

from memtop.dump.plan import Found
from memtop.linux.runsets import runs_intersect, runs_subtract, runs_union, state_runs
from memtop.linux.vmread import DATA, ZERO, Pieces
from memtop.model.runs import PageRuns

PARENT = 254
"""The state of a page that is as in the parent (no errno is that large)."""


class Ledger:
    """Sets of pages; the last copy of a page counts.

    Attributes:
        stored: all that were copied.
    """

    def __init__(self) -> None:
        self.stored = PageRuns()
        self._by_state: dict[int, PageRuns] = {}

    def enter(self, runs: PageRuns, states: bytearray) -> None:
        """Pages that were copied, and a state for each (``vmread``)."""
        self.stored = runs_union(self.stored, runs)
        pieces = Pieces.of_runs(runs)
        for state in {*self._by_state, *states} - {DATA}:
            known = runs_subtract(self._by_state.get(state, PageRuns()), runs)
            self._by_state[state] = runs_union(known, state_runs(pieces, states, state))

    def keep(self, runs: PageRuns) -> None:
        """Pages that were not copied, because they are as in the parent."""
        self._by_state[PARENT] = runs_union(self._by_state.get(PARENT, PageRuns()), runs)

    def forget_all_but(self, runs: PageRuns) -> PageRuns:
        """Pages that were copied and are not there any more; they are no longer stored."""
        gone = runs_subtract(self.stored, runs)
        self.stored = runs_intersect(self.stored, runs)
        self._by_state = {state: runs_intersect(known, runs) for state, known in self._by_state.items()}
        return gone

    @property
    def empty(self) -> PageRuns:
        """Those of them that have no contents."""
        return reduce(runs_union, self._by_state.values(), PageRuns())

    def found(self) -> Found:
        """All but contents."""
        unreadable = {s: runs for s, runs in self._by_state.items() if s not in (ZERO, PARENT) and len(runs)}
        none = PageRuns()
        return Found(self._by_state.get(ZERO, none), unreadable, self._by_state.get(PARENT, none))
