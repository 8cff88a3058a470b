"""Where the pages of a dump come from, and where they go to."""

from __future__ import annotations

from typing import Protocol

from memtop.dump.files import clear, write_at
from memtop.dump.image import Image
from memtop.linux.vmread import DATA, Copied, Held, OutFile, Pieces, hash_held, write_held
from memtop.model.layout import PAGE, PIECE, RUN
from memtop.model.runs import PageRuns

STEP = 256
"""Pages that are loaded at once."""


class PageSource(Protocol):
    """Has pages: a live process, pages held in memory, a snapshot chain.

    Attributes:
        whole: all of its pages have to be asked for in one go.
    """

    whole: bool

    def copy(self, pieces: Pieces, out: OutFile, *, hashed: bool, overwrite: bool) -> Copied:
        """Copies pages into a file.

        Args:
            pieces: which, and where in the file each belongs.
            out: the file.
            hashed: tell the hash of each page.
            overwrite: something may stand there already.

        Raises:
            MemtopError: they can't be read.
            OSError: the file can't be written.
        """
        ...

    def load(self, runs: PageRuns, *, hashed: bool) -> tuple[memoryview, Copied]:
        """Their contents in memory, one page after another; valid until the next call."""
        ...


class PageSink(Protocol):
    """Makes a file of pages: an ELF core, a snapshot, CRIU images.

    Attributes:
        whole_files: program and libraries are wanted in one piece, with pages that are in their files alone.
    """

    whole_files: bool

    def prepare(self, runs: PageRuns) -> None:
        """Makes room for pages that are all about to come.

        Raises:
            OSError: disk full.
        """
        ...

    def store(self, runs: PageRuns, source: PageSource, *, again: bool) -> Copied:
        """Takes these pages.

        Args:
            runs: which.
            source: where from.
            again: some of them were taken before; what they were then is void.

        Raises:
            OSError: the file could not be written.
        """
        ...

    def drop(self, runs: PageRuns) -> None:
        """Forgets pages that were taken and turned out not to belong into the dump."""
        ...

    def spare(self, runs: PageRuns) -> None:
        """Gives back the room of pages that turned out to have no contents, as far as it is worth it."""
        ...

    def finish(self, image: Image) -> None:
        """Writes all the rest; the file is whole then."""
        ...


class HeldSource:
    """Pages that were read into memory while the process stood still: to be asked for in one go."""

    whole = True

    def __init__(self, held: Held) -> None:
        self._held = held

    def copy(self, pieces: Pieces, out: OutFile, *, hashed: bool, overwrite: bool) -> Copied:
        """See ``PageSource``."""
        return write_held(self._held, pieces, out, hashed=hashed, overwrite=overwrite)

    def load(self, runs: PageRuns, *, hashed: bool) -> tuple[memoryview, Copied]:
        """See ``PageSource``."""
        return hash_held(self._held, hashed=hashed)


def copy_loaded(source: PageSource, pieces: Pieces, out: OutFile, *, hashed: bool, overwrite: bool) -> Copied:
    """``PageSource.copy`` by way of its ``load``, a megabyte at a time."""
    total = Copied()
    for address, offset, pages, _ in PIECE.iter_unpack(pieces.packed):
        for first in range(0, pages, STEP):
            part = PageRuns(RUN.pack(address + first * PAGE, min(STEP, pages - first), 0))
            contents, copied = source.load(part, hashed=hashed)
            _write(contents, copied.states, out.fd, offset + first * PAGE, overwrite)
            total.states += copied.states
            total.hashes += copied.hashes
            total.pages += copied.pages
            total.zero += copied.zero
            total.written += copied.states.count(DATA) * PAGE
    return total


def _write(contents: memoryview, states: bytearray, fd: int, offset: int, overwrite: bool) -> None:
    """Neighbours of one state at once."""
    first = 0
    while first < len(states):
        last = first + 1
        while last < len(states) and states[last] == states[first]:
            last += 1
        if states[first] == DATA:
            write_at(fd, offset + first * PAGE, contents[first * PAGE : last * PAGE])
        elif overwrite:
            clear(fd, offset + first * PAGE, (last - first) * PAGE)
        first = last
