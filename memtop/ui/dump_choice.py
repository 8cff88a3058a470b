"""The state of the dump dialog: what can be chosen, what it comes to, what stands against it. No Textual."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeVar

from memtop.dump.background import Dumps, default_path
from memtop.dump.estimate import COPY, Forecast, Writes, forecast, pages_of, writes_of
from memtop.dump.image import Freeze
from memtop.dump.job import Format, Job
from memtop.dump.plan import Range
from memtop.dump.rounds import Verdict
from memtop.model.layout import PAGE
from memtop.model.names import clean_text
from memtop.model.sample import Sample
from memtop.model.units import clock, rate, seconds, size
from memtop.ui.dump_parts import Part
from memtop.ui.places import Place, Places
from memtop.ui.state import ProcessView

_T = TypeVar("_T")


FORMATS = {
    "core": ("core", "an ELF core: gdb PROGRAM core"),
    "snapshot": ("snap", "hashes, holes; others can add to it"),
    "criu": ("criu", "CRIU images, memory only: crit shows them"),
}
"""The ending of the file's name, and what it is."""

FREEZES = {
    Freeze.FINAL: "stands still for the last pages",
    Freeze.NONE: "never stands still: no point in time, no registers",
    Freeze.FULL: "stands still for the whole copy",
}


@dataclass(frozen=True, slots=True)
class Span:
    """A range to choose; ``only`` is None for the whole process.

    Attributes:
        mapping: id of the mapping that it belongs to.
    """

    name: str
    only: Range | None = None
    mapping: int | None = None


