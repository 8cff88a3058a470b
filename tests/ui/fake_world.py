"""A made-up process: every pattern of writing and every coverage."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from memtop.model.coverage import Coverage
from memtop.model.layout import CountFlag, Kind, Perm
from memtop.model.sample import Process

RW = Perm.READ | Perm.WRITE
TIME = 1795218067.0  # 2026-11-20 23:41:07Z


@dataclass
class FakeMapping:
    """One mapping; ``write(rng, tick)`` says which pages (offsets) a tick writes."""

    start: int
    pages: int
    kind: Kind
    name: bytes
    write: Callable[[random.Random, int], set[int]]
    resident: Callable[[int], bool] = lambda page: True
    perms: int = RW
    coverage: Coverage = Coverage.EXACT
    huge: float = 0.0
    inode: int = 0
    id: int = 0
    flags: CountFlag = CountFlag.SCANNED


def idle(rng: random.Random, tick: int) -> set[int]:
    return set()


def hot(first: int, pages: int) -> Callable[[random.Random, int], set[int]]:
    return lambda rng, tick: {first + i for i in range(pages) if rng.random() < 0.9}


def sweep(pages: int, step: int) -> Callable[[random.Random, int], set[int]]:
    return lambda rng, tick: {(tick * step + i) % pages for i in range(step)}


def scattered(pages: int, count: int) -> Callable[[random.Random, int], set[int]]:
    return lambda rng, tick: {rng.randrange(pages) for _ in range(count)}


def world() -> list[FakeMapping]:
    """A process with each pattern."""
    m = FakeMapping
    text = Perm.READ | Perm.EXEC
    return [
        m(
            0x55D1C2A00000,
            120,
            Kind.TEXT,
            b"/usr/bin/redis-server",
            idle,
            perms=text,
            inode=411,
            coverage=Coverage.FILE_LEFT_OUT,
        ),
        m(0x55D1C2C41000, 33792, Kind.HEAP, b"[heap]", hot(300, 180), lambda p: p < 30000),
        m(
            0x7F0F80000000,
            524288,
            Kind.ANON,
            b"",
            scattered(200000, 1500),
            lambda p: p < 262144 and p % 7000 < 6500,
        ),
        m(
            0x7F1240000000,
            131072,
            Kind.ANON,
            b"[anon:huge pages]",
            scattered(131072, 20),
            huge=1.0,
            flags=CountFlag.SCANNED | CountFlag.WRITTEN_HUGE,
        ),
        m(
            0x7F12A0000000,
            1048576,
            Kind.ANON,
            b"[anon:jemalloc]",
            sweep(1048576, 16384),
            lambda p: p < 900000 or p % 50000 < 9000,
            huge=0.64,
        ),
        m(
            0x7F13B1C00000,
            76800,
            Kind.FILE,
            b"/var/lib/redis/dump.rdb",
            idle,
            lambda p: p % 4096 < 1100,
            perms=Perm.READ | Perm.SHARED,
            coverage=Coverage.FILE_LEFT_OUT,
            inode=911,
        ),
        m(
            0x7F13C8000000,
            16384,
            Kind.SHARED,
            b"/dev/shm/ring",
            sweep(16384, 512),
            perms=RW | Perm.SHARED,
            coverage=Coverage.OTHER_WRITERS,
            inode=77,
        ),
        m(
            0x7F13D0000000,
            8192,
            Kind.ANON,
            b"[anon:arena 7]",
            hot(0, 700),
            lambda p: p < 4000,
            coverage=Coverage.FRESH,
        ),
        m(0x7F13D4000000, 4096, Kind.ANON, b"[anon:own userfaultfd]", idle, coverage=Coverage.BUSY),
        m(0x7F13D8000000, 512, Kind.JIT, b"", hot(100, 12), perms=RW | Perm.EXEC),
        m(
            0x7F13D9000000,
            40,
            Kind.TEXT,
            b"/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
            idle,
            perms=text,
            inode=12,
            coverage=Coverage.FILE_LEFT_OUT,
        ),
        *(
            m(
                0x7F13DA000000 + n * 0x400000,
                430 + 13 * n,
                Kind.TEXT,
                b"/usr/lib/x86_64-linux-gnu/" + lib,
                idle,
                lambda p: p % 9 < 6,
                perms=text,
                inode=100 + n,
                coverage=Coverage.FILE_LEFT_OUT,
            )
            for n, lib in enumerate(
                (
                    b"libc.so.6",
                    b"libm.so.6",
                    b"libssl.so.3",
                    b"libstdc++.so.6.0.30",
                    b"libsystemd.so.0",
                    b"libjemalloc.so.2",
                    b"libatomic.so.1",
                    b"libz.so.1",
                )
            )
        ),
        *(
            m(
                0x7F13E0000000 + n * 0x1000000,
                2048,
                Kind.STACK if n == 9 else Kind.ANON,
                b"[stack]" if n == 9 else b"[anon:thread %d]" % n,
                hot(2000 - 5 * n, 4 + n),
                lambda p: p > 1900,
            )
            for n in range(10)
        ),
        m(0x7FFFD0000000, 1, Kind.SPECIAL, b"[vdso]", idle, perms=text, coverage=Coverage.SPECIAL),
        m(0x7FFFD0002000, 4, Kind.GUARD, b"", idle, lambda p: False, perms=0),
        m(
            0xFFFFFFFFFF600000,
            1,
            Kind.SPECIAL,
            b"[vsyscall]",
            idle,
            perms=Perm.EXEC,
            coverage=Coverage.SPECIAL,
            flags=CountFlag(0),
        ),
    ]


def process(pid: int = 4711, comm: str = "redis-server", user: str = "redis") -> Process:
    return Process(
        pid, 88_000 + pid, "b" * 32, comm, f"/usr/bin/{comm} 127.0.0.1:6379", user, "db-07", TIME - 273_000
    )
