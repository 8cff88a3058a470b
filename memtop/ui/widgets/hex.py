"""Contents of one page, as they were when it was read: nothing here moves until a key asks for it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style

from memtop.model.layout import PAGE
from memtop.model.mapping import Mapping
from memtop.model.peek import Peek
from memtop.model.units import clock
from memtop.sampler.source import Key
from memtop.ui.glyphs import RULE
from memtop.ui.lines import Run, cut_path, width_of, wrap
from memtop.ui.state import ProcessView
from memtop.ui.theme import Look, Palette
from memtop.ui.widgets.map_lines import flags_text
from memtop.ui.widgets.pane import ScrollingPane, Wanted
from memtop.ui.widgets.write_map import WriteMap


class HexPane(ScrollingPane):
    """A title, rows of bytes with their characters, and when they were read."""

    title = "page"
    does = frozenset({"read_again"})
    share = 0.75
    over = WriteMap

    def __init__(self, look: Look, *, id: str | None = None) -> None:
        super().__init__(look, id=id)
        self.answer: Peek | None = None
        self.address = 0
        self._mapping: Mapping | None = None
        self.key: Key = (0, 0)
        self._of = ""

    def ask(self, view: ProcessView, mapping: Mapping, address: int) -> None:
        """Waits for the contents of this page."""
        self.answer, self._mapping = None, mapping
        self.key, self._of = view.key, view.title
        self.address, self.top = address, 0

    def take(self, answer: Peek) -> None:
        """Shows them; a range was asked for, one page of it comes."""
        self.answer, self.address = answer, answer.address

    def again(self) -> tuple[int, int]:
        """What to read when the same page is asked for once more."""
        return self.address // PAGE * PAGE, 1

    # ---- drawing -----------------------------------------------------------------------------------

    def show(self, view: ProcessView) -> Wanted | None:
        """Draws what was read; samples change nothing in it."""
        p, width = self.look.palette, self.size.width
        if not width:  # not laid out yet
            return None
        lines: list[Sequence[Run]] = [self._title(p, width)]
        answer = self.answer
        if answer is None:
            lines.append([(" reading …", p.dim)])
        elif answer.contents is None:
            lines += [[(f" {line}", p.warn)] for line in wrap(answer.why, width - 2, self.rows)]
        else:
            lines += self._bytes(answer.contents, p)
        lines += [[]] * (self.size.height - 1 - len(lines))
        if self.size.height >= 4:
            lines = [*lines[: self.size.height - 1], self._foot(p, width)]
        self.draw_runs(lines)
        return None

    @property
    def rows(self) -> int:
        """Rows of bytes that are shown, between the title and the line at the foot."""
        return max(self.size.height - (2 if self.size.height >= 4 else 1), 1)

    @property
    def _in_row(self) -> int:
        return 32 if self.size.width >= 118 else 16 if self.size.width >= 74 else 8

    @property
    def last_top(self) -> int:
        """The largest ``top``."""
        return max(PAGE // self._in_row - self.rows, 0)

    def _title(self, p: Palette, width: int) -> list[Run]:
        m = self._mapping
        left: list[Run] = [(f"{RULE * 2} ", p.faint), (f"{self.address:x}", p.strong)]
        right: list[Run] = [(f" {self._of} ", p.dim), (RULE * 2, p.faint)]
        if m is not None:
            page = f"  page {(self.address - m.start) // PAGE} of {m.pages}  "
            room = max(width - width_of(left) - len(page) - width_of(right) - 2, 0)
            left += [(page, p.dim), (cut_path(m.title, room), p.strong), (" ", p.faint)]
        return [*left, (RULE * max(width - width_of(left) - width_of(right), 0), p.faint), *right]

    def _foot(self, p: Palette, width: int) -> list[Run]:
        answer = self.answer
        if answer is None:
            return []
        said = [
            f"read {clock(answer.time)}" if answer.contents is not None else f"looked {clock(answer.time)}"
        ]
        if answer.flags is not None:
            said.append(flags_text(answer.flags))
        if answer.contents is not None:
            end = min(self.top + self.rows, PAGE // self._in_row) * self._in_row
            said.append(f"bytes {self.top * self._in_row:x}–{end - 1:x}")
            said += [answer.why] if answer.why else []
        return [(" " + " · ".join(said), p.dim)]

    def _bytes(self, contents: bytes, p: Palette) -> list[list[Run]]:
        each = self._in_row
        self.top = min(self.top, self.last_top)
        rows = range(self.top, min(self.top + self.rows, PAGE // each))
        return [byte_runs(contents[row * each : (row + 1) * each], row * each, p) for row in rows]

    # ---- moving ------------------------------------------------------------------------------------

    def beside(self, pages: int) -> int | None:
        """Address of a page beside this one; None: the mapping ends there."""
        address = self.address + pages * PAGE
        inside = self._mapping is not None and self._mapping.start <= address < self._mapping.end
        return address if inside else None

    def step(self, address: int) -> None:
        """Waits for the contents of another page of the same mapping; what stands stays till they come."""
        self.top = 0
        self.address, self.answer = address, None


def byte_runs(row: bytes, offset: int, p: Palette) -> list[Run]:
    """One row: offset in the page, bytes in hexadecimal, and the printable ASCII among them.

    Up to 16 bytes stand apart, more stand in pairs.
    """
    group = 2 if len(row) > 16 else 1
    runs: list[Run] = [(f" {offset:03x}  ", p.dim)]
    for i in range(0, len(row), group):
        part = row[i : i + group]
        gap = "  " if i + group == len(row) else " " + " " * (group == 1 and i % 8 == 7)
        _add(runs, part.hex() + gap, p.faint if not any(part) else p.text)
    for byte in row:
        plain = 0x20 <= byte < 0x7F
        _add(runs, chr(byte) if plain else "·", p.text if plain else p.faint)
    return runs


def _add(runs: list[Run], text: str, style: Style) -> None:
    """Joins neighbours of one style: fewer, longer runs."""
    if runs[-1][1] is style:
        runs[-1] = (runs[-1][0] + text, runs[-1][1])
    else:
        runs.append((text, style))
