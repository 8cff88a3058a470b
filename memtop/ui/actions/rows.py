"""Keys that decide which rows and columns are shown: search, filter, groups, columns."""

from __future__ import annotations

from textual import on
from textual.widgets import Input

from memtop.model.filter import FilterError
from memtop.sampler.source import Key
from memtop.ui.actions.processes import ProcessActions
from memtop.ui.columns import ABOUT, EVERY, MARKED, NAME, Column
from memtop.ui.keymap import keyed, shown_of
from memtop.ui.row_filter import RowFilter
from memtop.ui.widgets.checklist import Choice

SEARCH, FILTER = "search", "filter"


class RowActions(ProcessActions):
    """What is typed takes effect at once; Esc makes it undone."""

    _sought = ""
    _from: tuple[int | None, int] = (None, 0)
    _filter_before: RowFilter | None = None
    _words_before = ""
    _process_before: Key = (0, 0)

    # ---- typing ------------------------------------------------------------------------------------

    def action_search(self) -> None:
        """Opens the line; the selection goes to the next match while it is typed."""
        self._remember()
        self._open(SEARCH, "")

    def action_filter(self) -> None:
        """Opens the line with the filter that is on."""
        self._filter_before, self._words_before = self.table.filter, self.processes.words
        self._remember()
        text = self.table.filter.text if self.table.filter is not None else ""
        self._open(FILTER, self.processes.words if self.listing else text)

    def _remember(self) -> None:
        """Where to go back to with Esc."""
        self._from = self.view.selected, self.processes.row if self.listing else self.table.row
        self._process_before = self.view.key

    def _open(self, what: str, text: str) -> None:
        self.forget()
        self.typing.open(what, text)
        self._typed(text)
        self.show()

    @on(Input.Changed)
    def _input_changed(self, event: Input.Changed) -> None:
        if self.typing.what is not None and event.input is self.typing.input:
            self._typed(event.value)

    def _typed(self, text: str) -> None:
        if self.typing.what == SEARCH:
            self._search(text)
        else:
            self._filter(text)

    def _search(self, text: str) -> None:
        p = self.look.palette
        if not text:
            again = f" · {shown_of('type_keep')} alone: {self._sought!a} again" if self._sought else ""
            self.typing.say([(f"a part of a name, an address or a kind{again}", p.dim)])
            return
        row, count = (self.processes if self.listing else self.table).find(text, self._from[1])
        if row < 0:
            self.typing.say(
                [("no row matches", p.warn), (keyed(" · {type_leave}: back to where you were"), p.dim)]
            )
        else:
            self._go_to(row)
            rows = "1 row matches" if count == 1 else f"{count} rows match"
            self.typing.say(
                [
                    (rows, p.text),
                    (keyed(" · {find_next(1)}: the next · {type_keep}: stay · {type_leave}: back"), p.dim),
                ]
            )

    def _go_to(self, row: int) -> None:
        if not self.listing:
            self.table.select_row(row)
        elif (view := self.processes.view_in(row)) is not None:
            self.view = view
            self.show()

    def _filter(self, text: str) -> None:
        p = self.look.palette
        if self.listing:
            self.processes.words = text
            self.show()
            self.typing.say([(f"{self.processes.matched}: words in pid, name, user, command", p.dim)])
            return
        try:
            self.table.filter = RowFilter(text) if text.strip() else None
        except FilterError as error:  # the last one that means something stays
            self.typing.say([(error.problem, p.warn)], error.column)
            return
        self.view.selected = self._from[0]  # what half a word hid comes back
        self.table.rearrange()
        self.show_heads()
        self.show_selected()
        if self.table.filter is None:
            self.typing.say([("name, kind:heap, perms:rw, written & !huge …: docs/filter.md", p.dim)])
        else:
            self.typing.say([(self.table.matched, p.text)])

    def action_type_keep(self) -> None:
        """Closes the line; what it did stays. Without a text: the search before, once more."""
        what, text = self.typing.what, self.typing.input.value
        if text or what == FILTER:
            self._typed(text)  # Input's own message of it may still be on its way
        self.typing.close()
        if what == SEARCH:
            self._sought = text or self._sought
            if not text:
                self.action_find_next(1)
        self.show()

    def action_type_leave(self) -> None:
        """Closes the line; all is as before."""
        what = self.typing.what
        self.typing.close()
        if self.listing:
            self.processes.words = self._words_before if what == FILTER else self.processes.words
            self.view = self.views.get(self._process_before, self.view)
        elif what == SEARCH:
            self.table.select_mapping(self._from[0])
        else:
            self.table.filter, self.view.selected = self._filter_before, self._from[0]
            self.table.rearrange()
        self.show()

    def action_find_next(self, step: int) -> None:
        """The next row that matches, or the one before."""
        text = self.typing.input.value if self.typing.what == SEARCH else ""
        self._sought = text or self._sought
        if not self._sought:
            self.say(keyed("nothing was searched for yet ({search})"))
            return
        rows = self.processes if self.listing else self.table
        row, _ = rows.find(self._sought, rows.row + step, step)
        if row < 0:
            self.say(f"no row matches {self._sought!a}")
        else:
            self._go_to(row)

    # ---- groups and columns ------------------------------------------------------------------------

    def action_group(self) -> None:
        """By file, by kind, or not at all."""
        self.table.grouping = self.table.grouping.next
        self.table.rearrange()
        self.show()

    def action_columns(self) -> None:
        """Opens the list of columns."""
        choices = [self._choice(column) for column in EVERY if column not in (NAME, MARKED)]
        self.checklist.open("Columns", choices, self.size.width, self.size.height)
        self.show()

    def _choice(self, column: Column) -> Choice:
        def turn(on: bool) -> None:
            now = {*self.table.columns_now}
            chosen = now | {column} if on else now - {column}
            self.table.columns = tuple(each for each in EVERY if each in chosen)
            self.show()

        return Choice(column.head, ABOUT[column], lambda: column in self.table.columns_now, turn)

    def action_list_move(self, lines: int) -> None:
        """Another line of the list."""
        self.checklist.move(lines)
        self.checklist.show(self.size.width, self.size.height)

    def action_list_toggle(self) -> None:
        """Turns a line on or off."""
        self.checklist.toggle()
        self.checklist.show(self.size.width, self.size.height)

    def action_list_close(self) -> None:
        """Closes the list."""
        self.checklist.close()
        self.show()
