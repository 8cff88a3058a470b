"""The header: which process, when, which tracker, how exact, at what interval, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from memtop.linux.pagemap import count_sum
from memtop.model.coverage import MARKS, Coverage, Exactness
from memtop.model.layout import PAGE, CountFlag
from memtop.model.sample import Life, Sample
from memtop.model.units import DASH, count, percent, seconds, size
from memtop.sampler.source import Position
from memtop.ui.keymap import keyed
from memtop.ui.lines import Field, Run, cut, fit, sparkline, spread, width_of
from memtop.ui.state import ProcessView
from memtop.ui.theme import Palette
from memtop.ui.who import WIDE, who_runs
from memtop.ui.widgets.drawn import Drawn
from memtop.ui.widgets.kinds import kinds_runs

TALL = 30
"""From this height on there is room to say what resident memory is for."""

SHORTEST_NOTE = 20
"""Cells that a part of the tracker's note must have to say anything."""

TERMS = {
    "live": "every sample is drawn when it comes",
    "unchanged": "for ten seconds before the clock's time, and since, nothing was seen written and nothing "
    "shown here has changed; the clock goes on with the next change or key, and once a minute",
    "WRITTEN": "memory written per second: every page counts once a sample",
    "SET": "different memory written in the last 10 and 60 seconds, or in as many as there were; of earlier "
    "samples it is a dash: it is known of the newest sample only",
    "SINCE MARK": "the same since the mark (m); of the newest sample only, too",
    "RSS": "resident memory; on tall screens the next line says what it is used for",
    "HUGE": "share of it that huge pages map, and how many of them tracking has split",
    "FAULTS": "page faults per second of the process, minor and major",
    "every": "time between two samples; (budget): longer than asked for, to stay below --max-cost",
    "scan": "how long the last look at all mappings took",
    "target": "what tracking costs the process at most: write faults, and their share of its time",
    "memtop": "share of one processor that memtop itself takes",
}
"""What the words of the header mean, for the help page."""

_EXACTNESS = {
    Exactness.EXACT: "exact",
    Exactness.APPROXIMATE: f"{MARKS[Exactness.APPROXIMATE]} approximate",
    Exactness.HUGE_PAGE: f"{MARKS[Exactness.HUGE_PAGE]} 2 MiB",
    Exactness.NONE: "no tracking",
}


def header_height(width: int, height: int) -> int:
    """Lines of the header on a screen of this size; a wide one has the cost beside the tracker."""
    if height < 20:
        return 2
    return (3 if width >= WIDE else 4) + (height >= TALL)


class HeaderBar(Drawn):
    """Two to five lines; what gives way first is what can be seen elsewhere."""

    def show(
        self,
        view: ProcessView,
        *,
        nominal: float,
        frozen: bool,
        stands: bool = False,
        cpu: float | None,
        position: Position | None = None,
        can_act: bool = True,
    ) -> None:
        """Draws the header.

        Args:
            nominal: seconds between samples as asked for.
            frozen: the picture was stopped.
            stands: it is not drawn anew, because nothing happens.
            cpu: share of one CPU that all of memtop uses, or None.
            position: where among the samples that can be gone back to.
            can_act: something can be done to the process.
        """
        p, width = self.look.palette, self.size.width
        sample = view.sample
        wide = width >= WIDE
        state = state_run(view, frozen, p, position, stands)
        lines = [identity_line(view, nominal if wide else None, state, p, width)]
        if sample is None:
            recorded = position is not None and position.recorded
            text = "the recording has no sample of it yet …" if recorded else "the first scan runs …"
            lines.append([(f" {text}", p.dim)])
        elif self.size.height == 2:
            lines.append(
                _line(
                    [*totals_fields(view, sample, p), *tracker_fields(sample, nominal, p, can_act)], width, p
                )
            )
        else:
            lines.append(_line(totals_fields(view, sample, p), width, p))
            if self.size.height > (3 if wide else 4):
                lines.append(kinds_runs(sample, width, p))
            tracker = tracker_fields(sample, None if wide else nominal, p, can_act)
            cost = cost_fields(sample, cpu, p)
            if wide:
                lines.append(_with_note(_line([*tracker, *cost], width, p), sample, width, p))
            else:
                lines.append(_line(tracker, width, p))
                lines.append(_with_note(_line(cost, width, p), sample, width, p))
        self.draw_runs(lines)


def _join(parts: Sequence[Sequence[Run]], p: Palette, gap: str = "   ") -> list[Run]:
    runs: list[Run] = [(" ", p.text)]
    for i, part in enumerate(parts):
        if i:
            runs.append((gap, p.text))
        runs += part
    return runs


def _line(fields: Sequence[Field], width: int, p: Palette) -> list[Run]:
    wide = fit(fields, width - 2, 3)
    if wide == [field.forms[0] for field in fields]:  # nothing gives way
        return _join(wide, p)
    tight = fit(fields, width - 2, 2)
    # A narrower gap, where it saves words.
    more = sum(map(width_of, tight)) > sum(map(width_of, wide))
    return _join(tight, p, "  ") if more else _join(wide, p)


