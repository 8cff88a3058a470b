"""Keys that decide which rows and columns are shown: search, filter, groups, columns."""

from __future__ import annotations

from textual import on
from textual.widgets import Input

from memtop.model.filter import FilterError
from memtop.ui.columns import ABOUT, EVERY, MARKED, NAME, Column
from memtop.ui.row_filter import RowFilter
from memtop.ui.screens.page import Page
from memtop.ui.widgets.checklist import Choice

SEARCH, FILTER = "search", "filter"


class RowActions(Page):
    """What is typed takes effect at once; Esc makes it undone."""

    _sought = ""
    _from: tuple[int | None, int] = (None, 0)
    _filter_before: RowFilter | None = None

    # ---- typing ------------------------------------------------------------------------------------

    def action_search(self) -> None:
        """Opens the line; the selection goes to the next match while it is typed."""
        self._from = self.view.selected, self.table.row
        self._open(SEARCH, "")

    def action_filter(self) -> None:
        """Opens the line with the filter that is on."""
        self._filter_before = self.table.filter
        self._from = self.view.selected, self.table.row
        self._open(FILTER, self.table.filter.text if self.table.filter is not None else "")

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
            again = f" · Enter alone: {self._sought!a} again" if self._sought else ""
            self.typing.say([(f"a part of a name, an address or a kind{again} · Esc: back", p.dim)])
            return
        row, count = self.table.find(text, self._from[1])
        if row < 0:
            self.typing.say([("no row matches", p.warn), (" · Esc: back to where you were", p.dim)])
        else:
            self.table.select_row(row)
            rows = "1 row matches" if count == 1 else f"{count} rows match"
            self.typing.say([(rows, p.text), (" · F3: the next · Enter: stay · Esc: back", p.dim)])

    def _filter(self, text: str) -> None:
        p = self.look.palette
        try:
            self.table.filter = RowFilter(text) if text.strip() else None
        except FilterError as error:  # the last one that means something stays
            self.typing.say([(error.problem, p.warn)], error.column)
            return
        self.view.selected = self._from[0]  # what half a word hid comes back
        self.table.rearrange()
        self.show_heads()
        self.show_selected()
        hint = " · Enter: keep · Esc: as before"
        if self.table.filter is None:
            self.typing.say([("name, kind:heap, perms:rw, written & !huge …: docs/filter.md" + hint, p.dim)])
        else:
            self.typing.say([(self.table.matched, p.text), (hint, p.dim)])

    def action_type_keep(self) -> None:
        """Closes the line; what it did stays. Without a text: the search before, once more."""
        what, text = self.typing.what, self.typing.input.value
        if text:
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
        if what == SEARCH:
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
            self.say("nothing was searched for yet (/)")
            return
        row, _ = self.table.find(self._sought, self.table.row + step, step)
        if row < 0:
            self.say(f"no row matches {self._sought!a}")
        else:
            self.table.select_row(row)

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
            chosen = {*self.table.columns} | {column} if on else {*self.table.columns} - {column}
            self.table.columns = tuple(each for each in EVERY if each in chosen)
            self.show()

        return Choice(column.head, ABOUT[column], lambda: column in self.table.columns, turn)

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
