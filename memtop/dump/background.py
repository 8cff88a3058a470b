"""Dumps while a screen goes on: one at a time, each on a thread of its own, with a share of its tracker."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from memtop.dump.estimate import READ
from memtop.dump.feed import SharedFeed
from memtop.dump.image import Freeze
from memtop.dump.job import Format, Job, dump
from memtop.dump.output import RESERVE
from memtop.dump.progress import Cancelled, Progress, Result
from memtop.linux import coreinfo
from memtop.linux.errors import Failed, MemtopError, ProcessGone
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.model.coverage import Exactness
from memtop.model.layout import PAGE
from memtop.model.names import clean_text
from memtop.sampler.loop import Sampler
from memtop.sampler.source import Key

MOST_NAMES = 100


@dataclass(frozen=True, slots=True)
class Underway:
    """A dump that runs.

    Attributes:
        key, title: whose memory.
        began: unix seconds; ``round_began`` on the monotonic clock.
        progress: a copy, as of the last look.
        copied: pages of all rounds by now.
        cancelled: it has been told to end.
    """

    key: Key
    title: str
    job: Job
    began: float
    round_began: float
    progress: Progress = field(default_factory=Progress)
    copied: int = 0
    cancelled: bool = False

    @property
    def speed(self) -> float | None:
        """Bytes a second of this round; None before anything was copied."""
        took = time.monotonic() - self.round_began
        return self.progress.done * PAGE / took if self.progress.done and took > 0 else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A dump that is over.

    Attributes:
        result: of one that is complete; else ``error`` says why not.
        open_with: the command that opens it.
    """

    key: Key
    title: str
    job: Job
    result: Result | None = None
    error: str = ""
    cancelled: bool = False
    open_with: str = ""


