"""Samples from a recording: a Source like the live one, that can go back."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from memtop.model.actions import Arm, ArmCost, ClearRefs, Method, Notice
from memtop.model.detail import Detail
from memtop.model.peek import Peek
from memtop.model.sample import Sample
from memtop.model.scope import Scope
from memtop.model.units import count
from memtop.sampler.source import Key, Position, Rewind
from memtop.stream.decode import Damaged
from memtop.stream.recording import NotKept, Recording

SPEEDS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0)
"""How much faster than it was recorded."""

LONGEST_GAP = 5.0
"""Seconds that the picture stands for a gap in the recording, however long that was."""

NO_PROCESS = "this is a recording: there is no process to act on"


class ReplaySource:
    """Plays a recording; see ``sampler.source.Source``.

    A file is played at the pace it was recorded at. A pipe that is open is followed: whatever arrives is
    shown at once.

    Args:
        recording: what to play.
        at: start at this moment (from 1) and stand there; None: play from the first.
    """

    def __init__(self, recording: Recording, at: int | None = None) -> None:
        self.readonly = True
        self._recording = recording
        self._stand = at
        self._frozen = False
        self._stopping = False
        self._speed = 1.0
        self._shown = 0  # entries that have been delivered
        self._due = 0.0
        self._told_end = False
        self._still = False
        self._paced = recording.is_file
        self._wake = recording.changed
        self._requests: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._on_sample: Callable[[Sample], None] = lambda sample: None
        self._on_notice: Callable[[Notice], None] = lambda notice: None

    @property
    def interval(self) -> float:
        """Nominal seconds between samples; where the recording does not say, those between its first two."""
        if self._recording.interval is not None:
            return self._recording.interval
        entries, moments = self._recording.entries, self._recording.moments
        if len(moments) < 2:
            return 1.0
        return round(max(entries[moments[1]].time - entries[moments[0]].time, 0.1), 1)

    @property
    def position(self) -> Position:
        """Where in the recording this is."""
        entries, shown = self._recording.entries, min(self._shown, len(self._recording.entries))
        at = entries[shown - 1].moment + 1 if shown else 0
        return Position(
            at,
            len(self._recording.moments),
            speed=self._speed,
            recorded=True,
            follows=self._recording.follows,
            stands=self._still,
            at_end=self._recording.closed and shown == len(entries),
        )

    def start(self, on_sample: Callable[[Sample], None], on_notice: Callable[[Notice], None]) -> None:
        """Starts the thread; the first sample comes at once."""
        self._on_sample, self._on_notice = on_sample, on_notice
        self._thread = threading.Thread(target=self._run, name="memtop-replay", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread. Idempotent."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def set_interval(self, seconds: float) -> None:
        """A recording has the interval that it was recorded with."""

    def change_speed(self, steps: int) -> None:
        """The next faster or slower speed."""
        with self._wake:
            at = SPEEDS.index(self._speed) + steps
            self._speed = SPEEDS[min(max(at, 0), len(SPEEDS) - 1)]
            self._due = time.monotonic()
            self._wake.notify_all()

    def set_frozen(self, frozen: bool) -> None:
        """While frozen nothing is played, but what arrives is kept."""
        with self._wake:
            self._frozen = frozen
            self._stand, self._still = None, False
            self._due = time.monotonic()
            self._wake.notify_all()

    def step(self, moments: int, rewind: Rewind) -> None:
        """Goes so many moments on, or back."""
        with self._wake:
            self._requests.append(lambda: self._step(moments, rewind))
            self._still = False
            self._wake.notify_all()

    def watch(self, key: Key, mapping_id: int, start: int, cell_pages: int, cells: int) -> None:
        """A recording has 64 cells of residency a mapping and no finer ones."""

    def peek(self, key: Key, address: int, pages: int, contents: bool, then: Callable[[Peek], None]) -> None:
        """There is nothing to look at."""
        shown = self._recording.entries[self._shown - 1].time if self._shown else time.time()
        then(Peek(address, shown, why="a recording holds no contents of memory"))

    def detail(self, key: Key, mapping_id: int, anyway: bool, then: Callable[[Detail], None]) -> None:
        """Only what samples hold was recorded."""
        then(Detail(0, time.time(), why="not recorded: a recording holds samples, not smaps"))

    def arm_cost(
        self, key: Key, method: Method, choice: Arm | None = None, scope: Scope | None = None
    ) -> ArmCost | None:
        """There is nothing to arm."""
        return None

    def arm(self, key: Key, method: Method, choice: Arm | None = None, scope: Scope | None = None) -> None:
        """Refused in words."""
        self._on_notice(Notice(NO_PROCESS, "warning", key))

    def disarm(self, key: Key) -> None:
        """Refused in words."""
        self._on_notice(Notice(NO_PROCESS, "warning", key))

    def clear_refs(self, key: Key, what: ClearRefs) -> None:
        """Refused in words."""
        self._on_notice(Notice(NO_PROCESS, "warning", key))

    # ---- on the playing thread ---------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._stopping or self._requests or self._ready()):
                    left = self._left()
                    self._still = self._shown > 0 and (self._frozen or self._standing() or self._ended())
                    self._wake.wait(left)
                self._still = False
                if self._stopping:
                    return
                request = self._requests.popleft() if self._requests else None
            if request is not None:
                request()
            elif self._ended():
                self._tell_end()
            else:
                self._play()

    @property
    def _follows(self) -> bool:
        """What came through a pipe is shown at once, until its end has been shown."""
        return self._recording.follows or not self._paced

    def _ended(self) -> bool:
        return self._recording.closed and self._shown >= len(self._recording.entries)

    def _standing(self) -> bool:
        if self._stand is None or not (self._recording.closed or self._stand < len(self._recording.moments)):
            return False  # what is to stand has not arrived whole
        return self._shown >= self._behind(self._stand - 1)

    def _ready(self) -> bool:
        if self._ended():
            return self._stand is None and not self._told_end
        if self._frozen or self._standing() or self._shown >= len(self._recording.entries):
            return False
        if self._stand is not None:  # a file first tells how many moments it has
            return self._recording.closed or self._recording.follows
        return self._follows or time.monotonic() >= self._due

    def _left(self) -> float | None:
        pending = self._shown < len(self._recording.entries)
        if self._frozen or self._stand is not None or self._ended() or not pending:
            return None
        return max(self._due - time.monotonic(), 0.0)

    def _behind(self, moment: int) -> int:
        """Index behind the last entry of a moment."""
        moments, entries = self._recording.moments, self._recording.entries
        return moments[moment + 1] if moment + 1 < len(moments) else len(entries)

    def _play(self) -> None:
        recording = self._recording
        moment = recording.entries[self._shown].moment
        if self._stand is not None:
            self._deliver(self._behind(min(self._stand - 1, len(recording.moments) - 1)))
        elif self._follows:
            self._deliver(len(recording.entries))
        else:
            now = time.monotonic()
            self._deliver(self._behind(moment))
            if moment + 1 < len(recording.moments):
                first, then = (recording.entries[recording.moments[m]].time for m in (moment, moment + 1))
                gap = min(max(then - first, 0.0), LONGEST_GAP) / self._speed
                # The deadline that was due, so that the pace is kept; what was missed is not made up for.
                self._due = max((self._due if moment else now) + gap, now)

    def _deliver(self, end: int) -> None:
        lost = 0
        while self._shown < end and not self._stopping:
            try:
                sample = self._recording.sample(self._shown)
            except NotKept:
                self._shown, lost = self._shown + 1, lost + 1
                continue
            except Damaged as why:
                self._recording.cut(self._shown, why)
                return
            self._shown += 1
            self._on_sample(sample)
        if lost:
            text = f"{count(lost)} samples came faster than they could be shown and are not kept any more"
            short = f"{count(lost)} samples came too fast to be shown: their writes are missing here"
            missing = f"{text}: what was written in them is missing here"
            self._on_notice(Notice(missing, "warning", None, (short,)))

    def _step(self, moments: int, rewind: Rewind) -> None:
        recording = self._recording
        self._stand = None
        if not self._shown:
            return
        first = recording.entries[recording.oldest].moment + (recording.oldest > 0)
        now = recording.entries[self._shown - 1].moment
        wanted = min(max(now + moments, first), len(recording.moments) - 1)
        if wanted < now:
            # Whoever shows samples goes back to a state that it kept, and says from when on it needs them.
            since = rewind(recording.entries[recording.moments[wanted]].time)
            index = recording.moments[wanted]
            while index > recording.oldest and recording.entries[index - 1].time > since:
                index -= 1
            self._shown = index
        self._deliver(self._behind(wanted))
        self._due = time.monotonic()
        self._told_end = self._told_end and self._ended()

    def _tell_end(self) -> None:
        self._told_end = self._paced = True
        recording = self._recording
        text = f"the recording ends here, after {count(len(recording.moments))} samples; ← steps back"
        if recording.problem:
            self._on_notice(Notice(f"{text}; {recording.problem}", "error", None, (recording.problem,)))
        else:
            self._on_notice(Notice(text, "warning"))
