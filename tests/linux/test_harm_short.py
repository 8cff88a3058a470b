"""The short form of ``make harm``; and proof that its targets would notice."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from harm import targets  # noqa: E402

pytestmark = pytest.mark.usefixtures("needs_write_protect")

TARGETS = ("glibc, computing", "glibc, nanosleep", "glibc, read", "glibc, signals", "glibc, 64", "asyncio")
COUNT = 240


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """One run of it, over a few targets that need no more than a C compiler."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler on this machine")
    results = tmp_path_factory.mktemp("harm") / "results.jsonl"
    words = ["--count", str(COUNT), "--targets", ";".join(TARGETS), "--results", str(results)]
    done = subprocess.run(
        [sys.executable, "-m", "harm", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    assert len(found) >= COUNT, done.stderr
    assert done.returncode == any(record["harm"] for record in found), done.stderr
    return found


def harmed(records: list[dict[str, object]], *who: str) -> list[str]:
    """What went wrong where one of these was killed."""
    return [
        f"{record['target']}: {record['who']} killed {record['point']}: {record['harm']}"
        for record in records
        if record["harm"] and record["who"] in who
    ]


def test_nobody_is_killed(records: list[dict[str, object]]) -> None:
    assert harmed(records, "nobody") == []
    assert any(record["stop_s"] for record in records if record["who"] == "nobody")


def test_memtop_is_killed(records: list[dict[str, object]]) -> None:
    assert harmed(records, "memtop") == []
    assert sum(bool(record["fell"]) for record in records if record["who"] == "memtop") > COUNT / 20


def test_injector_is_killed(records: list[dict[str, object]]) -> None:
    assert harmed(records, "injector", "both") == []
    assert sum(bool(record["fell"]) for record in records if record["who"] == "injector") > COUNT / 5


STORM = """
import sys
from pathlib import Path
from harm import strike, targets, trace
trace.become_subreaper()
folder = Path(sys.argv[1])
target = targets.KINDS["glibc, signals at 5 kHz"].start(folder, folder)
blows = [strike.strike(target.pid, target.pid, strike.Blow("memtop", "step", 0)) for _ in range(200)]
target.end()
print(sum(blow.left for blow in blows))
"""


def test_signal_on_its_way_does_not_hide_the_stop(tmp_path: Path) -> None:
    """A stop for a signal takes a pending interrupt with it: the injector once waited for it for ever."""
    words = [sys.executable, "-c", STORM, str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "0\n", done.stderr


# ---- the targets notice -----------------------------------------------------------------------------

SEIZE, INTERRUPT, DETACH, POKEUSER, SETSIGMASK = 0x4206, 0x4207, 17, 6, 0x420B
GETREGSET, SETREGSET, XSTATE = 0x4204, 0x4205, 0x202
R15, RBX, R8, R11 = 0, 5, 9, 6  # words of struct user
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
ptrace.restype = ctypes.c_long


class Bytes(ctypes.Structure):
    """struct iovec"""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def register(number: int) -> Callable[[int], None]:
    def change(pid: int) -> None:
        assert ptrace(POKEUSER, pid, number * 8, 42) == 0

    return change


def signal_mask(pid: int) -> None:
    mask = ctypes.c_uint64(~0)
    assert ptrace(SETSIGMASK, pid, 8, ctypes.addressof(mask)) == 0


def vector(at: int) -> Callable[[int], None]:
    """One byte of the XSAVE area: 160 begins xmm0, 576 the upper half of ymm0."""

    def change(pid: int) -> None:
        room = ctypes.create_string_buffer(16384)
        io = Bytes(ctypes.addressof(room), len(room))
        assert ptrace(GETREGSET, pid, XSTATE, ctypes.addressof(io)) == 0
        room[at] = bytes([room[at][0] ^ 1])
        assert ptrace(SETREGSET, pid, XSTATE, ctypes.addressof(io)) == 0

    return change


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stops one thread as a tracer does."""
    assert ptrace(SEIZE, pid, 0, 0) == 0
    try:
        assert ptrace(INTERRUPT, pid, 0, 0) == 0
        os.waitpid(pid, 0x40000000)
        yield
    finally:
        ptrace(DETACH, pid, 0, 0)


@pytest.mark.parametrize(
    ("kind", "change", "word"),
    [
        ("glibc, computing", register(RBX), "rbx"),
        ("glibc, computing", register(R11), "r11"),
        ("glibc, nanosleep", register(R15), "r15"),
        ("glibc, nanosleep", register(R8), "r8"),
        ("glibc, computing", vector(160), "vector register 0"),
        ("glibc, computing", vector(576), "vector register 0"),
        ("glibc, nanosleep", signal_mask, "signal mask"),
        ("glibc, epoll_wait", lambda pid: None, "EINTR"),
    ],
)
def test_targets_notice(kind: str, change: Callable[[int], None], word: str, tmp_path: Path) -> None:
    """What a careless tracer does, one thing at a time."""
    seen = []
    while word not in str(seen[-1:]) and len(seen) < 5:  # it may hit where that is not at stake
        scratch = tmp_path / str(len(seen))
        scratch.mkdir()
        try:
            target = targets.KINDS[kind].start(tmp_path, scratch)
        except targets.Missing as missing:
            pytest.skip(f"missing capability: {missing}")
        try:
            seen.append(until_noticed(target, change))
        finally:
            target.end()
    assert word in str(seen[-1])


def until_noticed(target: targets.Target, change: Callable[[int], None]) -> str | None:
    for _ in range(200):
        with stopped(target.pid):
            change(target.pid)
        harm = target.check()
        if harm is not None or target.interrupted():
            return harm or "EINTR"
    return None
