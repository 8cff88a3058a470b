"""What the screen knows of each process it shows; no Textual here.

``absorb`` runs on the sampling thread for every sample, so that no written page is lost when the
screen drops frames; the rest runs on the screen's thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from memtop.linux.runs import runs_count, runs_union
from memtop.model.runs import PageRuns
from memtop.model.sample import Life, Process, Sample
from memtop.sampler.past import Kept, Past
from memtop.sampler.source import Key
from memtop.sampler.working_set import SetSize, WorkingSet
from memtop.ui.ages import Ages
from memtop.ui.calm import CALM_S, Stirs
from memtop.ui.checkpoints import Checkpoint, Checkpoints
from memtop.ui.lens import Lens
from memtop.ui.space import Space

HISTORY = 64
"""Samples that a sparkline can show."""

SAID_S = 8.0
"""Seconds that a message of a sample stays, however soon the next sample comes; a key takes it away."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that the user marked.

    Attributes:
        time: unix seconds of the sample that was on screen.
        runs: pages seen written since, each once.
        gap: for some of the time since, writes were not tracked.
    """

    time: float
    runs: PageRuns = field(default_factory=PageRuns)
    gap: bool = False


@dataclass(frozen=True, slots=True)
class MarkedRange:
    """Pages of one mapping that the user marked in the map; byte addresses, ends exclusive.

    Attributes:
        mapping: its id.
        first: the cell where it began.
        last: the cell where it ends, before or behind ``first``.
        open: the cursor still moves its end.
    """

    mapping: int
    first: tuple[int, int]
    last: tuple[int, int]
    open: bool = True

    @property
    def span(self) -> tuple[int, int]:
        """From where to where."""
        return min(self.first[0], self.last[0]), max(self.first[1], self.last[1])


@dataclass(eq=False)
class ProcessView:
    """One process on the screen.

    Attributes:
        process: known before the first sample.
        sample: what is shown, until ``take``; None before the first scan ended.
        rates: written bytes a second of the last samples, None where they were not tracked.
        sets: written working sets over 10 s and 60 s; None: not known.
        selected: id of the selected mapping.
        mark: what was written since a moment; None: nothing is marked.
        range: what is marked in the map, as it was marked; ``marked_range`` is what it comes to now.
        past: the last minutes.
        checkpoints: states to go back to, where the source can step back; else None.
        lens, space: of the map, while it shows finer or coarser cells than ``ages`` has.
        lock: held while ``ages``, ``past``, ``mark``, ``lens`` or ``space`` are read or changed.
    """

    process: Process
    sample: Sample | None = None
    rates: list[float | None] = field(default_factory=list)
    sets: tuple[SetSize | None, SetSize | None] = (None, None)
    selected: int | None = None
    mark: Mark | None = None
    range: MarkedRange | None = None
    past: Past = field(default_factory=Past)
    lens: Lens | None = None
    space: Space | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    checkpoints: Checkpoints | None = None
    _newest: Sample | None = None
    _said: Sample | None = None
    _going_back: ProcessView | None = None
    _until: float = 0.0
    _stirs: Stirs = field(default_factory=Stirs)
    _sets: tuple[WorkingSet, WorkingSet] = field(default_factory=lambda: (WorkingSet(10), WorkingSet(60)))
    _set_sizes: tuple[SetSize | None, SetSize | None] = (None, None)
    _ages: Ages = field(default_factory=Ages)
    _back: Kept | None = None
    _since: tuple[Sample, Sequence[int]] | None = None
    _ages_then: Ages | None = None
    _history: deque[float | None] = field(default_factory=lambda: deque(maxlen=HISTORY))

    @property
    def key(self) -> Key:
        """pid and start time."""
        return self.process.pid, self.process.start_time

    @property
    def title(self) -> str:
        """Name and pid, for sentences."""
        return f"{self.process.comm} {self.process.pid}"

    @property
    def ended(self) -> bool:
        """The process is gone; what is shown is its last picture."""
        return self.sample is not None and self.sample.life is Life.ENDED

    @property
    def over(self) -> bool:
        """The process is gone, whatever is shown of it."""
        return self._newest is not None and self._newest.life is Life.ENDED

    @property
    def tracking(self) -> bool:
        """A tracker is in charge."""
        return self.sample is not None and self.sample.tracker.name != "off"

    @property
    def ages(self) -> Ages:
        """When everything was last written, as of the sample shown."""
        return self._ages if self._ages_then is None else self._ages_then

    @property
    def marked_at(self) -> float | None:
        """Unix seconds of the mark, where the sample shown is not before it."""
        if self.mark is None or self.sample is None or self.sample.time < self.mark.time:
            return None
        return self.mark.time

    @property
    def marked_range(self) -> tuple[int, int] | None:
        """First byte and end of the range that is marked in the selected mapping; None: there is none.

        A range holds as long as its mapping holds all of it, in the sample that is shown.
        """
        if self.range is None or self.sample is None or self.range.mapping != self.selected:
            return None
        index = self.sample.table.index_of(self.range.mapping)
        if index is None:
            return None
        (start, end), (low, high) = self.sample.table.range_of(index), self.range.span
        return (low, high) if start <= low and high <= end else None

    def since_mark(self) -> Sequence[int] | None:
        """Pages written since the mark, per mapping; None: no mark, or an earlier picture is shown."""
        if self.marked_at is None or self.sample is None or self._back is not None:
            return None
        assert self.mark is not None
        if self._since is None or self._since[0] is not self.sample:
            with self.lock:
                self._since = self.sample, runs_count([self.mark.runs], self.sample.table)
        return self._since[1]

    @property
    def back(self) -> Kept | None:
        """The kept sample that is shown instead of the newest."""
        return self._back

    def recent(self, count: int) -> list[Sample]:
        """The kept samples up to the one shown, at most so many, oldest first."""
        with self.lock:
            if self.sample is None:
                return []
            time = self.sample.time
            return [kept.sample for kept in self.past.kept if kept.sample.time <= time][-count:]

    @property
    def newest(self) -> Sample | None:
        """The last sample that arrived, shown or not."""
        return self._newest

    @property
    def newest_sets(self) -> tuple[SetSize | None, SetSize | None]:
        """``sets`` of the newest sample."""
        return self._set_sizes

    @property
    def newest_time(self) -> float:
        """Unix seconds of the last sample that ``ages`` has taken in; 0 before the first."""
        return self._newest.time if self._newest is not None else 0.0

    @property
    def calm(self) -> bool:
        """Nothing has happened for a while, and nothing on screen is left of what happened before."""
        newest = self._newest
        if newest is None or (self.over and self.sample is newest):
            return True
        return newest.time - self._stirs.last >= CALM_S

    @property
    def behind(self) -> float:
        """Seconds from the sample shown to the newest."""
        return 0.0 if self.sample is None else self.newest_time - self.sample.time

    @property
    def speaking(self) -> Sample | None:
        """The sample whose message is to be read: the one shown, or one of the last seconds before it."""
        shown, said = self.sample, self._said
        if shown is None or said is None or shown.message or shown.life is not Life.RUNNING:
            return shown
        return said if 0 <= shown.time - said.time < SAID_S else shown

    def heard(self) -> None:
        """The message was read; that of the sample shown stays as long as it is shown."""
        self._said = None

    def absorb(self, sample: Sample) -> None:
        """Takes in a sample (sampling thread)."""
        if self._going_back is not None and not self._came_back(sample):
            return
        self._absorb(sample)
        if self.checkpoints is not None and self.checkpoints.due(sample.time):
            state = self._ages, self.past, self._sets, self._set_sizes, self._history
            self.checkpoints.keep(Checkpoint(sample.time, *state).copy())

    def _absorb(self, sample: Sample) -> None:
        with self.lock:
            self._ages.update(sample.table, sample.runs, sample.time)
            self.past.add(sample)
            if sample is not self._newest:
                self._set_sizes = self._sets[0].add(sample), self._sets[1].add(sample)
            if self.lens is not None:
                self.lens.update(sample)
            if self.space is not None:
                self.space.update(sample, self._ages)
            self._history.append(None if sample.baseline else sample.totals.written_bytes_per_s)
            self._stirs.take(sample)
            self._newest = sample
            if sample.message:
                self._said = sample
            if self.mark is not None and sample.time > self.mark.time:
                untracked = sample.tracker.name == "off" or sample.baseline
                runs = self.mark.runs if sample.baseline else runs_union(self.mark.runs, sample.runs)
                self.mark = Mark(self.mark.time, runs, self.mark.gap or untracked)

    def rewind(self, time: float) -> float:
        """Prepares to be shown as it was at this time; see ``sampler.source.Rewind`` (source's thread).

        The picture stays as it is until the sample of that time has arrived.
        """
        then = self.checkpoints.before(time) if self.checkpoints is not None else None
        past = ProcessView(self.process)
        if then is not None:
            past._ages, past.past, past._sets = then.ages, then.past, then.sets
            past._set_sizes, past._history = then.set_sizes, then.rates
            past._until = then.time
        self._going_back, self._until = past, time
        return past._until

    def _came_back(self, sample: Sample) -> bool:
        """Adds to the state of before; True when this sample is the first to be shown again."""
        then = self._going_back
        assert then is not None
        if sample.time < self._until:
            if sample.time > then._until:  # what another process needs again is known here
                then._absorb(sample)
            return False
        with self.lock:
            self._ages, self.past, self._sets = then._ages, then.past, then._sets
            self._set_sizes, self._history, self._going_back = then._set_sizes, then._history, None
            self.lens = self.space = None  # they know what has not happened yet
        return True

    def take(self) -> None:
        """Shows the newest sample from now on (screen's thread), so that one picture has one sample.

        While an earlier one is looked at, that one stays.
        """
        with self.lock:
            if self._back is None:
                self.sample, self.rates, self.sets = self._newest, list(self._history), self._set_sizes
            self._name()

    def _name(self) -> None:
        """After an exec it is called something else; before it, it was not."""
        if self.sample is not None:
            self.process = self.sample.process

    def go_back(self, samples: int) -> bool:
        """Shows the kept sample so many before (negative: behind) the one shown; False: there is none.

        Behind the last one it shows the newest again, whatever it is by then.
        """
        with self.lock:
            kept = self.past.kept
            if not kept:
                return False
            shown = kept[-1].sample.time if self._back is None else self._back.sample.time
            # By time: samples that were merged meanwhile are in the one that followed them.
            at = next((i for i, each in enumerate(kept) if each.sample.time >= shown), len(kept) - 1)
            to = max(at - samples, 0)
            if to == at:
                return False
            self._show_kept(to)
            return True

    def go_to(self, time: float) -> None:
        """Shows the last kept sample that is not after this time (unix seconds); its first, if all are."""
        with self.lock:
            kept = self.past.kept
            if kept:
                self._show_kept(max(sum(each.sample.time <= time for each in kept) - 1, 0))

    def _show_kept(self, to: int) -> None:
        """Shows one of the kept samples, the last one as the newest; under the lock."""
        kept = self.past.kept
        if to >= len(kept) - 1:
            self._back, self._ages_then = None, None
            self.sample, self.rates, self.sets = self._newest, list(self._history), self._set_sizes
        else:
            self.sets = (None, None)  # they are known of the newest only
            self._back, self._ages_then = kept[to], Ages()
            for each in kept[: to + 1]:
                self._ages_then.update(each.sample.table, each.runs, each.sample.time)
            self.sample = kept[to].sample
            self._name()
            self.rates = [each.sample.totals.written_bytes_per_s for each in kept[: to + 1]][-HISTORY:]

    def set_mark(self) -> None:
        """Marks the newest sample; what is written from then on is kept apart."""
        with self.lock:
            if self._newest is not None:
                self.mark, self._since = Mark(self._newest.time), None

    def forget_mark(self) -> None:
        """Nothing is marked any more."""
        with self.lock:
            self.mark = None
