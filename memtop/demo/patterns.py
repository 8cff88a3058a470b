"""Memory that is written in ways worth looking at, one generator per pattern.

A pattern is a generator that owns its mapping: each ``next`` does one step's worth of writing. Steps are
counted, not timed, so a seed decides what is written; ``workload`` makes STEPS of them a second.

All rates are chosen for a write map with ageing cells: after half a minute every age is on screen.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, cycle
from mmap import (
    MADV_DONTFORK,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    MADV_REMOVE,
    MAP_ANONYMOUS,
    MAP_PRIVATE,
    PAGESIZE,
    mmap,
)
from random import Random

from memtop.native import ffi, lib

MIB = 1 << 20
STEPS = 20
"""Steps in a second."""

MAP_NORESERVE = 0x4000  # mmap.MAP_NORESERVE came with Python 3.13
_mapped = count()


def private(size: int, name: str, *, full: bool = True, huge: bool = False, flags: int = 0) -> mmap:
    """Private memory under a name: ``[anon:name]`` in maps, ``/memfd:name`` before Linux 5.17.

    Args:
        size: bytes.
        full: every page is resident.
        huge: ask for huge pages; otherwise ask for none, so that a pattern looks the same everywhere.
        flags: more MAP_* flags.
    """
    memory = mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS | flags)
    with ffi.from_buffer(memory) as view:
        nameless = lib.mt_name_anonymous(int(ffi.cast("uintptr_t", view)), size, name.encode())
    descriptor = -1
    if nameless and not huge:
        with suppress(OSError):  # a sandbox without memfd_create: no name then
            descriptor = os.memfd_create(name)
            os.truncate(descriptor, size)
            memory = mmap(descriptor, size, flags=MAP_PRIVATE | flags)
    with suppress(OSError):  # a kernel without huge pages
        memory.madvise(MADV_HUGEPAGE if huge else MADV_NOHUGEPAGE)
    if next(_mapped) % 2:  # neighbours must differ, or the kernel would make nameless ones one mapping
        memory.madvise(MADV_DONTFORK)
    if full:
        memory[::PAGESIZE] = b"\1" * (size // PAGESIZE)
    if descriptor >= 0:
        # Each page was copied from an empty one of the memfd: those are not needed any more.
        with mmap(descriptor, size) as shared:
            shared.madvise(MADV_REMOVE)
        os.close(descriptor)
    return memory


def touch(memory: mmap, page: int) -> None:
    """Writes one byte of one page."""
    at = page * PAGESIZE
    memory[at] = (memory[at] + 1) & 0xFF


def pause(seconds: float) -> Iterator[None]:
    """Steps in which nothing is written."""
    for _ in range(int(seconds * STEPS)):
        yield


def hot_set(rng: Random) -> Iterator[None]:
    """A few places that are written all the time, their surroundings now and then, the rest never."""
    memory = private(72 * MIB, "hot set")
    pages = len(memory) // PAGESIZE
    spreads = [share * pages for share in (0.002, 0.008, 0.001, 0.012, 0.003, 0.006, 0.001)]
    places = [((i + rng.random()) * pages / len(spreads), spread) for i, spread in enumerate(spreads)]
    while True:
        for centre, spread in rng.choices(places, weights=(2, 5, 2, 6, 3, 4, 2), k=240):
            page = int(centre + spread * (rng.expovariate(1) - rng.expovariate(1)))
            if 0 <= page < pages:
                touch(memory, page)
        yield


def sweep(_: Random) -> Iterator[None]:
    """One page after the other, round and round in 40 seconds: a garbage collector, a memory bus test."""
    memory = private(64 * MIB, "sweep")
    pages = len(memory) // PAGESIZE
    stride = pages // (40 * STEPS)
    for page in cycle(range(pages)):
        touch(memory, page)
        if page % stride == 0:
            yield


def scattered(rng: Random) -> Iterator[None]:
    """Any page at any time, evenly: a hash table under load."""
    memory = private(40 * MIB, "random")
    pages = len(memory) // PAGESIZE
    while True:
        for _ in range(12):
            touch(memory, rng.randrange(pages))
        yield


def growing(_: Random) -> Iterator[None]:
    """Grows by 8 MiB whenever it is full, up to 48 MiB; then it is unmapped and begins anew."""
    piece, most = 8 * MIB, 48 * MIB
    while True:
        # Mapped at full size, then shrunk: the room behind it stays free, so that it grows where it stands.
        memory = private(most, "growing", full=False)
        memory.resize(piece)
        for page in range(most // PAGESIZE):
            if page * PAGESIZE == len(memory):
                memory.resize(len(memory) + piece)
            touch(memory, page)
            if page % 24 == 0:
                yield
        memory.close()
        yield from pause(3)  # long enough to be seen gone


def huge_pages(rng: Random) -> Iterator[None]:
    """Huge pages, written a little here and there; the last quarter is left whole."""
    memory = private(56 * MIB, "huge pages", huge=True)
    pages = len(memory) // PAGESIZE
    while True:
        near = rng.randrange(pages * 3 // 4)
        for page in range(near, near + rng.randrange(4, 24)):
            touch(memory, page)
        yield from pause(0.5)


def journal(_: Random) -> Iterator[None]:
    """A file, mapped shared: records appended in bursts, the first page rewritten with each."""
    descriptor, path = tempfile.mkstemp(prefix="memtop-demo-", suffix=".journal")
    try:
        os.unlink(path)  # at once: nothing stays behind, however this process ends
        os.truncate(descriptor, 24 * MIB)
        memory = mmap(descriptor, 24 * MIB)
    finally:
        os.close(descriptor)
    for page in cycle(range(1, len(memory) // PAGESIZE)):
        touch(memory, page)
        if page % 160 == 0:
            touch(memory, 0)
            yield from pause(2)


def idle(_: Random) -> Iterator[None]:
    """Written once, never again."""
    memory = private(32 * MIB, "idle")
    while memory:
        yield


def sparse(rng: Random) -> Iterator[None]:
    """A large reservation with little in it, as sanitizers and garbage collectors make them."""
    for size in (64 << 30, 4 << 30, 256 * MIB):
        with suppress(OSError):  # a limit on address space
            memory = private(size, "sparse", full=False, flags=MAP_NORESERVE)
            break
    else:
        return
    pages = len(memory) // PAGESIZE
    islands = [rng.randrange(pages - 32) for _ in range(40)]
    for island in islands:
        for page in range(island, island + 32):
            touch(memory, page)
    while True:
        island = rng.choice(islands)
        for page in range(island, island + 8):
            touch(memory, page)
        yield from pause(0.25)


PATTERNS = (hot_set, sweep, scattered, huge_pages, journal, idle, sparse, growing)
"""In the order in which they are mapped; ``growing`` last, so that nothing is put into its room."""
