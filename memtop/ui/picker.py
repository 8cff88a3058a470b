"""The picker: which processes to look at. A screen of its own, before the live one."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.app import ComposeResult

from memtop.linux.processes import Listed, processes, why_not, with_children
from memtop.model.units import count, size
from memtop.ui import keymap
from memtop.ui.dressed import Dressed
from memtop.ui.glyphs import SELECTED
from memtop.ui.keymap import Mode
from memtop.ui.lines import Field, Run, cut, fill, fitting, line, spread, width_of
from memtop.ui.settings import Settings
from memtop.ui.theme import Palette
from memtop.ui.widgets.drawn import WHEEL, Drawn
from memtop.ui.widgets.footer import key_runs

REFRESH_S = 2.0
"""Seconds between two looks at all processes."""


_ROOMY = 76
"""From this width on there is room for words."""

_SORTS = ("RSS", "SWAP", "FAULTS/S", "PID")
_HEADS = {"PID": 7, "RSS": 6, "SWAP": 6, "FAULTS/S": 9}
"""Cells of the columns that sort, in the order of the screen."""

_KEEP = {"pick_open": 9, "pick_leave": 8, "pick_mark": 7, "pick_children": 6, "pick_type": 1}
"""Which keys stay longest in the last line."""


@dataclass(frozen=True)
class Picked:
    """What was chosen; empty: nothing."""

    pids: Sequence[int] = ()


class PickerApp(Dressed[Picked]):
    """Lists processes until some are chosen.

    Args:
        ascii: draw with ASCII only.
        list_all: where processes come from.
        palette: colours that somebody chose; None: NO_COLOR and the terminal decide.
        settings: what the user has settled; its keys are those of the whole process from then on.
    """

    CSS = "Screen { background: $background; } Drawn { height: 1fr; }"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False

    def __init__(
        self,
        *,
        ascii: bool = False,
        list_all: Callable[[], list[Listed]] = processes,
        palette: Palette | None = None,
        settings: Settings | None = None,
    ) -> None:
        super().__init__(ascii=ascii, palette=palette)
        keymap.use((settings or Settings()).keymap)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.filter = ""
        self.with_children = False
        self._list_all = list_all
        self._all: list[Listed] = []
        self._rates: dict[int, float] = {}
        self._sort = _SORTS[0]
        self._seen: tuple[float, dict[int, int]] = (0.0, {})
        self._selected: int | None = None
        self._marked: set[int] = set()
        self._along: set[int] = set()
        self._message: Sequence[str] = ()

    def compose(self) -> ComposeResult:
        """One drawing for everything."""
        yield Drawn(self.look)

    async def on_mount(self) -> None:
        """The first list, and then again and again."""
        gc.enable()  # the command line has turned it off for the start
        self.loop = asyncio.get_running_loop()
        self.drawing = self.query_one(Drawn)
        self.set_interval(REFRESH_S, self.reread)
        await self.reread()

    def on_resize(self) -> None:
        """Other widths."""
        self.call_after_refresh(self.show)

    async def reread(self) -> None:
        """Looks at all processes, beside the screen's thread."""
        now, found = time.monotonic(), await asyncio.to_thread(self._list_all)
        before, faults = self._seen
        self._rates = {
            each.pid: max(each.faults - faults[each.pid], 0) / (now - before)
            for each in found
            if each.pid in faults and now > before
        }
        self._seen = now, {each.pid: each.faults for each in found}
        self._all = found
        self._arrange()
        self._marked &= {each.pid for each in found}
        self.show()

    def _arrange(self) -> None:
        """In order: first what may be looked at by this user; ties by pid."""
        root, by = os.getuid() == 0, self._sort
        values: dict[str, Callable[[Listed], float]] = {
            "RSS": lambda each: -each.resident,
            "SWAP": lambda each: -(each.swapped or 0),
            "FAULTS/S": lambda each: -self._rates.get(each.pid, -1.0),
            "PID": lambda each: each.pid,
        }
        self._all.sort(key=lambda each: (not (root or each.own), values[by](each), each.pid))

    def sort_by_next(self) -> None:
        """The next of the columns that sort."""
        self.sort_by(_SORTS[(_SORTS.index(self._sort) + 1) % len(_SORTS)])

    def sort_by(self, column: str) -> None:
        """Sorts by this column; the selection stays on its process."""
        if self._selected is None and self.rows:
            self._selected = self.rows[0].pid
        self._sort = column
        self._arrange()

    # ---- what is chosen ----------------------------------------------------------------------------

    @property
    def rows(self) -> list[Listed]:
        """Those that the filter leaves: every word in pid, user, name or command."""
        words = self.filter.casefold().split()
        return [
            each
            for each in self._all
            if all(word in f"{each.pid} {each.user} {each.name} {each.command}".casefold() for word in words)
        ]

    def _at(self, rows: Sequence[Listed]) -> int:
        return next((i for i, each in enumerate(rows) if each.pid == self._selected), 0)

    def move(self, lines: int) -> None:
        """Selects another one; it stops at both ends."""
        if rows := self.rows:
            self._selected = rows[min(max(self._at(rows) + lines, 0), len(rows) - 1)].pid

    def mark(self) -> None:
        """Marks the selected one, or takes the mark away; goes on to the next."""
        rows = self.rows
        if rows and self._check(rows[self._at(rows)]):
            self._marked ^= {rows[self._at(rows)].pid}
            self.move(1)

    def _check(self, each: Listed) -> bool:
        if not each.allowed:
            error = why_not(each.pid)
            now = ("it may be looked at now: once more",)
            self._message = (
                now if error is None else (*error.shorter("not permitted"), error.remedy or error.why)
            )
        return each.allowed

    def open(self) -> None:
        """Leaves with what is marked, or else with the selected one."""
        rows = self.rows
        chosen = [each.pid for each in self._all if each.pid in self._marked]
        if not chosen:
            if not rows or not self._check(rows[self._at(rows)]):
                return
            chosen = [rows[self._at(rows)].pid]
        self.exit(Picked(self._with_children(chosen)))

    def _with_children(self, chosen: list[int]) -> list[int]:
        """These, and what comes along with them."""
        if not self.with_children:
            return chosen
        allowed = {each.pid for each in self._all if each.allowed}
        return [pid for pid in with_children(chosen, self._all) if pid in allowed]

    def leave(self, code: int) -> None:
        """Leaves with nothing; ``code`` is the guard's."""
        self.exit(Picked(), return_code=code)

    def _fatal_error(self) -> None:
        """An exception that nobody caught: a sentence for the user, the traceback on request."""
        if os.environ.get("MEMTOP_DEBUG"):
            super()._fatal_error()
            return
        text = f"memtop: the list of processes failed: {self._exception!r}; MEMTOP_DEBUG=1 says where"
        self._exit_renderables.append(Text(text))
        self._close_messages_no_wait()

    # ---- keys --------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """All keys are the picker's, before any binding of Textual's own."""
        if isinstance(event, events.Key):
            self._key(event)
            self.show()
        else:
            await super().on_event(event)

    def _key(self, event: events.Key) -> None:
        self._message = ()
        action, _, number = keymap.action_of(Mode.PICKER, event.key).partition("(")
        step = int(number.rstrip(")") or 0)
        if action == "pick_move":
            self.move(step)
        elif action == "pick_page":
            self.move(step * max(self.size.height - 5, 1))
        elif action == "pick_edge":
            self.move(step * 10**9)
        elif action == "pick_mark":
            self.mark()
        elif action == "pick_open":
            self.open()
        elif action == "pick_sort":
            self.sort_by_next()
        elif action == "pick_children":
            self.with_children = not self.with_children
        elif action == "pick_erase":
            self.filter = self.filter[:-1]
        elif action == "pick_quit" or (action == "pick_leave" and not self.filter):
            self.leave(130 if action == "pick_quit" else 0)
        elif action == "pick_leave":
            self.filter = ""
        elif event.character is not None and event.character.isprintable():
            self.filter += event.character

    def on_click(self, event: events.Click) -> None:
        """Selects the row under the pointer, a second click opens it; on a head it sorts."""
        if event.y == 1:
            for name, end in _head_ends(self._user_cells).items():
                if end - _HEADS[name] <= event.x < end:
                    self.sort_by(name)
                    self.show()
            return
        rows, y = self.rows, event.y - 2 + self._top(self.rows)
        if 0 <= y < len(rows) and event.y >= 2:
            if rows[y].pid == self._selected:
                self.open()
            self._selected = rows[y].pid
            self.show()

    def on_mouse_scroll_up(self) -> None:
        """Goes up by as many lines as in the other lists."""
        self._wheel(-WHEEL)

    def on_mouse_scroll_down(self) -> None:
        """Goes down."""
        self._wheel(WHEEL)

    def _wheel(self, lines: int) -> None:
        self.move(lines)
        self.show()

    # ---- drawing -----------------------------------------------------------------------------------

    def _top(self, rows: Sequence[Listed]) -> int:
        room = max(self.size.height - 4, 1)
        return min(max(self._at(rows) - room // 2, 0), max(len(rows) - room, 0))

    @property
    def _user_cells(self) -> int:
        return 9 if self.size.width < 100 else 16

    def show(self) -> None:
        """Draws everything; only what changed is sent."""
        p, width, rows = self.look.palette, self.size.width, self.rows
        room, top, at = max(self.size.height - 4, 1), self._top(rows), self._at(rows)
        marked = list(self._marked) or [each.pid for each in rows[at : at + 1]]
        self._along = set(self._with_children(marked)) - set(marked)
        chosen = f"  {len(self._marked)} marked" if self._marked else ""
        if width >= _ROOMY:
            children = "  with children" if self.with_children else "  without children"
            children += f": {len(self._along)}" if self._along else ""
            many = f"{children}  {len(rows)} of {len(self._all)} "
        else:
            many = f"{' +children' if self.with_children else ''}  {len(rows)}/{len(self._all)} "
        left: list[Run] = [
            (" memtop", p.accent),
            ("  which process?  ", p.dim),
            (self.filter, p.strong),
            ("█", p.dim),
        ]
        right: list[Run] = [(chosen, p.strong), (many, p.dim)]
        lines = [spread(left, right, width, p.text)]
        user = self._user_cells
        heads = {
            name: name if name != self._sort else f"{'▲' if name == 'PID' else '▼'}{name}" for name in _SORTS
        }
        head = _cells(heads["PID"], "USER", user, heads["RSS"], heads["SWAP"], heads["FAULTS/S"])
        lines.append([(f"{head}COMMAND", p.dim)])
        for i, each in enumerate(rows[top : top + room], top):
            lines.append(self._row(each, i == at, user, width))
        lines += [[] for _ in range(room - len(rows[top : top + room]))]
        lines.append(self._about(rows[at] if rows else None, width))
        lines.append(key_runs(self._keys(), width, p))
        self.drawing.draw(
            [
                line(self.look, runs, width, p.selected if i == at - top + 2 and rows else None)
                for i, runs in enumerate(lines)
            ]
        )

    def _keys(self) -> list[Field]:
        """What the keys do; on a narrow screen those stay that open and leave."""
        p = self.look.palette
        return [
            Field((((key.shown, p.accent), (f" {key.label}", p.dim)),), _KEEP.get(key.action, 0))
            for key in keymap.KEYMAP
            if key.label and key.shown and Mode.PICKER in key.modes
        ]

    def _row(self, each: Listed, selected: bool, user: int, width: int) -> list[Run]:
        p = self.look.palette
        rate = self._rates.get(each.pid)
        numbers = _cells(
            str(each.pid),
            each.user,
            user,
            size(each.resident),
            size(each.swapped),
            "–" if rate is None else count(round(rate)),
        )
        text, name = (p.text, p.strong) if each.allowed else (p.faint, p.faint)
        chosen = "*" if each.pid in self._marked else "+" if each.pid in self._along else " "
        front = (SELECTED if selected else " ") + (chosen if each.allowed else "!")
        runs: list[Run] = [
            (front, p.accent if each.allowed else p.faint),
            (numbers[2:], text),
            (each.name, name),
        ]
        command = f"  {each.command.removeprefix(each.name).lstrip()}"
        return [*runs, (cut(command, width - width_of(runs)), p.dim if each.allowed else p.faint)]

    def _about(self, each: Listed | None, width: int) -> list[Run]:
        p = self.look.palette
        if self._message:
            return [(" ! ", p.warn), (cut(fitting(self._message, width - 4), width - 4), p.warn)]
        if each is None:
            return [(" no process matches" if self._all else " looking …", p.dim)]
        if not each.allowed:
            return [
                (" not permitted: ", p.warn),
                (
                    cut(f"{keymap.shown_of('pick_open')} says why · {each.command or each.name}", width - 18),
                    p.dim,
                ),
            ]
        return [(" " + cut(each.command or each.name, width - 2), p.dim)]


def _cells(pid: str, user: str, cells: int, resident: str, swap: str, faults: str) -> str:
    """One line's columns in front of the command; the user's has so many cells."""
    return (
        f"  {pid:>{_HEADS['PID']}} {fill(user, cells)} {fill(resident, _HEADS['RSS'], right=True)} "
        f"{fill(swap, _HEADS['SWAP'], right=True)} {fill(faults, _HEADS['FAULTS/S'], right=True)}  "
    )


def _head_ends(user: int) -> dict[str, int]:
    """Behind which cell the columns end that sort, where the user's has so many."""
    ends, at = {}, 2
    for name, cells in _HEADS.items():
        at += cells
        ends[name] = at
        at += 1 + (user + 1 if name == "PID" else 0)
    return ends