class Dumps:
    """Makes dumps of what a sampler samples.

    Args:
        sampler: lends its targets; stopped only after ``close``.

    Attributes:
        busy: the dump that runs; None: none does.
        last: the one that was over last.
        speed: bytes a second that the last one copied with; None: none was made yet.
        overhead: seconds that its stop took besides reading the last pages; None: there was none yet.
        snapshots: path of the last snapshot of each process.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self.busy: Underway | None = None
        self.last: Outcome | None = None
        self.speed: float | None = None
        self.overhead: float | None = None
        self.snapshots: dict[Key, str] = {}
        self._thread: threading.Thread | None = None
        self._cancel = threading.Event()
        self._following: dict[Key, tuple[str, SharedFeed]] = {}

    def start(
        self, key: Key, title: str, job: Job, moved: Callable[[], None], over: Callable[[Outcome], None]
    ) -> None:
        """Begins a dump and returns at once.

        Args:
            key, title: whose memory.
            job: what and how.
            moved: called now and then, on another thread, as is
            over: called once in the end.

        Raises:
            Failed: one is under way.
        """
        if self.busy is not None:
            raise Failed(f"a dump of {self.busy.title} is under way", "", "one at a time")
        self.busy = Underway(key, title, job, time.time(), time.monotonic())
        self._cancel.clear()
        self._thread = threading.Thread(
            target=self._run, args=(self.busy, moved, over), name="memtop-dump", daemon=True
        )
        self._thread.start()

    def cancel(self) -> None:
        """Ends the dump that runs, as soon as it has copied what it is copying; nothing of it is left."""
        if self.busy is not None:
            self.busy = replace(self.busy, cancelled=True)
            self._cancel.set()

    def close(self) -> None:
        """Cancels, and returns when nothing is under way. Idempotent."""
        self.cancel()
        if self._thread is not None:
            self._thread.join()
        for _, feed in self._following.values():
            feed.close()
        self._following.clear()

    def continues(self, key: Key, parent: str) -> bool:
        """All that was written since this snapshot is known: an increment reads nothing else."""
        path, feed = self._following.get(key, ("", None))
        return feed is not None and path == os.path.abspath(parent) and feed.unbroken

    # ---- what a dialog asks ------------------------------------------------------------------------------

    @staticmethod
    def now() -> float:
        """Unix seconds, for the names of files."""
        return time.time()

    @staticmethod
    def free(path: str) -> int | None:
        """Bytes that a dump of this path may take; None: there is no such directory."""
        try:
            disk = os.statvfs(os.path.dirname(path) or ".")
        except (OSError, ValueError):
            return None
        return max(disk.f_bavail * disk.f_frsize - RESERVE, 0)

    @staticmethod
    def core_filter(pid: int) -> int:
        """What the process wants in a core; the kernel's default where it does not tell."""
        return coreinfo.coredump_filter(pid)

    # ---- on the thread of a dump ------------------------------------------------------------------------

    def _run(self, busy: Underway, moved: Callable[[], None], over: Callable[[Outcome], None]) -> None:
        outcome = Outcome(busy.key, busy.title, busy.job)
        try:
            outcome = self._dump(busy, outcome, moved)
        except Cancelled as error:
            outcome = replace(outcome, error=error.sentence, cancelled=True)
        except MemtopError as error:
            outcome = replace(outcome, error=error.sentence)
        except Exception as error:  # a bug is shown, not hidden behind a bar that stands
            outcome = replace(outcome, error=f"the dump failed: {error!r}")
        self.last, self.busy = outcome, None
        over(outcome)

    def _dump(self, busy: Underway, outcome: Outcome, moved: Callable[[], None]) -> Outcome:
        key, job = busy.key, busy.job
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(self._sampler.lend(key, "a dump"))
            handle = ProcessHandle.open(key[0])
            stack.callback(handle.close)
            if handle.start_time != key[1]:
                raise ProcessGone(f"process {key[0]} has ended", "its number belongs to another one now")
            program = coreinfo.program(key[0])
            since = job.parent is not None and self.continues(key, job.parent)
            feed: SharedFeed | None = None
            if since:
                feed = self._following.pop(key)[1]
            elif target.tracker_info.name != "off" and job.freeze is not Freeze.FULL:
                feed = SharedFeed(target)
            keep = contextlib.ExitStack()
            if feed is not None:
                keep = stack.enter_context(contextlib.ExitStack())
                keep.callback(feed.close)
            result = dump(
                job,
                handle,
                probe_kernel(),
                feed=feed,
                since_parent=since,
                watch=lambda progress: self._watch(progress, moved),
            )
            exact = feed is not None and feed.exactness is Exactness.EXACT
            if job.format is Format.SNAPSHOT:
                self.snapshots[key] = job.path
                if feed is not None and exact and job.freeze is Freeze.FINAL and not job.only:
                    keep.pop_all()
                    self._follow_on(key, job.path, feed)
        self._learn(result)
        return replace(outcome, result=result, open_with=open_command(job, program))

    def _learn(self, result: Result) -> None:
        """How fast it went, for the next forecast."""
        said = result.image.statement
        if said.rounds and said.rounds[0].took > 0.01:
            self.speed = said.rounds[0].pages * PAGE / said.rounds[0].took
        if said.freeze is Freeze.FINAL:
            self.overhead = max(said.stop_s - said.final_pages * PAGE / READ, 0.0)

    def _follow_on(self, key: Key, path: str, feed: SharedFeed) -> None:
        """What is written from now on is kept for an increment on top of this snapshot."""
        if key in self._following:
            self._following[key][1].close()
        self._following[key] = os.path.abspath(path), feed

    def _watch(self, progress: Progress, moved: Callable[[], None]) -> None:
        if self._cancel.is_set():
            raise Cancelled
        busy = self.busy
        assert busy is not None
        began = busy.round_began if progress.round == busy.progress.round else time.monotonic()
        self.busy = replace(
            busy, progress=replace(progress), round_began=began, cancelled=self._cancel.is_set()
        )
        moved()


def open_command(job: Job, program: str) -> str:
    """What a user types to look into the dump, as a shell takes it."""
    path = shlex.quote(clean_text(job.path))
    if job.format is Format.CORE:
        return f"gdb {shlex.quote(program) if program else 'PROGRAM'} {path}"
    if job.format is Format.SNAPSHOT:
        return f"memtop core {path} -o CORE"
    return f"crit x {path} mems"


def default_path(comm: str, pid: int, when: float, ending: str, folder: str = "") -> str:
    """A name that is free: ``COMM-PID-TIME.ENDING``. The process chose its name, so only plain
    characters of it stay.

    Args:
        comm, pid: the process.
        when: unix seconds; the name has it in UTC.
        ending: what follows the dot.
        folder: where; empty: the current directory.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", comm).strip("._-") or "process"
    stem = f"{name}-{pid}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(when))}"
    for n in range(1, MOST_NAMES):
        path = os.path.join(folder, f"{stem}{f'-{n}' if n > 1 else ''}.{ending}")
        if not os.path.lexists(path):
            break
    return path