def identity_line(view: ProcessView, nominal: float | None, state: Run, p: Palette, width: int) -> list[Run]:
    """Who, on which host, when, at what interval (where ``nominal`` is given), and whether it lives."""
    process, sample = view.process, view.sample
    left = who_runs(process, p, width, sample.time if sample is not None else None)
    when = ""
    if sample is not None:
        form = "%Y-%m-%d %H:%M:%SZ" if width >= 76 else "%H:%M:%SZ"
        when = datetime.fromtimestamp(sample.time, timezone.utc).strftime(form)
    right: list[Run] = [("  ", p.text), (when, p.text), ("   ", p.text)]
    if nominal is not None:
        right += [*interval_forms(sample, nominal, p)[0], ("   ", p.text)]
    return spread(left, [*right, state, (" ", p.text)], width, p.text)


def state_run(
    view: ProcessView, frozen: bool, p: Palette, position: Position | None = None, stands: bool = False
) -> Run:
    """Live, frozen, ended, replayed, or waiting for the first sample; which one where there are several."""
    if view.sample is None:
        return ("○ waits" if position is not None and position.recorded else "○ first scan", p.dim)
    where = "" if position is None else f" {position.at}/{position.moments}"
    if position is not None and position.recorded:
        if position.at_end:
            return (f"■ replay end{where}", p.warn)
        if not (frozen or position.follows):
            speed = "" if position.speed == 1 else f" {position.speed:g}×"
            return (f"▸ replay{where}{speed}", p.accent)
    if view.sample.life is Life.ENDED:
        return (f"■ ended{where}", p.warn)
    if view.back is not None and view.newest is not None and position is None:
        return (f"‖ {seconds(view.newest.time - view.sample.time)} back", p.warn)
    if frozen:
        return (f"‖ frozen{where}", p.warn)
    return ("● unchanged" if stands else "● live", p.good)


def totals_fields(view: ProcessView, sample: Sample, p: Palette) -> list[Field]:
    """Written a second with its sparkline, resident, huge, swap, faults."""

    def number(label: str, text: str, width: int, keep: int) -> Field:
        value = (text.rjust(width), p.faint if text == DASH else p.strong)
        return Field((((f"{label} ", p.dim), value),), keep)

    totals, faults = sample.totals, sample.faults
    rate = None if sample.baseline else totals.written_bytes_per_s
    label, value = (
        ("WRITTEN ", p.dim),
        (size(rate).rjust(5), p.faint if rate is None else p.written(rate > 0)),
    )
    unit = ("  " if rate is None else "/s", p.dim)
    written: tuple[Sequence[Run], ...] = ((label, value, unit),)
    if view.tracking:
        bars = [(label, value, unit, (" ", p.text), (sparkline(view.rates, n), p.spark)) for n in (24, 16, 8)]
        written = (*bars, *written)
    fields = [
        Field(written, 9, needed=True),
        *([Field(set_forms(view, p), 5)] if view.tracking else []),
        *([Field(mark_forms(view, p), 10)] if view.marked_at is not None else []),
        number("RSS", size(totals.resident), 5, 8),
        Field(huge_forms(sample, p), 7),
        number("SWAP", size(totals.swapped), 5 if totals.swapped is not None else 1, 4),
    ]
    minor, major = faults.minor_per_s, faults.major_per_s
    either = None if minor is None and major is None else (minor or 0.0) + (major or 0.0)
    value = (count(either).rjust(4), p.faint if either is None else p.strong)
    fields.append(Field(((("FAULTS ", p.dim), value, ("/s", p.dim)),), 6))
    return fields


def set_forms(view: ProcessView, p: Palette) -> tuple[Sequence[Run], ...]:
    """Written working sets, with the seconds that they cover: at first fewer than they will."""
    known = [(seconds(each.span), size(each.size)) for each in view.sets if each is not None]
    if not known:
        return ((("SET ", p.dim), (DASH, p.faint)),)
    if len({span for span, _ in known}) == 1:
        known = known[:1]
    parts = [((f"{span} ", p.dim), (text.rjust(4), p.strong)) for span, text in known]
    gap: Run = (" · ", p.faint)
    both = [("SET ", p.dim), *parts[0], *((gap, *parts[1]) if len(parts) > 1 else ())]
    return both, [("SET ", p.dim), *parts[-1]]


def mark_forms(view: ProcessView, p: Palette) -> tuple[Sequence[Run], ...]:
    """Memory written since the mark, each page once: what the next round of a migration has to copy."""
    pages, sample = view.since_mark(), view.sample
    if pages is None or sample is None or view.mark is None or not view.tracking:
        return ((("SINCE MARK ", p.dim), (DASH, p.faint)),)
    span = f"{seconds(sample.time - view.mark.time)} " if sample.time > view.mark.time else ""
    value: Run = (size(sum(pages) * PAGE).rjust(4) + ("~" if view.mark.gap else ""), p.strong)
    return (("SINCE MARK ", p.dim), (span, p.dim), value), (("MARK ", p.dim), value)


