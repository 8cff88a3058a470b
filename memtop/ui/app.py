"""The Textual application: takes samples from a source and ends cleanly."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.command import Provider
from textual.message import Message

from memtop.linux.errors import MemtopError
from memtop.model.actions import Method, Notice
from memtop.model.names import clean_text
from memtop.model.sample import Process, Sample
from memtop.ui import picture
from memtop.ui.dressed import Dressed
from memtop.ui.meter import CpuMeter
from memtop.ui.paint import queued
from memtop.ui.theme import Palette
from memtop.ui.widgets.first_picture import FirstPicture

# The page and all behind it are imported when the first picture stands (``MemtopApp._open``).
if TYPE_CHECKING:
    from memtop.dump.background import Dumps
    from memtop.sampler.source import Key, Source
    from memtop.ui.screens.live import LiveScreen
    from memtop.ui.settings import Settings
    from memtop.ui.state import ProcessView

SWITCH_S = 0.0005
"""Seconds after which the sampling thread lets a key have the interpreter: a tenth of Python's own."""

STALLED_S = 0.1
"""Seconds until it is looked again whether the terminal takes more."""

MOST_ENDED = 32
"""Processes that have ended and are shown: with ``--children`` there may come any number."""


class Arrived(Message):
    """Samples arrived; many in the queue count as one, so a slow terminal drops frames."""

    def can_replace(self, message: Message) -> bool:
        """The newest picture is the only one worth drawing."""
        return isinstance(message, Arrived)


class Appeared(Message):
    """A process that was not there at the start has its first sample."""

    def __init__(self, view: ProcessView) -> None:
        super().__init__()
        self.view = view


class Noticed(Message):
    """The source has something to say."""

    def __init__(self, notice: Notice) -> None:
        super().__init__()
        self.notice = notice


