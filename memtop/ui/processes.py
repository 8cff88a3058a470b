"""The list of all processes on screen: its columns, its order, its sums. No Textual here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memtop.model.coverage import MARKS, Coverage, Exactness
from memtop.model.layout import CountFlag
from memtop.model.sample import Life
from memtop.model.units import DASH, count, percent, seconds, size
from memtop.ui import packed
from memtop.ui.lines import Run, fill
from memtop.ui.state import ProcessView
from memtop.ui.theme import Palette

_HUGE = int(CountFlag.WRITTEN_HUGE)


def written(view: ProcessView) -> float | None:
    """Bytes a second; None: not tracked, not known yet, or ended."""
    sample = view.sample
    if sample is None or view.ended or sample.baseline:
        return None
    return sample.totals.written_bytes_per_s


def exactness(view: ProcessView) -> Exactness:
    """The worst of the mappings that are tracked."""
    if view.sample is None or not view.tracking:
        return Exactness.NONE
    known = {Coverage(c).exactness for c in set(view.sample.coverage)} - {Exactness.NONE}
    if view.sample.tracker.exact is Exactness.APPROXIMATE or Exactness.APPROXIMATE in known:
        return Exactness.APPROXIMATE
    huge = any(bits & _HUGE for bits in set(packed.flags(view.sample)))
    return Exactness.HUGE_PAGE if huge else Exactness.EXACT


def state(view: ProcessView) -> str:
    """One word."""
    if view.sample is None:
        return "waits"
    return {Life.ENDED: "ended", Life.EXECED: "exec"}.get(
        view.sample.life, "tracked" if view.tracking else "live"
    )


def _written_set(view: ProcessView) -> float | None:
    known = view.sets[0]
    return None if known is None or view.ended else known.size


def _resident(view: ProcessView) -> float | None:
    return None if view.sample is None else view.sample.totals.resident


def _huge(view: ProcessView) -> float | None:
    return None if view.sample is None else view.sample.totals.huge


def _swap(view: ProcessView) -> float | None:
    return None if view.sample is None else view.sample.totals.swapped


def _faults(view: ProcessView) -> float | None:
    if view.sample is None or view.ended:
        return None
    minor, major = view.sample.faults.minor_per_s, view.sample.faults.major_per_s
    return None if minor is None and major is None else (minor or 0.0) + (major or 0.0)


def _share(view: ProcessView) -> str:
    return percent(_huge(view), _resident(view))


@dataclass(frozen=True, slots=True)
class ProcessColumn:
    """One column of the list.

    Attributes:
        head: what stands above it.
        width: cells.
        key: to sort by; unknown values come last.
        text: what stands in it.
        gives_way: 1 is the first to be left out on a narrow screen; 0 stays.
        down: the largest come first.
        right: aligned to the right.
        add: sums mean something; ``text_of`` words them.
    """

    head: str
    width: int
    key: Callable[[ProcessView], float | str | None]
    text: Callable[[ProcessView], str]
    gives_way: int = 0
    down: bool = True
    right: bool = True
    add: Callable[[float | None], str] | None = None


def _set_text(view: ProcessView) -> str:
    """With the seconds that it covers, as long as those are fewer than the head says."""
    known = view.sets[0]
    if known is None or view.ended:
        return DASH
    return size(known.size) if known.span >= 9.5 else f"{seconds(known.span)} {size(known.size):>4}"


def _marked(view: ProcessView) -> str:
    rate = written(view)
    return size(rate) + (" " if rate is None else MARKS.get(exactness(view), " "))


PID = ProcessColumn("PID", 7, lambda v: float(v.process.pid), lambda v: str(v.process.pid), down=False)
NAME = ProcessColumn("NAME", 15, lambda v: v.process.comm, lambda v: v.process.comm, down=False, right=False)
USER = ProcessColumn(
    "USER", 8, lambda v: v.process.user, lambda v: v.process.user, 2, down=False, right=False
)
STATE = ProcessColumn("STATE", 7, state, state, down=False, right=False)
WRITTEN = ProcessColumn("WRITTEN/S", 10, written, _marked, add=size)
SET = ProcessColumn("SET 10 s", 9, _written_set, _set_text, 3)
RESIDENT = ProcessColumn("RSS", 6, _resident, lambda v: size(_resident(v)), add=size)
HUGE = ProcessColumn("HUGE", 5, _huge, _share, 4)
SWAP = ProcessColumn("SWAP", 6, _swap, lambda v: size(_swap(v)), 5, add=size)
FAULTS = ProcessColumn("FAULTS/S", 8, _faults, lambda v: count(_faults(v)), 6, add=count)
COMMAND = ProcessColumn(
    "COMMAND", 0, lambda v: v.process.cmdline, lambda v: v.process.cmdline, 1, False, False
)

COLUMNS = (PID, NAME, USER, STATE, WRITTEN, SET, RESIDENT, HUGE, SWAP, FAULTS, COMMAND)
"""In the order of the screen."""

NOTE = "≤: shared memory is counted once for each process"
"""What has to be said of every sum."""


def columns_for(width: int) -> tuple[ProcessColumn, ...]:
    """The columns that there is room for; the command takes what is left of it, from 10 cells on."""
    shown = list(COLUMNS)
    for column in sorted((f for f in COLUMNS if f.gives_way), key=lambda f: f.gives_way):
        need = sum((f.width or 10) + 1 for f in shown) + 2
        if need <= width:
            break
        shown.remove(column)
    return tuple(shown)


def arranged(
    views: Sequence[ProcessView], by: ProcessColumn, reverse: bool, words: Sequence[str] = ()
) -> list[ProcessView]:
    """Those that have every word in pid, name, user or command, in order: ties by pid, unknown last.

    What has ended stands below all that lives.
    """
    found = [v for v in views if all(word in about(v) for word in words)]
    found.sort(key=lambda v: v.key)
    known = [v for v in found if by.key(v) is not None]
    known.sort(key=by.key, reverse=by.down ^ reverse)  # type: ignore[arg-type]
    return sorted([*known, *(v for v in found if by.key(v) is None)], key=lambda v: v.ended)


def about(view: ProcessView) -> str:
    """What is searched, in lower case."""
    p = view.process
    return f"{p.pid} {p.comm} {p.user} {p.cmdline} {state(view)}".casefold()


def column_at(columns: Sequence[ProcessColumn], width: int, x: int) -> ProcessColumn | None:
    """The column that this cell belongs to."""
    at = 2
    for column in columns:
        cells = _width(column, columns, width)
        if at <= x < at + cells:
            return column
        at += cells + 1
    return None


def head_runs(
    columns: Sequence[ProcessColumn], by: ProcessColumn, reverse: bool, width: int, p: Palette
) -> list[Run]:
    """The heads, with an arrow at the one that sorts."""
    runs: list[Run] = [("  ", p.dim)]
    for column in columns:
        arrow = ("▼" if by.down ^ reverse else "▲") if column is by else ""
        text = fill(
            column.head + arrow if not column.right else arrow + column.head,
            _width(column, columns, width),
            right=column.right,
        )
        runs += [(text, p.accent if column is by else p.dim), (" ", p.dim)]
    return runs


def row_runs(view: ProcessView, columns: Sequence[ProcessColumn], width: int, p: Palette) -> list[Run]:
    """One process."""
    runs: list[Run] = []
    for column in columns:
        text = fill(column.text(view), _width(column, columns, width), right=column.right)
        style = p.text
        if view.ended or column.text(view).strip() in (DASH, "0", "0%"):
            style = p.faint
        elif column is WRITTEN:
            style = p.written(True)
        elif column is NAME:
            style = p.strong
        elif column in (COMMAND, USER, PID):
            style = p.dim
        runs += [(text, style), (" ", p.text)]
    return runs


def sum_runs(
    views: Sequence[ProcessView], columns: Sequence[ProcessColumn], width: int, p: Palette
) -> list[Run]:
    """Sums over those that live; ``≥`` where one is not known, ``≤`` where shared memory counts again."""
    alive = [v for v in views if not v.ended and v.sample is not None]
    runs: list[Run] = [("Σ ", p.accent)]
    for column in columns:
        text = ""
        if column is NAME:
            text = f"{len(alive)} of {len(views)} live"
        elif column.add is not None and alive:
            values = [column.key(v) for v in alive]
            known = [float(value) for value in values if value is not None]
            twice = column in (RESIDENT, SWAP) and len(known) > 1 and sum(known) > 0
            missing = len(known) < len(values)
            bound = "~" if twice and missing else "≥" if missing else "≤" if twice else ""
            text = bound + column.add(sum(known)) if known else DASH
            if column is WRITTEN:
                marks = {MARKS.get(exactness(v), " ") for v in alive if written(v) is not None}
                text += next((mark for mark in MARKS.values() if mark in marks), " ")
        cells = _width(column, columns, width)
        runs.append((fill(text, cells, right=column.right), p.strong))
        runs.append((" ", p.text))
    return runs


def _width(column: ProcessColumn, columns: Sequence[ProcessColumn], width: int) -> int:
    return column.width or max(width - 2 - sum(f.width + 1 for f in columns if f.width) - 1, 0)
