"""The lines of a recording, indexed by moment: of a file by where they stand, of a pipe kept in memory.

A *moment* is one sample of each process: what a screen shows together, and what one step goes over.
"""

from __future__ import annotations

import os
import stat
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from memtop.linux.errors import Failed
from memtop.model.sample import Process, Sample
from memtop.model.units import LONGEST, SHORTEST
from memtop.stream.decode import Damaged, Decoder, Key, key_of, number, parse, process_of, time_of

MOST_KEPT = 256 << 20
"""Bytes of compressed lines of a pipe that are kept to step back in; of a file nothing is kept."""

LONGEST_LINE = 1 << 28
"""Bytes; a whole sample of a process with 30 000 mappings takes 15 MB."""

_CHUNK = 1 << 20


class NotKept(Exception):
    """A sample of a pipe that is older than what is kept."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample: its line in the recording, whose it is, and when.

    Attributes:
        line: number in the recording, from 1.
        moment: which moment it belongs to, from 0.
        whole: it can be read without the ones before it.
        before: index of the entry of the same process before it, or -1.
    """

    line: int
    key: Key
    time: float
    moment: int
    whole: bool
    before: int
    process: Process


class Recording:
    """Reads a recording to its end on a thread of its own; what has arrived can be decoded at any time.

    Args:
        fd: a file or a pipe; becomes the recording's.
        name: for sentences.
    """

    def __init__(self, fd: int, name: str) -> None:
        self.name = name
        self.entries: list[Entry] = []
        self.moments: list[int] = []  # index of the first entry of each
        self.oldest = 0
        """The first entry that can still be decoded."""
        self.interval: float | None = None
        """Nominal seconds between samples, where the recording says it."""
        self.closed = False
        self.problem = ""
        """Why the recording ends where it ends, if that is not its end."""
        self.changed = threading.Condition()
        self._fd = fd
        self.is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        self._places: list[tuple[int, int] | bytes | None] = []
        self._kept = 0
        self._processes: dict[Key, Process] = {}
        self._latest: dict[Key, int] = {}
        self._decoders: dict[Key, tuple[int, Decoder]] = {}
        self._on_more: Callable[[], None] = lambda: None
        threading.Thread(target=self._fill, name="memtop-recording", daemon=True).start()

    @property
    def follows(self) -> bool:
        """It comes through a pipe that is still open: what arrives is now."""
        return not (self.is_file or self.closed)

    def processes(self) -> list[Process]:
        """Whose samples these are; waits until the first ones have arrived.

        Raises:
            Failed: there is no sample in it, or its first line is none of a recording.
        """
        with self.changed:
            # Of ``memtop batch``, which names no processes, only the second moment tells that these are all.
            self.changed.wait_for(
                lambda: self.closed or len(self.moments) > 1 or (self._processes and self.entries)
            )
            found = dict(self._processes) or {entry.key: entry.process for entry in self.entries}
            if not self.entries:
                raise Failed(f"{self.name} can't be shown", self.problem or "it holds no samples")
        return list(found.values())

    def sample(self, index: int) -> Sample:
        """The sample of an entry; cheap in order, else from the last whole one on. One thread only.

        Raises:
            Damaged: its line contradicts the format.
            NotKept: it came through a pipe too long ago.
        """
        entry = self.entries[index]
        at, decoder = self._decoders.get(entry.key, (-1, Decoder()))
        todo = [index]
        while not self.entries[todo[-1]].whole and self.entries[todo[-1]].before != at:
            before = self.entries[todo[-1]].before
            if before < 0:
                raise Damaged("a delta without a whole sample before it")
            todo.append(before)
        if self.entries[todo[-1]].whole:
            decoder = Decoder()
        self._decoders.pop(entry.key, None)
        for each in reversed(todo):
            answer = decoder.sample(parse(self._line(each)), self.entries[each].process)
        self._decoders[entry.key] = index, decoder
        return answer

    def cut(self, index: int, why: Damaged) -> None:
        """Ends the recording before this entry, which can't be decoded."""
        with self.changed:
            self.problem = f"line {self.entries[index].line} is damaged: {why}"
            del self.entries[index:]
            del self.moments[self.entries[-1].moment + 1 if self.entries else 0 :]
            self.closed = True
            self.changed.notify_all()

    def _line(self, index: int) -> bytes:
        place = self._places[index]
        if isinstance(place, tuple):
            offset, length = place
            return os.pread(self._fd, length, offset)
        if place is None:
            raise NotKept
        return zlib.decompress(place)

    # ---- on the reading thread ---------------------------------------------------------------------

    def _fill(self) -> None:
        at = 0
        try:
            for at, (offset, line) in enumerate(self._lines(), 1):
                with self.changed:
                    if self.closed:  # cut
                        return
                    self._take(at, offset, line)
                    self.changed.notify_all()
        except Damaged as error:
            first = "it is no recording that this memtop reads"
            self._close(f"line {at} is damaged: {error}" if at > 1 else f"{first}: {error}")
        except OSError as error:
            self._close(f"reading it failed: {error.strerror or error}")
        else:
            self._close("")

    def _close(self, problem: str) -> None:
        with self.changed:
            self.problem = self.problem or problem
            self.closed = True
            self.changed.notify_all()

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Offset and content of every line; a last one without its end is told of and left out."""
        offset, parts = 0, [b""]
        while chunk := os.read(self._fd, _CHUNK):
            *ended, rest = chunk.split(b"\n")
            for piece in ended:
                parts.append(piece)
                line = b"".join(parts)
                yield offset, line
                offset, parts = offset + len(line) + 1, []
            parts.append(rest)
            if sum(map(len, parts)) > LONGEST_LINE:
                raise Damaged(f"a line of more than {LONGEST_LINE >> 20} MiB")
        if any(parts):
            self.problem = "its last line was not written to its end, as when a recorder is killed: left out"

    def _take(self, at: int, offset: int, line: bytes) -> None:
        value = parse(line)
        key = key_of(value)
        if value["type"] == "process":
            self._processes[key] = process_of(value)
            if value.get("interval") is not None:
                self.interval = min(max(number(value["interval"]), SHORTEST), LONGEST)
            return
        index, before = len(self.entries), self._latest.get(key, -1)
        moment = len(self.moments) - 1
        if moment < 0 or before >= self.moments[moment]:  # this process again: the next moment
            moment += 1
            self.moments.append(index)
        whole = value["type"] == "sample"
        process = self._processes.get(key) or process_of(value)
        self._places.append((offset, len(line)) if self.is_file else self._keep(line))
        self.entries.append(Entry(at, key, time_of(value), moment, whole, before, process))
        self._latest[key] = index

    def _keep(self, line: bytes) -> bytes:
        """Compresses a line; the oldest ones go when there are too many, up to a place to start from."""
        kept = zlib.compress(line, 1)
        self._kept += len(kept)
        while self._kept > MOST_KEPT and self.oldest < len(self.entries) - 1:
            gone = self._places[self.oldest]
            self._kept -= len(gone) if isinstance(gone, bytes) else 0
            self._places[self.oldest] = None
            self.oldest += 1
        return kept


def open_recording(path: str) -> Recording:
    """A recording by its path.

    Raises:
        OSError: it can't be opened.
    """
    return Recording(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)
