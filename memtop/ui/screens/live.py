"""The live page: header, table, write map; every key's action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import events, on
from textual.app import ComposeResult
from textual.screen import Screen

from memtop.model.actions import ClearRefs, Method, Notice
from memtop.model.sample import Life
from memtop.sampler.source import Key, Source
from memtop.ui.intervals import step_interval
from memtop.ui.keymap import KEYMAP, PROMPT_ACTIONS, bindings
from memtop.ui.screens.help import HelpScreen
from memtop.ui.state import ProcessView
from memtop.ui.theme import Look
from memtop.ui.widgets.banner import Banner
from memtop.ui.widgets.confirm import Ask, Menu, Prompt
from memtop.ui.widgets.footer import DetailLine, KeyBar
from memtop.ui.widgets.header import HeaderBar, header_height
from memtop.ui.widgets.mapping_table import ColumnHeads, MappingTable, next_column
from memtop.ui.widgets.strip import ProcessStrip
from memtop.ui.widgets.write_map import WriteMap, selected

if TYPE_CHECKING:
    from memtop.ui.app import MemtopApp

NOTICE_SECONDS = 8.0
"""How long a message of no consequence stays; warnings and errors stay until a key is pressed."""

READONLY = "memtop was started with --readonly: it changes nothing in a process"
_ACTS = frozenset(key.action for key in KEYMAP if key.acts)


class LiveScreen(Screen[None]):
    """Shows one process at a time and turns keys into requests to the source."""

    BINDINGS = bindings()
    AUTO_FOCUS = ""
    app: MemtopApp

    def __init__(self, look: Look, source: Source, views: Sequence[ProcessView]) -> None:
        super().__init__()
        self.look, self.source = look, source
        self.views = {view.key: view for view in views}
        self.view = views[0]
        self.frozen = False
        self.cpu: float | None = None
        self._notice: Notice | None = None
        self._watched: tuple[Key, int, int, int, int] | None = None

    def compose(self) -> ComposeResult:
        """From top to bottom; the two that lie over the page come last."""
        look = self.look
        yield HeaderBar(look)
        yield ProcessStrip(look)
        yield ColumnHeads(look)
        yield MappingTable(look)
        yield WriteMap(look)
        yield DetailLine(look)
        yield KeyBar(look)
        yield Banner(look)
        yield Prompt(look)

    def on_mount(self) -> None:
        """Widgets that every tick needs are looked up once."""
        self.header = self.query_one(HeaderBar)
        self.strip = self.query_one(ProcessStrip)
        self.heads = self.query_one(ColumnHeads)
        self.table = self.query_one(MappingTable)
        self.map = self.query_one(WriteMap)
        self.detail = self.query_one(DetailLine)
        self.keys = self.query_one(KeyBar)
        self.banner = self.query_one(Banner)
        self.prompt = self.query_one(Prompt)
        self.strip.display = len(self.views) > 1
        self._arrange(self.size.width, self.size.height)

    # ---- drawing -----------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """The heights follow the terminal; what is shown follows when they are known."""
        self._arrange(event.size.width, event.size.height)
        self.call_after_refresh(self.show)

    def on_screen_resume(self) -> None:
        """The terminal may have changed its size under the help page."""
        self._arrange(self.app.size.width, self.app.size.height)
        self.call_after_refresh(self.show)

    def _arrange(self, width: int, height: int) -> None:
        head = header_height(width, height)
        body = height - head - 3 - (len(self.views) > 1)
        self.header.styles.height = head
        self.map.styles.height = max(round(body * 0.42), 3)

    def show(self) -> None:
        """Draws whatever changed."""
        view = self.view
        self.header.show(view, nominal=self.source.interval, frozen=self.frozen, cpu=self.cpu)
        if len(self.views) > 1:
            self.strip.show(list(self.views.values()), view)
        self.heads.show(self.table.layout_now, self.table.sort, self.table.reverse)
        self.table.show(view)
        self.keys.show(
            can_act=not (self.source.readonly or view.ended),
            many=len(self.views) > 1,
            frozen=self.frozen,
            tracking=view.tracking,
        )
        self._show_selected()
        self._show_messages()

    def _show_selected(self) -> None:
        view, grid = self.view, self.map.show(self.view)
        self.detail.show(selected(view))
        if grid is None or view.selected is None or view.ended:
            return
        # Room rather than cells: a mapping that grows is not asked for anew at every tick.
        wanted = (view.key, view.selected, grid.first, grid.cell_pages, grid.room)
        if wanted != self._watched:
            self._watched = wanted
            self.source.watch(*wanted)

    def _show_messages(self) -> None:
        text, severity = self._message()
        self.banner.show(text, severity, self.size.width)
        self.prompt.ask(self.prompt.question, self.size.width, self.size.height)

    def _message(self) -> tuple[str, str]:
        notice, view = self._notice, self.view
        if notice is not None:
            other = self.views.get(notice.key) if notice.key is not None else None
            about = f"{other.title}: " if other is not None and other is not view else ""
            return about + notice.text, notice.severity
        sample = view.sample
        if sample is None or (not sample.message and sample.life is Life.RUNNING):
            return "", ""
        text = sample.message
        if view.ended and not text:
            text = f"{view.title} ended; this is its last picture"
        return text, "information" if sample.life is not Life.RUNNING else "warning"

    def notify_user(self, notice: Notice) -> None:
        """Shows a message above the footer; a key dismisses it."""
        self._notice = notice
        self._show_messages()
        if notice.severity == "information":
            self.set_timer(NOTICE_SECONDS, lambda: self._forget(notice))

    def _forget(self, notice: Notice | None) -> None:
        if self._notice is not None and (notice is None or self._notice is notice):
            self._notice = None
            self._show_messages()

    def _say(self, text: str, severity: str = "information") -> None:
        self.notify_user(Notice(text, severity))

    # ---- keys --------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a question is open only its answers work, and only then do they."""
        asking = self.prompt.question is not None
        if action in ("leave", "close"):
            return True
        return (action in PROMPT_ACTIONS) == asking

    def key_pressed(self) -> None:
        """Whoever pressed a key has seen the message."""
        self._forget(None)

    def action_move(self, rows: int) -> None:
        """Selects the mapping above or below."""
        self.table.move(rows)

    def action_page(self, pages: int) -> None:
        """Moves the selection by a page."""
        self.table.move(pages * max(self.table.rows_shown - 1, 1))

    def action_edge(self, which: int) -> None:
        """Selects the first or the last mapping."""
        self.table.select_row(0 if which < 0 else len(self.view.sample.table) if self.view.sample else 0)

    def action_sort(self, step: int) -> None:
        """Sorts by the column beside."""
        self.table.sort_by(next_column(self.table.layout_now, self.table.sort, step), False)
        self.show()

    def action_reverse(self) -> None:
        """Reverses the order."""
        self.table.sort_by(self.table.sort, not self.table.reverse)
        self.show()

    def action_process(self, step: int) -> None:
        """Shows another process."""
        keys = list(self.views)
        self._switch(keys[(keys.index(self.view.key) + step) % len(keys)])

    def action_freeze(self) -> None:
        """Freezes or goes on."""
        self.frozen = not self.frozen
        self.source.set_frozen(self.frozen)
        self.show()

    def action_interval(self, step: int) -> None:
        """The next longer or shorter interval."""
        self.source.set_interval(step_interval(self.source.interval, step))
        self.show()

    def action_screenshot(self) -> None:
        """Saves the picture as it is, without the message about it."""
        self._forget(None)
        self.call_after_refresh(self._save_picture)

    def _save_picture(self) -> None:
        text, severity = self.app.save_picture(self.view)
        self._say(text, severity)

    def action_help(self) -> None:
        """Opens the help page."""
        self.app.push_screen(HelpScreen(self.look, self.view))

    def action_suspend(self) -> None:
        """Gives the terminal back until the shell's ``fg``."""
        self.app.action_suspend_process()

    def action_leave(self, code: int) -> None:
        """Ends memtop; the source gives back what it armed."""
        self.app.leave(code)

    # ---- questions ---------------------------------------------------------------------------------

    def action_arm(self) -> None:
        """Asks whether to track writes, or to stop."""
        view = self.view
        if not self._may_act(view):
            return
        if view.tracking:
            assert view.sample is not None
            cost = "all mappings are given back; what has been seen stays on screen, what comes is not seen"
            ask = Ask(view.key, f"Stop tracking {view.title}", cost, lambda: self.source.disarm(view.key))
        else:
            price = self.source.arm_cost(view.key, Method.AUTO)
            if price is None:
                self._say("what it would cost is known after the first scan", "warning")
                return
            # The method that the cost was stated for, not whatever is best by then.
            ask = Ask(
                view.key,
                f"Track writes of {view.title}",
                price.sentence,
                lambda: self.source.arm(view.key, price.method),
            )
        self._ask(ask)

    def action_clear(self) -> None:
        """Opens the menu of clear_refs."""
        view = self.view
        if not self._may_act(view):
            return

        def asking(what: ClearRefs) -> Ask:
            return Ask(
                view.key,
                f"Clear {what.title} of {view.title}",
                what.disturbs,
                lambda: self.source.clear_refs(view.key, what),
            )

        choices = [(what, asking(what)) for what in ClearRefs]
        self._ask(Menu(view.key, f"Clear references of {view.title}", choices))

    def _may_act(self, view: ProcessView) -> bool:
        if self.source.readonly:
            self._say(READONLY, "warning")
        elif view.ended:
            self._say(f"{view.title} has ended: nothing can be done to it", "warning")
        else:
            return True
        return False

    def _ask(self, question: Ask | Menu | None) -> None:
        self._notice = None if question is not None else self._notice
        self.prompt.ask(question, self.size.width, self.size.height)

    def action_choose(self, number: int) -> None:
        """Takes a line of the menu; the cost is asked about next."""
        question = self.prompt.question
        if isinstance(question, Menu):
            self._ask(next((ask for what, ask in question.choices if what == number), question))

    def action_confirm(self) -> None:
        """Does what was asked, to the process it was asked about and to no other."""
        ask = self.prompt.question
        if not isinstance(ask, Ask):
            return
        self._ask(None)
        view = self.views.get(ask.key)
        if view is None or view.ended:
            self._say("the process ended meanwhile: nothing was done", "warning")
        else:
            ask.do()

    def action_close(self) -> None:
        """Leaves a question or a message."""
        if self.prompt.question is not None:
            self._ask(None)
        else:
            self._forget(None)

    # ---- mouse -------------------------------------------------------------------------------------

    @on(MappingTable.Selected)
    def _selection_moved(self) -> None:
        self._show_selected()

    @on(ColumnHeads.Clicked)
    def _head_clicked(self, message: ColumnHeads.Clicked) -> None:
        same = message.column is self.table.sort
        self.table.sort_by(message.column, not self.table.reverse if same else False)
        self.show()

    @on(ProcessStrip.Clicked)
    def _process_clicked(self, message: ProcessStrip.Clicked) -> None:
        self._switch(message.key)

    def _switch(self, key: Key) -> None:
        if self.prompt.question is None:
            self.view = self.views[key]
            self.show()
