"""The page of one process: what stands where, and how it follows the samples. No keys here (``actions/``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen
from textual.timer import Timer

from memtop.model.actions import Notice
from memtop.model.sample import Life
from memtop.sampler.source import Key, Source
from memtop.ui.calm import STANDS_S
from memtop.ui.keymap import Mode
from memtop.ui.sayings import NOTHING, Saying, of_notice, of_sample
from memtop.ui.state import ProcessView
from memtop.ui.theme import Look
from memtop.ui.widgets import bars as _bars  # noqa: F401 (imported, it changes the scroll bars)
from memtop.ui.widgets.banner import Banner
from memtop.ui.widgets.checklist import Checklist
from memtop.ui.widgets.column_heads import ColumnHeads
from memtop.ui.widgets.confirm import Prompt
from memtop.ui.widgets.detail import DetailPane
from memtop.ui.widgets.dump_bar import DumpBar, DumpReport
from memtop.ui.widgets.dump_form import DumpForm
from memtop.ui.widgets.footer import DetailLine, KeyBar
from memtop.ui.widgets.header import HeaderBar, header_height
from memtop.ui.widgets.hex import HexPane
from memtop.ui.widgets.mapping_table import MappingTable
from memtop.ui.widgets.pane import Pane, Wanted
from memtop.ui.widgets.process_table import ProcessTable
from memtop.ui.widgets.strip import ProcessStrip
from memtop.ui.widgets.timeline import Timeline
from memtop.ui.widgets.type_line import Typed, TypeLine
from memtop.ui.widgets.write_map import WriteMap, selected

if TYPE_CHECKING:
    from memtop.ui.app import MemtopApp

AWAKE = 3
"""Samples that are drawn after a key, whatever they bring: what it asked for comes with them."""

NOTICE_SECONDS = 8.0
"""How long a message of no consequence stays; warnings and errors stay until a key is pressed."""

PANES: tuple[type[Pane], ...] = (WriteMap, Timeline, HexPane, DetailPane)
"""What can stand below the table; the first one does at the start."""


class Page(Screen[None]):
    """Header, table, one pane, footer, and what lies over them.

    Args:
        look: colours and alphabet.
        source: where samples come from and requests go.
        views: the processes, at least one.
    """

    AUTO_FOCUS = ""
    app: MemtopApp

    def __init__(self, look: Look, source: Source, views: Sequence[ProcessView]) -> None:
        super().__init__()
        self.look, self.source = look, source
        self.views = {view.key: view for view in views}
        self.view = views[0]
        self.frozen = self.stands = False
        self._awake = AWAKE
        self.listing = len(views) > 1
        self.cpu: float | None = None
        self._notice: Notice | None = None
        self._leaves: Timer | None = None
        self._dismissed = False
        self.last_said = NOTHING
        self._watched: Wanted | None = None

    def compose(self) -> ComposeResult:
        """From top to bottom; the two that lie over the page come last."""
        look = self.look
        yield HeaderBar(look)
        yield ProcessStrip(look)
        yield ColumnHeads(look)
        yield MappingTable(look)
        yield ProcessTable(look)
        for kind in PANES:
            yield kind(look)
        yield DetailLine(look)
        yield DumpBar(look)
        yield KeyBar(look)
        yield DumpReport(look)
        yield Banner(look)
        yield DumpForm(look)
        yield Prompt(look)
        yield Checklist(look)
        yield TypeLine(look)

    def on_mount(self) -> None:
        """Widgets that every tick needs are looked up once."""
        self.header = self.query_one(HeaderBar)
        self.strip = self.query_one(ProcessStrip)
        self.heads = self.query_one(ColumnHeads)
        self.table = self.query_one(MappingTable)
        self.table.settle(self.app.settings)
        self.panes = {kind: self.query_one(kind) for kind in PANES}
        self.detail = self.query_one(DetailLine)
        self.keys = self.query_one(KeyBar)
        self.banner = self.query_one(Banner)
        self.prompt = self.query_one(Prompt)
        self.checklist = self.query_one(Checklist)
        self.form, self.bar = self.query_one(DumpForm), self.query_one(DumpBar)
        self.report = self.query_one(DumpReport)
        self.typing = self.query_one(TypeLine)
        self.processes = self.query_one(ProcessTable)
        self.show_list(self.listing)
        self.open_pane(PANES[0])
        self._arrange(self.size.width, self.size.height)

    @property
    def map(self) -> WriteMap:
        """The write map, shown or not."""
        return self.query_one(WriteMap)

    @property
    def mode(self) -> Mode:
        """Who has the keys."""
        if self.prompt.question is not None:
            return Mode.ASK
        if self.typing.what is not None:
            return Mode.TYPE
        if self.checklist.visible:
            return Mode.LIST
        if self.form.choice is not None:
            return Mode.FIELD if self.form.typing else Mode.FORM
        if self.pane.has_keys:
            return Mode.PANE
        return Mode.PROCESSES if self.listing else Mode.TABLE

    @property
    def typed(self) -> Typed | None:
        """What takes the keys that are typed; None: they are for something else."""
        if self.mode is Mode.TYPE:
            return self.typing.typed
        return self.form.typed if self.mode is Mode.FIELD else None

    @property
    def asking(self) -> bool:
        """A question is open."""
        return self.prompt.question is not None

    # ---- drawing -----------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """The heights follow the terminal; what is shown follows when they are known."""
        self._arrange(event.size.width, event.size.height)
        self.checklist.show(event.size.width, event.size.height)
        self.report.show(self.report.outcome, event.size.width)
        self.call_after_refresh(self.show)

    def on_screen_resume(self) -> None:
        """The terminal may have changed its size under another page."""
        self._arrange(self.app.size.width, self.app.size.height)
        self.call_after_refresh(self.show)

    def _arrange(self, width: int, height: int) -> None:
        head = header_height(width, height)
        body = height - head - 3 - (len(self.views) > 1)
        self.header.styles.height = head
        for pane in self.panes.values():
            pane.styles.height = max(round(body * pane.share), 3)

    def open_pane(self, kind: type[Pane]) -> None:
        """Puts another pane below the table; the keys go back to the table."""
        for pane in self.panes.values():
            pane.display = isinstance(pane, kind)
            pane.has_keys = False
        self.pane = self.panes[kind]
        self.call_after_refresh(self.show)  # when its size is known

    def follow(self) -> None:
        """Shows the newest samples; where they bring nothing the picture stands, and says so."""
        self._awake = max(self._awake - 1, 0)
        views = self.views.values()
        stands = not self._awake and self.source.position is None and all(view.calm for view in views)
        if stands and self.stands and all(0 <= view.behind < STANDS_S for view in views):
            return
        self.stands = stands
        self._take()

    def wake(self) -> None:
        """Somebody looks: shows what is known now, if the picture stands, and the next samples."""
        self._awake = AWAKE
        if self.stands:
            self.stands = False
            self._take()

    def _take(self) -> None:
        before = self.view.sample
        for view in self.views.values():
            view.take()
        now = self.view.sample
        turned = now is not None and now is not before and now.life is not Life.RUNNING
        if turned and self.message.severity == "information":
            self.forget()  # that it is tracked, say: no longer so
        self.show()

    def show(self) -> None:
        """Draws whatever changed."""
        view = self.view
        self.header.show(
            view,
            nominal=self.source.interval,
            frozen=self.frozen,
            stands=self.stands,
            cpu=self.cpu,
            position=self.source.position,
            can_act=not (self.source.readonly or self.view.over),
        )
        if self.listing:
            self.processes.show(list(self.views.values()), view)
        elif len(self.views) > 1:
            self.strip.show(list(self.views.values()), view)
        self.table.show(view)
        self.show_heads()
        self.show_keys()
        self.show_selected()
        self.show_form()
        self.show_dump()
        self.show_messages()

    def show_keys(self) -> None:
        """Draws the last line."""
        self.keys.show(
            self.mode,
            can_act=not (self.source.readonly or self.view.over),
            many=len(self.views) > 1,
            can_pick=self.app.can_pick,
            frozen=self.frozen,
            tracking=self.view.tracking,
            ended=self.view.over,
            position=self.source.position,
            choices=self.prompt.choices,
            does=self.pane.does,
        )

    def add_view(self, view: ProcessView, kept: Mapping[Key, ProcessView]) -> None:
        """One more process; nothing else on screen moves, but for the line of all processes.

        Args:
            kept: the processes that are remembered; the one that is shown stays in any case.
        """
        self.views[view.key] = view
        self.views = {key: each for key, each in self.views.items() if key in kept or each is self.view}
        if self.is_mounted:
            self._arrange(self.size.width, self.size.height)
            self.show_list(self.listing)

    def show_list(self, listing: bool) -> None:
        """The list of processes in place of one's mappings, or these again."""
        self.listing = listing
        self.processes.display = listing
        self.table.display = self.heads.display = not listing
        self.strip.display = not listing and len(self.views) > 1
        self.call_after_refresh(self.show)  # when the sizes are known

    def show_heads(self) -> None:
        """Draws the heads of the columns, and what a filter leaves out."""
        table = self.table
        self.heads.show(table.layout_now, table.sort, table.reverse, table.grouping.value, table.filtered)

    def show_selected(self) -> None:
        """Draws what is about the selected mapping."""
        view, wanted = self.view, self.pane.show(self.view) if self.pane.size else None
        self.detail.show(selected(view), self.pane.about(view), self.table.zeros_of(view.selected))
        if wanted is not None and wanted != self._watched and not view.over:
            self._watched = wanted
            self.source.watch(*wanted)

    def show_form(self) -> None:
        """Draws the dump dialog, if it is open."""
        self.form.show(self.size.width, frozen=self.frozen or self.view.back is not None)

    def show_dump(self) -> None:
        """Draws the dump that runs, if one does."""
        self.bar.show(self.app.dumps.busy if self.app.dumps is not None else None, self.size.width)

    def show_messages(self) -> None:
        """Draws the banner, and the open question over it."""
        self.banner.show(self.message, self.size.width)
        self.prompt.ask(self.prompt.question, self.size.width, self.size.height)

    @property
    def message(self) -> Saying:
        """What the banner says."""
        notice = self._notice
        if notice is None:
            return of_sample(self.view, can_pick=self.app.can_pick, nominal=self.source.interval)
        other = self.views.get(notice.key) if notice.key is not None else None
        return of_notice(notice, None if other is self.view else other)

    # ---- messages ----------------------------------------------------------------------------------

    def notify_user(self, notice: Notice) -> None:
        """Shows a message above the footer; a key dismisses it."""
        self.wake()
        self._stop_clock()
        self._notice = notice
        self.show_messages()
        self.last_said = self.message
        if notice.severity == "information":
            self._leaves = self.set_timer(NOTICE_SECONDS, self.forget)

    def forget(self) -> None:
        """Takes the message away, if there is one."""
        self._stop_clock()
        if self._notice is not None:
            self._notice = None
            self.show_messages()

    def _stop_clock(self) -> None:
        """What would take the message away: its time starts with it, and ends with it."""
        if self._leaves is not None:
            self._leaves.stop()
            self._leaves = None

    def say(self, text: str, severity: str = "information") -> None:
        """Shows a sentence of the screen's own."""
        self.notify_user(Notice(text, severity))

    def key_pressed(self) -> None:
        """Whoever pressed a key has seen the message."""
        self._dismissed = self._notice is not None
        self.view.heard()
        self.forget()
        self.wake()

    def switch(self, key: Key) -> None:
        """Shows another process, unless a question about this one is open or something is typed."""
        if self.mode in (Mode.TABLE, Mode.PANE, Mode.PROCESSES):
            self.view = self.views[key]
            self.show()
