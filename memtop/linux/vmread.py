"""Reading the memory of a process: process_vm_readv(2), and /proc/PID/mem for what that refuses.

The work is done in C without the GIL (``memtop/native/copy.c``). Reading a page that is not there makes one:
ask ``look`` first, and read only what is present.
"""

from __future__ import annotations

import contextlib
import errno
import os
from array import array
from dataclasses import dataclass, field
from mmap import MADV_HUGEPAGE, MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Any

from memtop.linux.errors import Failed, MemtopError, NotPermitted, ProcessGone
from memtop.linux.procfs import directory
from memtop.linux.ptrace import refused_attach
from memtop.model.layout import PAGE, PIECE
from memtop.model.runs import PageRuns
from memtop.native import ffi, lib

DATA, ZERO = 0, 255
"""What became of a page (``MT_PAGE_*``); any other value is the errno with which it could not be read."""

_MADV_POPULATE_WRITE = 23
"""madvise(2)."""


@dataclass(frozen=True, slots=True)
class OutFile:
    """A file that is written at any offset.

    Attributes:
        fd: through the page cache.
        direct: past it (``directio``); -1: not possible.
    """

    fd: int
    direct: int = -1


class Pieces:
    """Pages of a process and where each run of them belongs in a file; packed ``layout.PIECE`` records."""

    __slots__ = ("packed", "pages")

    def __init__(self, packed: bytes = b"", pages: int | None = None) -> None:
        self.packed = packed
        self.pages = int(lib.mt_pieces_pages(native_pieces(self), len(self))) if pages is None else pages

    def __len__(self) -> int:
        return len(self.packed) // PIECE.size

    @classmethod
    def of_runs(cls, runs: PageRuns) -> Pieces:
        """These pages, one after another from offset 0 on."""
        out = bytearray(len(runs) * PIECE.size)
        lib.mt_pieces_of(
            ffi.from_buffer("mt_run[]", runs.packed), len(runs), ffi.from_buffer("mt_piece[]", out)
        )
        return cls(bytes(out))


def native_pieces(pieces: Pieces) -> Any:
    """The records as the C core takes them."""
    return ffi.from_buffer("mt_piece[]", pieces.packed)


@dataclass(slots=True)
class Copied:
    """What became of the pages that were asked for, in their order.

    Attributes:
        states: a byte a page: DATA, ZERO or an errno.
        hashes: XXH64 of each page with contents, 0 of the others; empty where not asked for.
        written: bytes written to the file.
    """

    states: bytearray = field(default_factory=bytearray)
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    pages: int = 0
    zero: int = 0
    unreadable: int = 0
    written: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """Pages that were read into memory, to be written later."""

    runs: PageRuns
    contents: Any
    states: bytearray


