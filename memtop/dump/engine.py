"""Copies a process's memory while it runs, follows what it writes, and stops it only for the end."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import closing

from memtop.dump.account import consistency_of, doubts_of, doubts_of_unfollowed
from memtop.dump.aliases import Aliases
from memtop.dump.feed import Feed, Written
from memtop.dump.file_source import FileSource, object_files
from memtop.dump.hold import READY, Hold
from memtop.dump.hurry import PART, Hurry
from memtop.dump.image import Freeze, Image, Round, Statement
from memtop.dump.ledger import Ledger
from memtop.dump.live import NO_BEAT, LiveSource
from memtop.dump.notes import build_notes
from memtop.dump.output import Output, explain_output
from memtop.dump.plan import Census, Plan, compose, ranges_runs
from memtop.dump.progress import Progress, Result
from memtop.dump.recount import Expectation
from memtop.dump.rounds import Limits, Verdict, explain, judge
from memtop.dump.source import HeldSource, PageSink, PageSource
from memtop.linux.errors import ProcessGone
from memtop.linux.runsets import chop, runs_intersect, runs_pages, runs_subtract, runs_union, split
from memtop.linux.standstill import Stop, frozen, urgent
from memtop.linux.vmread import Held
from memtop.model.layout import PAGE
from memtop.model.runs import PageRuns

CHUNK = 16384
"""Pages between two looks at progress, cancellation and free space: 64 MiB at first. At each the disk comes
to rest; so it is doubled, up to 512 MiB, while they come faster than need be."""

LOOK_S = 0.25
"""Seconds between two looks; faster is of no use to anybody."""

SETTLE = 4
"""How often pages that were written while they were read are read again, when nothing stands still."""

STOPS = 3
"""How often it is stopped for the last pages at most: a stop ends early if its helper process is ended, or if
memtop itself is stopped (Ctrl-Z)."""

_SHARED = "shared memory: what other processes write there meanwhile is not followed"
_PINNED = (
    "the process has pages pinned for devices: what those write there meanwhile is not followed, and may be "
    "older than the rest; registered buffers of io_uring are read at last"
)


class Engine:
    """One dump.

    Args:
        source: the process; stays the caller's.
        feed: what it writes; None: not followed. Stays the caller's.
        sink: what makes the file.
        output: the file.
        freeze: when the process stands still.
        limits: of the rounds.
        known: pages that the parent has, where the feed has told all that was written since: what was not
            written is not read at all.
        watch: called now and then; raises ``Cancelled`` to end it all.
    """

    def __init__(
        self,
        source: LiveSource,
        feed: Feed | None,
        sink: PageSink,
        output: Output,
        *,
        freeze: Freeze = Freeze.FINAL,
        limits: Limits | None = None,
        known: PageRuns | None = None,
        watch: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._source, self._feed, self._sink, self._output = source, feed, sink, output
        self._freeze, self._limits, self._watch = freeze, limits or Limits(), watch
        self._known = known
        self._ledger, self._aliases = Ledger(), Aliases()
        self._progress = Progress()
        self._rounds: list[Round] = []
        self._stop: Stop | None = None
        self._cut_short: list[float] = []
        self._unsettled = self._final_pages = 0
        self._because = ""
        self._doubts: list[str] = []
        self._hold, self._hurry = Hold(), Hurry()
        self._chunk = CHUNK

    def run(self) -> Result:
        """Makes the dump, up to its final name.

        Raises:
            ProcessGone: the process ended or ran exec.
            Failed: the file could not be written, or it was cancelled.
        """
        began = time.monotonic()
        try:
            if self._sink.whole_files:
                objects = object_files(self._source.plan())
                self._sink.prepare(ranges_runs([taken for _, taken in objects]))
            if self._freeze is Freeze.FULL:
                plan, census = self._all_at_once()
            elif self._feed is None:
                plan, census = self._just_read()
            else:
                pending, expected = self._follow()
                if self._freeze is Freeze.FINAL:
                    plan, census = self._finish_stopped(pending, expected)
                else:
                    plan, census = self._settle(pending)
            if self._sink.whole_files:
                census = self._fill(plan, census)
            self._sink.drop(self._ledger.forget_all_but(census.data))
            self._sink.spare(self._ledger.empty)
            self._ledger.keep(runs_subtract(census.data, self._ledger.stored))
            image = self._image(plan, census)
            self._sink.finish(image)
        except OSError as error:
            raise explain_output(error, self._output.place) from error
        except ProcessGone as error:
            raise self._source.gone() from error
        finally:
            self._hurry.end()
        size = self._output.commit()
        return Result(image, time.monotonic() - began, size, self._doubts)

    # ---- copying ----------------------------------------------------------------------------------------

    def _store(self, runs: PageRuns, source: PageSource, *, again: bool) -> None:
        copied_into = self._sink.store(runs, source, again=again)
        self._ledger.enter(runs, copied_into.states)
        self._progress.bytes_written += copied_into.written
        self._progress.done += copied_into.pages

    def _copy(self, runs: PageRuns, *, again: bool) -> None:
        """From the process into the file, in chunks."""
        began, pages = time.monotonic(), runs_pages(runs)
        self._progress.round += 1
        self._progress.done, self._progress.total = 0, pages
        self._output.require(0 if again else pages * PAGE)
        if not again:
            self._sink.prepare(runs)
        while len(runs):
            self._hurry.check()
            in_hurry = self._hurry.on
            part, runs = split(runs, PART if in_hurry else self._chunk)
            self._watch(self._progress)
            self._output.require(0)
            looked = time.monotonic()
            with self._output.cached(in_hurry):
                self._store(part, self._source, again=again)
            if not in_hurry and time.monotonic() - looked < LOOK_S:
                self._chunk = min(2 * self._chunk, 8 * CHUNK)
            if not self._progress.frozen and not in_hurry:
                self._output.write_back()
        self._rounds.append(Round(pages, time.monotonic() - began))

    def _fill(self, plan: Plan, census: Census) -> Census:
        """Adds what program and libraries have in their files and not in memory."""
        with closing(FileSource(object_files(plan), self._source.file_of)) as files:
            absent = files.runs
            for runs in census.sets:
                absent = runs_subtract(absent, runs)
            self._output.require(0)
            for part in chop(absent, CHUNK):
                self._store(part, files, again=True)
        return Census(runs_union(census.data, absent), *census.others)

    def _missing(self, census: Census) -> PageRuns:
        """What is there and was not copied yet. "Clean but absent in the parent" is such, too."""
        missing = runs_subtract(census.data, self._ledger.stored)
        return missing if self._known is None else runs_subtract(missing, self._known)

    def _to_read(self, census: Census, written: PageRuns) -> PageRuns:
        """Of these pages those that are there, and what came without being written (read in, swapped in)."""
        return runs_union(runs_intersect(written, census.data), self._missing(census))

    # ---- while it runs ----------------------------------------------------------------------------------

    def _follow(self) -> tuple[PageRuns, Expectation]:
        """The rounds. Returns what was written during the last one, and what to expect from then on."""
        feed = self._feed
        assert feed is not None
        written = feed.take()
        began = looked = time.monotonic()
        plan = self._source.plan()
        expected = Expectation(plan, self._source.census(plan), written)
        if self._freeze is Freeze.FINAL and feed.protects:
            data = expected.census.data
            unfollowed = runs_pages(runs_intersect(data, ranges_runs(written.blind)))
            self._doubts += doubts_of_unfollowed(self._source.handle.pid, unfollowed, runs_pages(data))
        self._copy(self._first(expected.census, written), again=False)
        while True:
            written = self._hurry.look(feed.take)
            span, looked = time.monotonic() - looked, time.monotonic()
            plan = self._source.plan()
            if feed.protects:
                expected.advance(self._source, plan, written)
            else:
                expected = Expectation(plan, self._source.census(plan), written)
            pending = self._to_read(expected.census, self._aliases.told(plan, written.runs))
            dirty = runs_pages(pending)
            self._progress.dirty = dirty
            verdict = judge(self._rounds, dirty, time.monotonic() - began, self._limits)
            stops = self._freeze is Freeze.FINAL
            if (
                stops
                and verdict is Verdict.STUCK
                and not self._hold.fits(dirty)
                and self._hold.make_room(2 * dirty)
            ):
                verdict = Verdict.GO_ON  # while that took its time, more was written
            if verdict is not Verdict.GO_ON:
                self._because = explain(verdict, self._rounds, dirty, span)
                if written.shared:
                    self._doubts.append(_SHARED)
                if written.pinned:
                    self._doubts.append(_PINNED)
                return pending, expected
            if stops:
                self._hold.make_room(READY)
            if feed.protects:
                self._hurry.before(dirty)
            self._copy(pending, again=True)

    def _first(self, census: Census, written: Written) -> PageRuns:
        """All; or, on top of a parent, what was written since, what nobody can tell of, and what it lacks."""
        if self._known is None:
            return census.data
        unsure = written.runs
        for unseen in (written.blind, written.shared, written.pinned):
            unsure = runs_union(unsure, ranges_runs(unseen))
        self._known = runs_subtract(self._known, unsure)
        return self._missing(census)

    def _settle(self, pending: PageRuns) -> tuple[Plan, Census]:
        """Nothing stands still: pages written while they were read are read again, some times over."""
        feed = self._feed
        assert feed is not None
        self._hurry.end()
        plan = self._source.plan()
        census = self._source.census(plan)
        for _ in range(SETTLE):
            self._copy(runs_intersect(pending, census.data), again=True)
            written = feed.take()
            plan = self._source.plan()
            census = self._source.census(plan)
            pending = self._to_read(census, self._aliases.told(plan, written.runs))
            if not len(pending):
                break
        # Once more, torn or not: an increment on top of this has to find what was written up to here.
        self._store(self._to_read(census, pending), self._source, again=True)
        self._unsettled = runs_pages(pending)
        if self._unsettled:
            self._doubts.append(
                f"{self._unsettled} pages were written each time they were read, and may be torn"
            )
        untold = runs_pages(runs_intersect(census.data, ranges_runs(written.blind)))
        if untold:
            self._doubts.append(f"{untold} pages that nothing follows were read once, and may be torn")
        return plan, census

    def _just_read(self) -> tuple[Plan, Census]:
        plan = self._source.plan()
        census = self._source.census(plan)
        self._copy(census.data, again=False)
        self._source.plan()  # it is still the same address space
        return plan, census

    # ---- while it stands still ----------------------------------------------------------------------------

    def _finish_stopped(self, pending: PageRuns, expected: Expectation) -> tuple[Plan, Census]:
        """Stops all threads, reads what is left into memory, and lets them go before anything is written."""
        feed = self._feed
        assert feed is not None
        self._hold.make_room(runs_pages(pending) * 5 // 4 + READY // 4)
        while True:
            plan, census, left, held, rest = self._read_stopped(pending, expected)
            self._stopped()
            # What had lost its protection still has: another look finds it, and what was written since.
            again = feed.protects and len(self._cut_short) + 1 < STOPS
            if self._stop is None or self._stop.complete or not again:
                break
            self._cut_short.append(self._stop.whole_s)
            pending = left
        self._store(held.runs, HeldSource(held), again=True)
        self._final_pages = runs_pages(held.runs) + runs_pages(rest)
        return plan, census

    def _read_stopped(
        self, pending: PageRuns, expected: Expectation
    ) -> tuple[Plan, Census, PageRuns, Held, PageRuns]:
        """One stop: what there is, what of it was read, what of that is in memory, and what in the file."""
        feed, source = self._feed, self._source
        assert feed is not None
        self._progress.frozen = True
        self._watch(self._progress)
        gc.disable()
        try:
            with feed.alone(), urgent(), frozen(source.handle) as still:
                source.beat = still.beat
                plan, census, again = self._last_look(expected)
                left = self._to_read(census, runs_union(pending, again))
                held, rest = self._hold.read(source, left)
                for part in chop(rest, CHUNK):
                    self._store(part, source, again=True)
                self._stop = still.release()
        finally:
            source.beat = NO_BEAT
            gc.enable()
            self._hurry.end()
        return plan, census, left, held, rest

    def _last_look(self, expected: Expectation) -> tuple[Plan, Census, PageRuns]:
        """What there is, and what of it has to be read again."""
        feed, source = self._feed, self._source
        assert feed is not None
        if feed.protects:
            plan = source.plan()
            changed = expected.recount(source, plan, feed.overheard())
            return plan, expected.census, self._aliases.told_at_last(plan, changed)
        written = feed.take(stopped=True)
        plan = source.plan()
        again = runs_union(written.runs, ranges_runs(written.blind))
        return plan, source.census(plan), self._aliases.told_at_last(plan, again)

    def _stopped(self) -> None:
        self._progress.frozen = False
        self._progress.stop_s = self._stop.whole_s if self._stop is not None else 0.0
        self._watch(self._progress)

    def _all_at_once(self) -> tuple[Plan, Census]:
        """``--freeze full``: it stands still for the whole copy, as with gcore."""
        source = self._source
        self._output.require(0)
        self._progress.frozen = True
        try:
            with frozen(source.handle) as still:
                source.beat = still.beat
                plan = source.plan()
                census = source.census(plan)
                self._copy(census.data, again=False)
                self._stop = still.release()
        finally:
            source.beat = NO_BEAT
        self._stopped()
        self._final_pages = self._rounds.pop().pages
        return plan, census

    # ---- the result ---------------------------------------------------------------------------------

    def _image(self, plan: Plan, census: Census) -> Image:
        statement = self._statement()
        areas = compose(plan, census, self._ledger.found())
        threads = self._source.about(self._stop.threads) if self._stop else []
        notes = build_notes(self._source.facts, threads, areas, statement)
        return Image(self._source.origin(), areas, statement, notes)

    def _statement(self) -> Statement:
        stop, feed = self._stop, self._feed
        self._doubts += doubts_of(stop, feed, self._cut_short)
        if self._because:
            self._doubts.insert(0, self._because)
        return Statement(
            freeze=self._freeze,
            consistency=consistency_of(stop, feed),
            tracker=feed.name if feed else "off",
            exactness=feed.exactness.value if feed else "none",
            ended_because=self._because,
            rounds=self._rounds,
            stop_s=stop.whole_s if stop else 0.0,
            longest_s=stop.longest_s if stop else 0.0,
            threads=len(stop.threads) if stop else 0,
            final_pages=self._final_pages,
            unsettled=self._unsettled,
            doubts=list(self._doubts),
        )