class DumpChoice:
    """What was selected when the key was pressed, and what the user makes of it.

    Args:
        view: of the process.
        dumps: makes them.
        now: unix seconds, for the file's name.
        places: answers about files without waiting for them.
        cost: what it takes to track the writes of the process, if they are not tracked yet.
        folder: for the file; empty: the current directory.

    Attributes:
        wanted: it was asked for while the disk had not answered yet; it is done when that has.
    """

    def __init__(
        self, view: ProcessView, dumps: Dumps, now: float, places: Places, cost: str = "", folder: str = ""
    ) -> None:
        self.view, self.key, self.title = view, view.key, view.title
        self._dumps, self._now, self._folder = dumps, now, folder
        self._places, self._cost = places, cost
        self.wanted = False
        self._filter = dumps.core_filter(view.process.pid)
        self.format = Format.CORE
        self.freeze = Freeze.FINAL
        self.spans = _spans(view)
        self.span = self.spans[0]
        self.path = self._suggested = self._suggest()
        self.parent = ""
        self.part = Part.FORMAT

    # ---- what the user does ------------------------------------------------------------------------------

    @property
    def parts(self) -> list[Part]:
        """Those that can be chosen among now."""
        return [part for part in Part if part is not Part.PARENT or self.format is Format.SNAPSHOT]

    def move(self, lines: int) -> None:
        """Goes to another line; round and round, as a form is filled in."""
        self.wanted = False
        parts = self.parts
        self.part = parts[(parts.index(self.part) + lines) % len(parts)]

    def change(self, step: int) -> None:
        """The next thing to choose in this line."""
        self.wanted = False
        if self.part is Part.FORMAT:
            self.format = _next(list(Format), self.format, step)
            self._follow_format()
        elif self.part is Part.RANGE:
            self.span = _next(self.spans, self.span, step)
        elif self.part is Part.FREEZE:
            self.freeze = _next(list(Freeze), self.freeze, step)

    def type(self, text: str) -> None:
        """The text of this line."""
        self.wanted = self.wanted and text in (self.path, self.parent)
        if self.part is Part.FILE:
            self.path = text
        elif self.part is Part.PARENT:
            self.parent = text

    def _follow_format(self) -> None:
        if self.path == self._suggested:
            self.path = self._suggested = self._suggest()
        if self.format is Format.SNAPSHOT:
            self.parent = self.parent or self._dumps.snapshots.get(self.key, "")

    def _suggest(self) -> str:
        ending = FORMATS[self.format.value][0]
        process = self.view.process
        return default_path(process.comm, process.pid, self._now, ending, self._folder)

    # ---- what it comes to -------------------------------------------------------------------------------

    @property
    def job(self) -> Job:
        """What is to be done."""
        return Job(
            os.path.expanduser(self.path),
            self.format,
            parent=os.path.expanduser(self.parent) or None if self.format is Format.SNAPSHOT else None,
            freeze=self.freeze,
            only=(self.span.only,) if self.span.only is not None else (),
        )

    def value(self, part: Part) -> tuple[str, str]:
        """What a line says, and what that means."""
        if part is Part.FORMAT:
            return self.format.value, FORMATS[self.format.value][1]
        if part is Part.FILE:
            return self.path, ""
        if part is Part.RANGE:
            return self.span.name, ""
        if part is Part.PARENT:
            if self.format is not Format.SNAPSHOT:
                return "–", "of a snapshot only"
            return self.parent, "" if self.parent else "none: all of it; a path: what has changed since"
        if self.freeze is Freeze.NONE and self._stops_to_look:
            return self.freeze.value, "no last stop: no point in time, no registers"
        return self.freeze.value, FREEZES[self.freeze]

    @property
    def _stops_to_look(self) -> bool:
        """Soft-dirty bits are read and cleared in two steps; the process stands still for both."""
        return self.view.newest is not None and self.view.newest.tracker.name == "soft-dirty"

    @property
    def place(self) -> Place | None:
        """What is known of the file's place; None: the disk has not answered yet."""
        job = self.job
        return self._places.at(job.path, job.parent or "")

    @property
    def against(self) -> str:
        """Why it can't be started like this; empty: it can."""
        job = self.job
        if self.view.over:
            return f"{self.title} has ended: there is nothing to dump any more"
        if not job.path or job.path.endswith("/") or job.path == "-":
            return "the file needs a name"
        place = self.place
        if place is None:
            return f"waits for the disk of {clean_text(job.path)}" if self.wanted else ""
        if place.taken:
            return f"{clean_text(job.path)} exists already: memtop writes new files only"
        if place.free is None:
            return f"there is no directory {clean_text(os.path.dirname(job.path))}"
        if job.parent and not place.parent:
            return f"there is no snapshot {clean_text(job.parent)}"
        if self.span.mapping is not None:
            return self._moved(self.span)
        return ""

    def _moved(self, span: Span) -> str:
        sample = self.view.newest
        index = (
            sample.table.index_of(span.mapping) if sample is not None and span.mapping is not None else None
        )
        if sample is None or index is None or span.only is None:
            return "the mapping has gone: nothing of it is left to dump"
        start, end = sample.table.range_of(index)
        if start > span.only.start or span.only.end > end:
            return "the mapping has changed its place or size: a new dialog takes it as it is now"
        return ""

    def lines(self, *, frozen: bool) -> list[tuple[str, bool]]:
        """What it will take, each line with whether it is a warning.

        Args:
            frozen: the picture is not of now.
        """
        sample = self.view.newest
        if sample is None:
            return []
        only, job = self.span.only, self.job
        since = job.parent is not None and self._dumps.continues(self.key, job.parent)
        pages = pages_of(sample, self._filter, only)
        writes = writes_of(sample, [(s.span, s.size) for s in self.view.newest_sets if s], only)
        told = forecast(
            pages,
            writes,
            resident=sample.totals.resident // PAGE,
            speed=self._dumps.speed,
            overhead=self._dumps.overhead,
            freeze=self.freeze,
        )
        place = self.place
        free = place.free if place is not None else None
        lines = [(self._size(told, free, since), _is_short(told, free, job))]
        lines += [(self._course(told, writes, sample), told.why is Verdict.STUCK)]
        if self._stops_to_look and self.freeze is not Freeze.FULL:
            lines.append(("soft-dirty: it stands still for each look at what it wrote", False))
        if self._cost and not self.view.tracking and self.freeze is not Freeze.FULL:
            lines.append((f"tracks writes meanwhile: {self._cost}", False))
        if frozen:
            when = clock(self.view.sample.time if self.view.sample else 0)
            lines.append((f"the picture is of {when}; the dump is of now", False))
        return lines

    def _size(self, told: Forecast, free: int | None, since: bool) -> str:
        text = f"about {size(told.size)}"
        if self.job.parent:
            text = f"what has changed, of {text}"
        if free is not None:
            text += f" · {'only ' if _is_short(told, free, self.job) else ''}{size(free)} free"
        if since:
            return f"{text} · reads only what was written since"
        speed = self._dumps.speed
        how = "as the last one did" if speed else "assumed"
        took = f"about {_span(told.took)} · " if told.took is not None else ""
        return f"{text} · {took}copies {rate(speed or COPY)} ({how})"

    def _course(self, told: Forecast, writes: Writes | None, sample: Sample) -> str:
        no_stop = "no last stop" if self._stops_to_look else "no stop"
        if told.rounds is None or told.stop is None:
            if self.freeze is Freeze.NONE:
                return f"how many rounds: not known, as writes are not tracked; {no_stop}"
            return "rounds and stop: not known, as writes are not tracked"
        if self.freeze is Freeze.FULL:
            return f"stands still for about {_span(told.stop)}"
        few, many = told.rounds
        rounds = f"{few} round{'s' if few > 1 else ''}" if few == many else f"{few} to {many} rounds"
        stop = no_stop if self.freeze is Freeze.NONE else f"then a stop of {_span(told.stop)}"
        assert writes is not None
        span, many_pages = writes.points[0]
        tail = f"; {rate(many_pages * PAGE / span) if many_pages else 'nothing'} is written"
        if told.why is Verdict.STUCK:
            tail += " faster than it is copied: no more rounds help"
        return f"about {rounds}, {stop}{tail}"


def _is_short(told: Forecast, free: int | None, job: Job) -> bool:
    """The disk has too little room, as far as that can be told before."""
    return free is not None and told.size > free and not job.parent


def _next(choices: list[_T], now: _T, step: int) -> _T:
    return choices[(choices.index(now) + step) % len(choices)]


def _span(pair: tuple[float, float]) -> str:
    """``3.1ms``, or ``3–40ms`` where the two differ by more than half."""
    low, high = map(seconds, pair)
    return high if pair[1] < 1.5 * pair[0] or low == high else f"{low} to {high}"


def _spans(view: ProcessView) -> list[Span]:
    """What can be dumped, by what is selected now: the narrowest last."""
    spans = [Span("the whole process")]
    sample = view.sample
    index = sample.table.index_of(view.selected) if sample is not None and view.selected is not None else None
    if sample is None or index is None:
        return spans
    m = sample.table[index]
    name = f"mapping {m.start:x}–{m.end:x}"
    spans.append(Span(f"{name} {size(m.end - m.start)} {m.name}".rstrip(), Range(m.start, m.end), m.id))
    marked = view.marked_range
    if marked is not None:
        text = f"marked {marked[0]:x}–{marked[1]:x} {size(marked[1] - marked[0])}"
        spans.append(Span(text, Range(*marked), m.id))
    return spans