class MemoryReader:
    """Reads the memory of one process.

    Args:
        pid: the process.
        tid: a live thread, where the main thread has ended.
    """

    def __init__(self, pid: int, tid: int | None = None) -> None:
        self._pid, self._tid = pid, tid or pid
        self._mem = -1
        try:  # bound to this address space; without it, only PROT_NONE memory stays unread
            self._mem = os.open(f"{directory(pid, tid)}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESRCH):
                raise ProcessGone(f"there is no process {pid}") from error

    def copy(
        self, pieces: Pieces, out: OutFile, *, hashed: bool, overwrite: bool, beat: Any = ffi.NULL
    ) -> Copied:
        """Copies pages into a file.

        Args:
            pieces: which pages, and their offsets in the file.
            out: the file.
            hashed: compute the hash of each page.
            overwrite: something may stand there already.
            beat: counted up while it works (``standstill.Frozen.beat``).

        Raises:
            ProcessGone: the process has ended.
            NotPermitted: the kernel does not let memtop read it.
            OSError: the file could not be written: disk full, quota, size limit.
        """
        request = {
            "pid": self._tid,
            "mem_fd": self._mem,
            "out_fd": out.fd,
            "direct_fd": out.direct,
            "overwrite": overwrite,
            "beat": beat,
        }
        return self._run(request, pieces, hashed)

    def read(self, runs: PageRuns, into: Any, *, hashed: bool = False, beat: Any = ffi.NULL) -> Copied:
        """Reads pages into memory that has room for them (``new_buffer``), one after another.

        Raises:
            MemtopError: as ``copy``.
        """
        request = {
            "pid": self._tid,
            "mem_fd": self._mem,
            "out_fd": -1,
            "direct_fd": -1,
            "out": into,
            "beat": beat,
        }
        return self._run(request, Pieces.of_runs(runs), hashed=hashed)

    def close(self) -> None:
        """Lets go of the address space. Idempotent."""
        if self._mem >= 0:
            os.close(self._mem)
            self._mem = -1

    def _run(self, request: dict[str, Any], pieces: Pieces, hashed: bool) -> Copied:
        try:
            return _copy(request, pieces, hashed)
        except ReadError as error:
            raise self._explain(error.number) from None

    def _explain(self, number: int) -> MemtopError:
        what = f"reading the memory of process {self._pid}"
        if number == errno.ESRCH:
            return ProcessGone(f"process {self._pid} ended while its memory was being read")
        if number in (errno.EPERM, errno.ENOSYS):
            return refused_attach(self._pid, f"{what} is not permitted", number, "process_vm_readv")
        if number == errno.EACCES:
            return NotPermitted(f"{what} is not permitted")
        return Failed(f"{what} failed", os.strerror(number))


class ReadError(Exception):
    """The source could not be read at all; ``number`` is the errno."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(os.strerror(number))


def new_buffer(pages: int, *, touched: bool = True) -> Any:
    """Memory for so many pages, at a page boundary; touched, so that filling it costs no page faults."""
    memory = mmap(-1, max(pages, 1) * PAGE, flags=MAP_PRIVATE | MAP_ANONYMOUS)
    for advice in (MADV_HUGEPAGE, *([_MADV_POPULATE_WRITE] if touched else [])):
        with contextlib.suppress(OSError):  # before Linux 5.14, filling it does cost them
            memory.madvise(advice)
    return ffi.from_buffer("uint8_t[]", memory)  # which keeps it


def write_held(held: Held, pieces: Pieces, out: OutFile, *, hashed: bool, overwrite: bool) -> Copied:
    """Writes pages that were read before; ``pieces`` name the same pages in the same order.

    Raises:
        OSError: the file could not be written.
    """
    states = ffi.from_buffer("uint8_t[]", held.states)
    request = {"pid": 0, "mem_fd": -1, "out_fd": out.fd, "direct_fd": out.direct, "overwrite": overwrite}
    return _copy({**request, "held": held.contents, "held_states": states}, pieces, hashed)


def hash_held(held: Held, *, hashed: bool) -> tuple[memoryview, Copied]:
    """Pages that were read before, and what became of them."""
    pages = len(held.states)
    contents = memoryview(ffi.buffer(held.contents, pages * PAGE))
    hashes = hash_pages(contents) if hashed else array("Q")
    zero = held.states.count(ZERO)
    return contents, Copied(held.states, hashes, pages, zero, pages - zero - held.states.count(DATA))


def _copy(request: dict[str, Any], pieces: Pieces, hashed: bool) -> Copied:
    states = bytearray(pieces.pages)
    hashes = array("Q", bytes(8 * pieces.pages)) if hashed else array("Q")
    done = ffi.new("mt_copied *")
    filled = dict(request, states=ffi.from_buffer("uint8_t[]", states))
    if hashed:
        filled["hashes"] = ffi.from_buffer("uint64_t[]", hashes)
    error = lib.mt_copy(
        ffi.new("mt_copy_request *", filled),
        ffi.from_buffer("mt_piece[]", pieces.packed),
        len(pieces),
        done,
    )
    if error and done.writing:
        raise OSError(-error, os.strerror(-error))
    if error:
        raise ReadError(-error)
    return Copied(states, hashes, done.pages, done.zero, done.unreadable, done.written)


def hash_bytes(data: bytes | bytearray | memoryview) -> int:
    """XXH64 with seed 0."""
    return int(lib.mt_hash(ffi.from_buffer(data), len(data)))


def hash_pages(data: bytes | bytearray | memoryview) -> array[int]:
    """XXH64 of each page."""
    count = len(data) // PAGE
    hashes = array("Q", bytes(8 * count))
    lib.mt_hash_pages(ffi.from_buffer("uint8_t[]", data), count, ffi.from_buffer("uint64_t[]", hashes))
    return hashes


def mark_same(now: array[int], before: array[int], states: bytearray, state: int) -> int:
    """Gives this state to pages with contents whose two hashes are the same; returns how many."""
    a, b = ffi.from_buffer("uint64_t[]", now), ffi.from_buffer("uint64_t[]", before)
    return int(lib.mt_mark_same(a, b, len(states), ffi.from_buffer("uint8_t[]", states), state))