class Broke(Message):
    """A sample could not be taken in."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _unknown() -> None:
    return None


def _commands() -> type[Provider]:
    from memtop.ui.palette import Commands

    return Commands


class MemtopApp(Dressed[int]):
    """The screen.

    Args:
        open_source: makes what samples come from, when the first picture stands; started then, never stopped
            here. A MemtopError of it ends the screen and is its ``refusal``.
        processes: what is shown, in this order; at least one.
        ascii: draw with ASCII only.
        arm_at_start: track writes from the first sample on.
        palette: colours that somebody chose; None: NO_COLOR and the terminal decide.
        folder: where pictures are saved.
        cpu_share: what memtop uses of a CPU; measured, unless a test or a replay gives it.
        settings: what the user has settled; its keys are those of the whole process from then on.
        open_dumps: makes what makes dumps, when the first is asked for; None: there is no process to dump.

    Attributes:
        opened: the page stands, and so source, views and live are there.
        source, views, live: where samples come from, the processes, the page.
        dumps: what makes dumps, once one was asked for.
        refusal: why there is nothing to show.
    """

    CSS_PATH = "memtop.tcss"
    COMMANDS = {_commands}  # noqa: RUF012 (Textual's own form)
    COMMAND_PALETTE_BINDING = ""
    ALLOW_SELECT = False
    can_pick = False
    """Other processes can be chosen (``p``): whoever runs this opens them."""

    settings: Settings
    source: Source
    live: LiveScreen

    def __init__(
        self,
        open_source: Callable[[], Source],
        processes: Sequence[Process],
        *,
        ascii: bool = False,
        arm_at_start: Method | None = None,
        palette: Palette | None = None,
        folder: Path | None = None,
        cpu_share: Callable[[], float | None] | None = None,
        settings: Settings | None = None,
        open_dumps: Callable[[], Dumps] | None = None,
    ) -> None:
        self.theme_chosen = palette.name if palette is not None else None
        super().__init__(ascii=ascii, palette=palette)
        self.title = "memtop"
        self.opened = self._opening = False
        self._left: int | None = None
        self.dumps: Dumps | None = None
        self.views: dict[Key, ProcessView] = {}
        self.refusal: MemtopError | None = None
        self._open_source, self._open_dumps = open_source, open_dumps
        self._processes, self._settled = processes, settings
        self._arm_at_start = arm_at_start
        self._folder = folder
        self._cpu_share = cpu_share
        self._early: list[events.Key] = []
        self._waits = False
        self.loop: asyncio.AbstractEventLoop | None = None

    def compose(self) -> ComposeResult:
        """The first picture, over which the page comes to lie."""
        yield FirstPicture(self.look, self._processes[0])

    def on_mount(self) -> None:
        """Signals end what runs in this loop from now on."""
        self.loop = asyncio.get_running_loop()

    @on(FirstPicture.Drawn)
    async def _open(self) -> None:
        """The page, and the first scan: all that the first picture did without."""
        if self._left is not None:
            return
        self._opening = True
        from memtop.ui import keymap
        from memtop.ui.checkpoints import Checkpoints
        from memtop.ui.screens.live import LiveScreen
        from memtop.ui.settings import Settings
        from memtop.ui.state import ProcessView

        try:
            self.source = source = self._open_source()
        except MemtopError as error:
            self.refusal = error
            self.exit()
            return
        self.settings = self._settled or Settings()
        keymap.use(self.settings.keymap)
        self.views = {view.key: view for view in map(ProcessView, self._processes)}
        if source.position is not None:
            for view in self.views.values():
                view.checkpoints = Checkpoints()
        if self._cpu_share is None:
            # What memtop used then is not in a recording, what it uses now is no matter.
            recorded = source.position is not None and source.position.recorded
            self._cpu_share = _unknown if recorded else CpuMeter()
        self.live = LiveScreen(self.look, source, list(self.views.values()))
        await self.push_screen(self.live)
        self.opened, self._opening = True, False
        if self._left is not None:
            self.leave(self._left)
            return
        for early in self._early:  # before those that have been queued meanwhile
            await self.on_event(early)
        gc.freeze()  # what has been imported is never looked through
        gc.enable()
        sys.setswitchinterval(SWITCH_S)
        self.source.start(self._on_sample, self._on_notice)
        if self._arm_at_start is not None:
            for key in self.views:
                self.source.arm(key, self._arm_at_start)

    def open_dumps(self) -> Dumps | None:
        """What makes dumps; None: there is no process behind the screen."""
        if self.dumps is None and self._open_dumps is not None:
            self.dumps = self._open_dumps()
        return self.dumps

    def stop(self) -> None:
        """Ends sampling; what was armed is given back when this returns. From any thread."""
        source: Source | None = getattr(self, "source", None)
        if source is not None:
            source.stop()

    # ---- on the sampling thread ----------------------------------------------------------------------

    def _on_sample(self, sample: Sample) -> None:
        view = self.views.get(sample.key)
        if view is None:
            from memtop.ui.state import ProcessView

            view = ProcessView(sample.process)
            # A new dict: the screen's thread may be going through the old one.
            self.views = {**self._remembered(), view.key: view}
            self._post(Appeared(view))
        try:
            view.absorb(sample)
        except Exception as error:  # a bug must end the screen, not the thread behind a picture that stands
            self._post(Broke(error))
        else:
            self._post(Arrived())

    def _remembered(self) -> dict[Key, ProcessView]:
        """All that live, and those that ended last; a recording must be able to go back to every one."""
        if self.source.position is not None:
            return self.views
        ended = sorted((view.newest_time, key) for key, view in self.views.items() if view.over)
        forgotten = {key for _, key in ended[: max(len(ended) - MOST_ENDED, 0)]}
        return {key: view for key, view in self.views.items() if key not in forgotten}

    def rewind(self, time: float) -> float:
        """All processes go back; see ``sampler.source.Rewind``."""
        return min(view.rewind(time) for view in self.views.values())

    def _on_notice(self, notice: Notice) -> None:
        self._post(Noticed(notice))

    def _post(self, message: Message) -> None:
        with suppress(RuntimeError):  # the loop has just closed: nobody looks any more
            self.post_message(message)

    # ---- on the screen's -----------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """Sees every key before any binding does."""
        if not isinstance(event, events.Key):
            if self.opened and isinstance(
                event, events.MouseDown | events.MouseScrollUp | events.MouseScrollDown
            ):
                self.live.wake()
            await super().on_event(event)
        elif not self.opened:
            self._early.append(event)
        else:
            self.live.key_pressed()
            if not self.live.closes_help(event.key):
                await super().on_event(event)
            if self.live.is_mounted and (typed := self.live.typed) is not None:
                await typed.taken()

    def on_arrived(self) -> None:
        """Draws the newest samples, once the terminal has taken what was drawn before."""
        if queued(self._driver):
            if not self._waits:
                self._waits = True
                self.set_timer(STALLED_S, self._draw_late)
            return
        self.live.cpu = None if self._cpu_share is None else self._cpu_share()
        self.live.follow()

    def _draw_late(self) -> None:
        self._waits = False
        self.on_arrived()

    def on_appeared(self, message: Appeared) -> None:
        """Shows one more process; what was selected stays so."""
        view, tracked = message.view, any(view.tracking for view in self.views.values())
        if self._arm_at_start is not None and tracked and not view.over:
            self.source.arm(view.key, self._arm_at_start)
        view.take()
        self.live.add_view(view, self.views)

    def on_broke(self, message: Broke) -> None:
        """Fails where failing is handled."""
        raise message.error

    def on_noticed(self, message: Noticed) -> None:
        """Shows what the source said."""
        self.live.notify_user(message.notice)
        self.live.show()  # what it is about may show elsewhere too

    @property
    def text(self) -> str:
        """What is on screen, as plain text."""
        lines = (strip.text.rstrip() for strip in self.screen._compositor.render_strips())
        return "\n".join(lines) + "\n"

    def picture(self, view: ProcessView) -> str:
        """What is on screen, as SVG."""
        return picture.portable(self.export_screenshot(title=f"memtop {view.title}"))

    def save_picture(self, view: ProcessView) -> tuple[str, str]:
        """Saves what is on screen; returns a sentence and its severity."""
        if view.sample is None:
            return "there is nothing to save before the first scan", "warning"
        try:
            forms = {".svg": self.picture(view), ".txt": self.text}
            path = picture.save(forms, view.process, view.sample.time, self._folder or Path.cwd())
        except OSError as error:
            where = f" in {clean_text(os.path.dirname(error.filename))}" if error.filename else ""
            return f"the picture was not saved{where}: {error.strerror or error}", "error"
        return f"saved {path.name} and .txt in {clean_text(str(path.parent))}", "information"

    def leave(self, code: int) -> None:
        """Ends the application with this exit code; a page that is being put together stands first."""
        self._left = code
        if not self._opening:
            self.exit(code, return_code=code)

    def _fatal_error(self) -> None:
        """An exception that nobody caught: a sentence for the user, the traceback on request."""
        if os.environ.get("MEMTOP_DEBUG"):
            super()._fatal_error()
            return
        error = self._exception
        text = f"memtop: the screen failed: {error!r}; run it with MEMTOP_DEBUG=1 for the place in the code"
        self._exit_renderables.append(Text(text))
        self._close_messages_no_wait()
