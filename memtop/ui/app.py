"""The Textual application: takes samples from a source and ends cleanly."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text
from textual import events
from textual._compositor import ChopsUpdate
from textual.message import Message
from textual.screen import Screen
from textual.scrollbar import ScrollBar

from memtop.dump.background import Dumps
from memtop.model.actions import Method, Notice
from memtop.model.names import clean_text
from memtop.model.sample import Process, Sample
from memtop.sampler.source import Source
from memtop.ui import keymap, picture
from memtop.ui.checkpoints import Checkpoints
from memtop.ui.dressed import Dressed
from memtop.ui.glyphs import Bars
from memtop.ui.keymap import Mode
from memtop.ui.meter import CpuMeter
from memtop.ui.paint import CroppedUpdate, queued
from memtop.ui.palette import Commands
from memtop.ui.screens.live import LiveScreen
from memtop.ui.settings import Settings
from memtop.ui.state import ProcessView
from memtop.ui.theme import Palette

ScrollBar.renderer = Bars


STALLED_S = 0.1
"""Seconds until it is looked again whether the terminal takes more."""


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


class MemtopApp(Dressed[int]):
    """The screen.

    Args:
        source: where samples come from; started when the first picture stands, never stopped here.
        processes: what is shown, in this order; at least one.
        ascii: draw with ASCII only.
        arm_at_start: track writes from the first sample on.
        palette: colours that somebody chose; None: NO_COLOR and the terminal decide.
        folder: where pictures are saved.
        cpu_share: what memtop uses of a CPU; measured, unless a test or a replay gives it.
        settings: what the user has settled; its keys are those of the whole process from then on.
        dumps: makes dumps; None: there is no process to dump.
    """

    CSS_PATH = "memtop.tcss"
    COMMANDS = {Commands}  # noqa: RUF012 (Textual's own form)
    COMMAND_PALETTE_BINDING = ""
    ALLOW_SELECT = False
    can_pick = False
    """Other processes can be chosen (``p``): whoever runs this opens them."""

    def __init__(
        self,
        source: Source,
        processes: Sequence[Process],
        *,
        ascii: bool = False,
        arm_at_start: Method | None = None,
        palette: Palette | None = None,
        folder: Path | None = None,
        cpu_share: Callable[[], float | None] | None = None,
        settings: Settings | None = None,
        dumps: Dumps | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.theme_chosen = palette.name if palette is not None else None
        super().__init__(ascii=ascii, palette=palette)
        self.title = "memtop"
        self.source, self.dumps = source, dumps
        self.views = {view.key: view for view in map(ProcessView, processes)}
        keymap.use(self.settings.keymap)
        self.live = LiveScreen(self.look, source, list(self.views.values()))
        self._arm_at_start = arm_at_start
        self._folder = folder
        position = source.position
        if cpu_share is None and position is not None and position.recorded:
            cpu_share = (
                _unknown  # what memtop used then is not in the recording, what it uses now is no matter
            )
        self._cpu_share = cpu_share or CpuMeter()
        self._waits = False
        self.loop: asyncio.AbstractEventLoop | None = None

    def on_mount(self) -> None:
        """The empty picture first, then the first scan."""
        self.loop = asyncio.get_running_loop()
        self.push_screen(self.live)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        if self.source.position is not None:
            for view in self.views.values():
                view.checkpoints = Checkpoints()
        self.live.show()
        gc.freeze()  # what has been imported is never looked through
        gc.enable()
        self.source.start(self._on_sample, self._on_notice)
        if self._arm_at_start is not None:
            for key in self.views:
                self.source.arm(key, self._arm_at_start)

    # ---- on the sampling thread ----------------------------------------------------------------------

    def _on_sample(self, sample: Sample) -> None:
        view = self.views.get(sample.key)
        if view is None:
            view = ProcessView(sample.process)
            self.views = {
                **self.views,
                view.key: view,
            }  # the screen's thread may be going through the old one
            self._post(Appeared(view))
        try:
            view.absorb(sample)
        except Exception as error:  # a bug must end the screen, not the thread behind a picture that stands
            self._post(Broke(error))
        else:
            self._post(Arrived())

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
        if isinstance(event, events.Key):
            self.live.key_pressed()
        await super().on_event(event)
        if isinstance(event, events.Key) and self.live.is_mounted:
            if self.live.mode is Mode.TYPE:
                await self.live.typing.typed.taken()
            elif self.live.mode is Mode.FIELD:
                await self.live.form.typed.taken()

    def on_arrived(self) -> None:
        """Draws the newest samples, once the terminal has taken what was drawn before."""
        if queued(self._driver):
            if not self._waits:
                self._waits = True
                self.set_timer(STALLED_S, self._draw_late)
            return
        self.live.cpu = self._cpu_share()
        for view in self.views.values():
            view.take()
        self.live.show()

    def _draw_late(self) -> None:
        self._waits = False
        self.on_arrived()

    def on_appeared(self, message: Appeared) -> None:
        """Shows one more process; what was selected stays so."""
        if self._arm_at_start is not None and any(view.tracking for view in self.views.values()):
            self.source.arm(message.view.key, self._arm_at_start)
        self.live.add_view(message.view)

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
            return f"the picture was not saved: {error.strerror or error}", "error"
        return f"saved {path.name} and .txt in {clean_text(str(path.parent))}", "information"

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        if isinstance(renderable, ChopsUpdate):
            renderable = CroppedUpdate.of(renderable)
        super()._display(screen, renderable)

    def leave(self, code: int) -> None:
        """Ends the application with this exit code."""
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