def huge_forms(sample: Sample, p: Palette) -> tuple[Sequence[Run], ...]:
    """Share of resident memory in huge pages, and how many of them tracking has split."""
    share = percent(sample.totals.huge, sample.totals.resident)
    short = (("HUGE ", p.dim), (share.rjust(4), p.faint if share == DASH else p.strong))
    split = sample.tracker.huge_split
    return ((*short, (f" {count(split)} split", p.warn)), short) if split else (short,)


def percent_of(part: float, whole: float) -> str:
    """A small share with one decimal, always as wide: `` 0.2%``."""
    return f"{100 * part / whole:4.1f}%"


def _with_note(runs: list[Run], sample: Sample, width: int, p: Palette) -> list[Run]:
    """And as much of the tracker's note as there is room for; the help page has all of it."""
    room = width - width_of(runs) - 4
    if sample.tracker.note and room >= SHORTEST_NOTE:
        runs.append(("   " + cut(sample.tracker.note, room), p.faint))
    return runs


def tracker_fields(sample: Sample, nominal: float | None, p: Palette, can_act: bool = True) -> list[Field]:
    """Tracker, exactness with its marks, how much is tracked, interval."""
    tracker = sample.tracker
    if tracker.name == "off":
        name: tuple[Sequence[Run], ...] = (
            (("writes are not tracked", p.warn), (keyed(" · {arm} tracks them"), p.dim)),
            (("writes are not tracked", p.warn),),
            (("not tracked", p.warn),),
        )
        if tracker.note:  # it was tried, or can't be: the note says why
            name = ((("writes can't be tracked", p.warn),),)
        elif not can_act:
            name = name[1:]
        fields = [Field(name, 9, needed=True)]
    else:
        exact = (_EXACTNESS[tracker.exact], p.strong)
        marked = marks_used(sample)
        if not tracker.armed:
            exact = ("nothing is tracked", p.warn)
        title: Run = (tracker.name, p.strong)
        forms: list[Sequence[Run]] = [(title, (" · ", p.faint), exact)]
        if marked and tracker.exact is Exactness.EXACT:
            forms.insert(0, (*forms[0], (f" ({marked})", p.dim)))
        armed, all_ = count(tracker.armed), count(tracker.mappings)
        if tracker.armed == tracker.mappings:
            some: tuple[str, ...] = (f"all {all_} mappings", "all")
        else:
            some = (f"{armed} of {all_} mappings", f"{armed}/{all_} mappings", f"{armed}/{all_}")
        fields = [Field(tuple(forms), 9, needed=True), Field(tuple(((form, p.text),) for form in some), 7)]
    if nominal is not None:
        fields.append(Field(interval_forms(sample, nominal, p), 8, needed=True))
    return fields


def interval_forms(sample: Sample | None, nominal: float, p: Palette) -> tuple[Sequence[Run], ...]:
    """Measured seconds since the sample before; the nominal ones too where they differ, and why."""
    measured = sample.interval if sample else 0.0
    if sample is None or measured == 0:
        return ((("every ", p.dim), (seconds(nominal), p.text)),)
    if sample.stretched and seconds(measured) != seconds(nominal):
        value = (seconds(measured), p.warn)
        short = (("every ", p.dim), value, (" (budget)", p.dim))
        least = (short[0], value)
        return ((*short, (f", asked {seconds(nominal)}", p.dim)), short, least)
    late = abs(measured - nominal) > max(0.1 * nominal, 0.05)
    value = (seconds(measured), p.warn if late else p.text)
    plain = (("every ", p.dim), value)
    return ((*plain, (f", asked {seconds(nominal)}", p.dim)), plain) if late else (plain,)


def marks_used(sample: Sample) -> str:
    """The marks that rows of this sample carry, as a legend: ``~ approximate, ² 2 MiB``."""
    approximate = any(Coverage(c).exactness is Exactness.APPROXIMATE for c in set(sample.coverage))
    huge = bool(count_sum(sample.counts).flags & CountFlag.WRITTEN_HUGE)
    used = ((Exactness.APPROXIMATE, approximate), (Exactness.HUGE_PAGE, huge))
    return ", ".join(_EXACTNESS[exactness] for exactness, there in used if there)


def cost_fields(sample: Sample, cpu: float | None, p: Palette) -> list[Field]:
    """What memtop costs: time of the scan, faults in the target at most, CPU."""

    def value(label: str, text: str, keep: int) -> Field:
        return Field((((f"{label} ", p.dim), (text, p.text)),), keep)

    cost = sample.cost
    fields = [value("scan", seconds(cost.scan_s).rjust(5), 5)]
    if sample.tracker.name != "off" and sample.interval > 0:
        faults = count(cost.target_faults / sample.interval)
        bound = (f"≤{faults:>4} faults/s", p.text)
        taken = (f" ={percent_of(cost.target_s, sample.interval)}", p.text)
        fields.append(Field(((("target ", p.dim), bound, taken), (("target ", p.dim), bound)), 6))
    if cost.stop_s:
        fields.append(value("stopped", seconds(cost.stop_s), 7))
    share = DASH if cpu is None else f"{100 * cpu:.1f}%"
    fields.append(value("memtop", f"{share:>5} CPU", 4))
    return fields
