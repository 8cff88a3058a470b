"""What ``memtop diff`` found → text lines or JSON Lines; docs/dumps.md describes both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from memtop.dump.diff import Change, MappingDiff, Memory, Reader, lines, permissions, title
from memtop.model import units
from memtop.model.layout import PAGE
from memtop.stream.jsonl import line_of

VERSION = 1


@dataclass(slots=True)
class Totals:
    """Of all mappings."""

    pages: dict[Change, int] = field(default_factory=lambda: dict.fromkeys(Change, 0))
    mappings: int = 0
    dark: int = 0

    def add(self, diff: MappingDiff) -> None:
        """One more."""
        for change in Change:
            self.pages[change] += diff.runs[change].pages
        self.mappings += diff.differs
        self.dark += diff.dark


class Writer(Protocol):
    """One mapping after another, as strings to be printed."""

    def begin(self, a: Memory, b: Memory) -> str:
        """Before the first."""
        ...

    def mapping(self, diff: MappingDiff) -> Iterator[str]:
        """One that differs."""
        ...

    def end(self, totals: Totals) -> str:
        """Behind the last one."""
        ...


class JsonWriter:
    """One object a line.

    Args:
        bytes_too: those that differ.
    """

    def __init__(self, a: Memory, b: Memory, *, bytes_too: bool) -> None:
        self._a, self._b, self._bytes = a, b, bytes_too

    def begin(self, a: Memory, b: Memory) -> str:
        """``type`` is ``diff``."""
        return line_of({"type": "diff", "version": VERSION, "a": title(a), "b": title(b)})

    def mapping(self, diff: MappingDiff) -> Iterator[str]:
        """``type`` is ``mapping``, then ``run`` and ``bytes`` of it."""
        area = diff.b or diff.a
        assert area is not None
        yield line_of(
            {
                "type": "mapping",
                "start": f"{diff.start:#x}",
                "end": f"{diff.end:#x}",
                "state": _state(diff),
                "turned": diff.turned,
                "perms": permissions(area, (self._b if diff.b else self._a).named),
                "name": area.title,
                **{change.value: diff.runs[change].pages for change in Change},
                "dark": diff.dark,
            }
        )
        reader = Reader(self._a, self._b, diff)
        for start, end, change in _runs(diff):
            pages = (end - start) // PAGE
            yield line_of(
                {
                    "type": "run",
                    "start": f"{start:#x}",
                    "end": f"{end:#x}",
                    "pages": pages,
                    "what": change.value,
                }
            )
            for at, before, after in _hex(reader, start, end) if self._bytes else ():
                yield line_of({"type": "bytes", "at": f"{at:#x}", "a": before.hex(), "b": after.hex()})

    def end(self, totals: Totals) -> str:
        """``type`` is ``diff-end``."""
        pages = {change.value: totals.pages[change] for change in Change}
        return line_of({"type": "diff-end", "mappings": totals.mappings, **pages, "dark": totals.dark})


class TextWriter:
    """A table without a frame.

    Args:
        runs: name each run, too.
        bytes_too: and the bytes that differ.
    """

    def __init__(self, a: Memory, b: Memory, *, runs: bool, bytes_too: bool) -> None:
        self._a, self._b, self._runs, self._bytes = a, b, runs or bytes_too, bytes_too
        self._begun = False

    def begin(self, a: Memory, b: Memory) -> str:
        """Which two."""
        return f"A  {title(a)}\nB  {title(b)}\n"

    def mapping(self, diff: MappingDiff) -> Iterator[str]:
        """One line, and its runs where they are wanted."""
        if not self._begun:
            self._begun = True
            yield (
                f"\n  {'ADDRESS':>16} {'SIZE':>6} PERM {'CHANGED':>8} {'APPEARED':>8} {'VANISHED':>8} "
                f"{'UNKNOWN':>8}  NAME\n"
            )
        area = diff.b or diff.a
        assert area is not None
        numbers = " ".join(f"{units.size(diff.runs[c].pages * PAGE):>8}" for c in Change)
        perms = permissions(area, (self._b if diff.b else self._a).named)
        turned = f"  ({diff.turned})" if diff.turned else ""
        size = units.size(diff.end - diff.start)
        yield f"{_MARK[_state(diff)]} {diff.start:16x} {size:>6} {perms:4} {numbers}  {area.title}{turned}\n"
        if not self._runs:
            return
        reader = Reader(self._a, self._b, diff)
        for start, end, change in _runs(diff):
            pages = (end - start) // PAGE
            yield f"    {start:x}-{end:x}  {pages} page{'s' * (pages != 1)} {change.value}\n"
            for at, before, after in _hex(reader, start, end) if self._bytes else ():
                yield f"      {at:x}  A {_row(before, after)}\n"
                yield f"      {'':{len(f'{at:x}')}}  B {_row(after, before)}\n"

    def end(self, totals: Totals) -> str:
        """The sum, and what could not be compared."""
        pages = totals.pages
        if not totals.mappings:
            text = "no difference"
        else:
            parts = [
                f"{units.count(pages[c])} {c.value}" for c in Change if c is not Change.UNKNOWN and pages[c]
            ]
            one = totals.mappings == 1
            many = "1 mapping differs" if one else f"{totals.mappings} mappings differ"
            text = many + (f": {', '.join(parts)} pages" if parts else "")
        if pages[Change.UNKNOWN]:
            text += f"; {units.size(pages[Change.UNKNOWN] * PAGE)} not compared: only one of the two has them"
        if totals.dark:
            text += f"; {units.size(totals.dark * PAGE)} not compared: neither has them"
        return f"\n{text}\n"


_MARK = {"both": " ", "new": "+", "gone": "-"}


def _state(diff: MappingDiff) -> str:
    return "new" if diff.a is None else "gone" if diff.b is None else "both"


def _runs(diff: MappingDiff) -> Iterator[tuple[int, int, Change]]:
    """By rising address."""
    found = [(start, end, change) for change in Change for start, end in diff.runs[change]]
    return iter(sorted(found, key=lambda run: run[0]))


def _hex(reader: Reader, start: int, end: int) -> Iterator[tuple[int, bytes, bytes]]:
    for page, before, after in reader.pages(start, end):
        yield from lines(before, after, page)


def _row(line: bytes, other: bytes) -> str:
    """Bytes in hexadecimal where they differ, ``..`` where not, and as text."""
    digits = " ".join(f"{x:02x}" if x != y else ".." for x, y in zip(line, other, strict=True))
    return f"{digits}  {''.join(chr(x) if 32 <= x < 127 else '.' for x in line)}"
