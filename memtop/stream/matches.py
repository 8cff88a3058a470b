"""What ``memtop scan`` found → text lines or JSON Lines; docs/filter.md describes both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from memtop.model import units
from memtop.model.coverage import MARKS, Exactness
from memtop.model.layout import PAGE, Category
from memtop.model.names import clean_text
from memtop.model.sample import Process
from memtop.stream.jsonl import line_of
from memtop.tracking.rounds import Found

VERSION = 1
_MARKS = {**MARKS, Exactness.NONE: "?"}
_MARKED = Category.WRITTEN | Category.SOFT_DIRTY


@dataclass(frozen=True, slots=True)
class Round:
    """One look at one process.

    Attributes:
        number: from 1 on.
        time: unix seconds of its beginning.
        interval: measured seconds since the protecting look before; 0 where nothing was protected.
    """

    process: Process
    match: str
    number: int
    time: float
    interval: float
    protect: bool


class Writer(Protocol):
    """One round after another, as strings to be printed."""

    def begin(self, now: Round) -> str:
        """Before the first match."""
        ...

    def found(self, found: Found) -> str:
        """One match."""
        ...

    def end(self, now: Round, runs: int, pages: int) -> str:
        """Behind the last one."""
        ...


def category_names(categories: Category) -> list[str]:
    """In the order of the bits."""
    return [str(c.name).lower() for c in Category if c & categories]


class JsonWriter:
    """One object a line."""

    def begin(self, now: Round) -> str:
        """``type`` is ``scan``."""
        return line_of(
            {
                "type": "scan",
                "version": VERSION,
                "time": round(now.time, 6),
                "interval": round(now.interval, 6),
                "pid": now.process.pid,
                "start_time": now.process.start_time,
                "comm": now.process.comm,
                "match": now.match,
                "round": now.number,
                "protect": now.protect,
            }
        )

    def found(self, found: Found) -> str:
        """``type`` is ``match``."""
        match, mapping, exactness = found.match, found.mapping, found.exactness
        return line_of(
            {
                "type": "match",
                "start": f"{match.start:#x}",
                "end": f"{match.end:#x}",
                "pages": match.pages,
                "categories": category_names(match.categories),
                "kind": mapping.kind.label if mapping else None,
                "name": mapping.name if mapping else None,
                "exactness": exactness.value if exactness else None,
                "reason": found.coverage.reason if exactness else "",
            }
        )

    def end(self, now: Round, runs: int, pages: int) -> str:
        """``type`` is ``scan-end``."""
        return line_of({"type": "scan-end", "round": now.number, "runs": runs, "pages": pages})


class TextWriter:
    """A table without a frame: matches may be many, so nothing waits for the last one."""

    def __init__(self) -> None:
        self._marks: set[Exactness] = set()

    def begin(self, now: Round) -> str:
        """What is looked for, and the columns."""
        process = now.process
        since = f"  round {now.number}, {units.seconds(now.interval)} long" if now.interval else ""
        self._marks.clear()
        return (
            f"{process.comm} {process.pid}  {clean_text(now.match)}{since}\n"
            f"{'ADDRESS':>16} {'END':>16} {'PAGES':>9}  {'CATEGORIES':32} {'KIND':8} NAME\n"
        )

    def found(self, found: Found) -> str:
        """One line."""
        match, mapping, exactness = found.match, found.mapping, found.exactness
        mark = _MARKS.get(exactness, "") if exactness else ""
        if exactness and mark:
            self._marks.add(exactness)
        names = " ".join(
            str(c.name).lower() + (mark if c & _MARKED else "") for c in Category if c & match.categories
        )
        kind, name = (mapping.kind.label, mapping.name) if mapping else ("new", "")
        return (
            f"{match.start:16x} {match.end:16x} {match.pages:9}  {names:32} {kind:8} {name}".rstrip() + "\n"
        )

    def end(self, now: Round, runs: int, pages: int) -> str:
        """The sum, and what the marks mean."""
        say = {
            Exactness.APPROXIMATE: "~ approximate: new, shared, or soft-dirty",
            Exactness.HUGE_PAGE: "² a huge page: less of it may have been written",
            Exactness.NONE: "? can't be tracked",
        }
        marks = "".join(f"  {say[e]}" for e in say if e in self._marks)
        size = units.size(pages * PAGE)
        return f"{units.count(pages)} pages ({size}) in {units.count(runs)} run{'s' * (runs != 1)}{marks}\n\n"
