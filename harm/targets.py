"""The programs that are injected into: each checks itself, all the time."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from struct import unpack_from
from typing import Any

from harm.trace import die_with_parent

PROGRAMS = Path(__file__).parent / "programs"
LASTING = ("SigBlk", "SigIgn", "SigCgt", "Seccomp", "NoNewPrivs", "TracerPid")
USERFAULTFD = "anon_inode:[userfaultfd]"
STATE_SIZE = 4096
ROUNDS_AT, WORDS_AT, INTERRUPTED_AT = 16, 8 * 66, 8 * 66 + 256
"""Where things are in a state file: ``struct state`` of witness.c, which every target writes."""
SETTLE_S = 30.0
PATIENCE_S = 60.0
"""What a loaded machine may take to give a target its turn."""


class Missing(Exception):
    """This machine has not what a target needs."""


@dataclass(frozen=True)
class Kind:
    """A sort of target.

    Attributes:
        name: as the table shows it.
        make: builds what it needs in the first directory, which stays, and may use the second one, which does
            not; the command line, without the state file.
        steady: its mappings, descriptors and signal dispositions never change by themselves.
        any_thread: not only the thread that memtop prefers is injected into.
        main_thread: only the main one, as the others have no stack of their own.
    """

    name: str
    make: Callable[[Path, Path], list[str]]
    steady: bool = True
    any_thread: bool = False
    main_thread: bool = False

    def start(self, built: Path, scratch: Path) -> Target:
        """Builds it in one directory if need be, and starts it in the other.

        Raises:
            Missing: with the name of what is missing.
        """
        command = self.make(built, scratch)
        return Redis(self, command, scratch) if self.name == "redis" else Target(self, command, scratch)


class Target:
    """A running program with a state file: stop flag, number of lanes, rounds a lane, what went wrong."""

    def __init__(self, kind: Kind, command: Sequence[str], scratch: Path) -> None:
        self.kind = kind
        path = scratch / "state"
        path.write_bytes(bytes(STATE_SIZE))
        with path.open("r+b") as file:
            self._state = mmap.mmap(file.fileno(), STATE_SIZE)
        self._start(command, path)
        try:
            self._settle()
        except BaseException:
            self.end()
            raise

    def _start(self, command: Sequence[str], state: Path) -> None:
        self._process = subprocess.Popen(
            [*command, str(state)],
            cwd=state.parent,  # for what a dying one writes there
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        self.pid = self._process.pid

    def _settle(self) -> None:
        """Waits until it is in full swing."""
        trouble = self.check() or self.check()
        if trouble is not None:
            if self._process.poll() == 77:
                raise Missing("AVX2")
            raise RuntimeError(f"{self.kind.name} does not start: {trouble}")
        maps, table, status = self._look()
        self._before = maps, table, {**status, "SigBlk": self.mask(self.pid)}  # not as it is in a handler
        self.left = 0

    def rounds(self) -> list[int]:
        """What each lane has done."""
        lanes = unpack_from("=Q", self._state, 8)[0]
        return list(unpack_from(f"={lanes}Q", self._state, ROUNDS_AT))

    def interrupted(self) -> int:
        """How often a wait of it said EINTR, which a stop does that is not undone."""
        return int(unpack_from("=Q", self._state, INTERRUPTED_AT)[0])

    def check(self) -> str | None:
        """Waits until every lane has begun and ended a check of itself; what is wrong, or None."""
        before, end = self.rounds(), time.monotonic() + PATIENCE_S
        while not self._advanced(before):
            if self._process.poll() is not None:
                return self._last_words()
            if time.monotonic() > end:
                return f"stuck: {self._where()}"
            time.sleep(0.001)
        return None

    def _advanced(self, before: list[int]) -> bool:
        now = self.rounds()
        return bool(now) and all(n >= b + 2 for n, b in zip_longest(now, before, fillvalue=0))

    def _last_words(self) -> str:
        code = self._process.returncode
        said = self._state[WORDS_AT:INTERRUPTED_AT].split(b"\0", 1)[0].decode(errors="replace")
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return said or f"exit code {code}"

    def _where(self) -> str:
        with contextlib.suppress(OSError):
            call = Path(f"/proc/{self.pid}/syscall").read_text(encoding="ascii").split()[0]
            return f"state {_status(self.pid).get('State')}, system call {call}"
        return "?"

    def threads(self) -> list[int]:
        """Its thread ids."""
        return [int(name) for name in os.listdir(f"/proc/{self.pid}/task")]

    def _look(self) -> tuple[str, dict[str, str], dict[str, str]]:
        status = _status(self.pid)
        maps = Path(f"/proc/{self.pid}/maps").read_text(encoding="utf-8", errors="replace")
        return maps, descriptors(self.pid), {name: status.get(name, "") for name in LASTING}

    def mask(self, tid: int) -> str:
        """The signals that a thread blocks for longer than a fork takes; empty if there is no such thread."""
        seen = ["", "?"]
        with contextlib.suppress(OSError):
            while seen[-1] != seen[-2]:
                seen.append(_status(tid).get("SigBlk", ""))
                time.sleep(0.001)
            return seen[-1]
        return ""

    def aftermath(self, may_leave: int, masks: dict[int, str]) -> str | None:
        """Whether it is as it was before, and works.

        Args:
            may_leave: so many more inert userfaultfds may be in it.
            masks: the signals that threads blocked before.

        What is the program's own doing (a signal mask during a fork) passes: only what lasts is reported.
        """
        trouble = self.check()
        end = time.monotonic() + SETTLE_S
        while trouble is None:
            try:
                found = self._compare(may_leave) or self._compare_masks(masks)
            except OSError:
                trouble = self.check() or "gone"
                break
            if found is None:
                return None
            if time.monotonic() > end:
                return found
            time.sleep(0.002)
        return trouble

    def _compare_masks(self, masks: dict[int, str]) -> str | None:
        for tid, before in masks.items():
            now = self.mask(tid)
            if now and before and now != before:
                return f"signal mask is {now}"
        return None

    def _compare(self, may_leave: int) -> str | None:
        (maps, table, status), (maps_now, table_now, status_now) = self._before, self._look()
        userfaultfds = sum(name == USERFAULTFD for name in table_now.values())
        if userfaultfds > self.left + may_leave:
            return f"{userfaultfds - self.left} userfaultfds left in it"
        if _status(self.pid).get("State", "")[:1] in "Tt":
            return "stopped"
        if status_now["TracerPid"] != "0":
            return "still traced"
        if self.kind.steady:
            if status_now != status:
                changed = [name for name in LASTING if status[name] != status_now[name]]
                return f"changed: {', '.join(changed)}"
            if maps_now != maps:
                return "its mappings changed"
            rest = {fd: name for fd, name in table_now.items() if name != USERFAULTFD}
            if rest != table:
                return "its descriptors changed"
        self.left = userfaultfds
        return None

    def end(self) -> None:
        """Whatever happened: it is gone."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._state.close()


class Redis(Target):
    """redis-server under redis-benchmark, asked by a client of its own."""

    def interrupted(self) -> int:
        """It makes the call again by itself, as it must."""
        return 0

    def _start(self, command: Sequence[str], state: Path) -> None:
        path = str(state.with_name("redis.sock"))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        quiet: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        quiet |= {"start_new_session": True, "preexec_fn": die_with_parent}
        self._process = subprocess.Popen([*command, "--unixsocket", path], **quiet)
        self.pid, self._client, self._count = self._process.pid, None, 0
        end = time.monotonic() + PATIENCE_S
        while self._client is None and time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError):
                connection = socket.socket(socket.AF_UNIX)
                connection.settimeout(PATIENCE_S)
                connection.connect(path)
                self._client = connection
            time.sleep(0.01)
        load = ["redis-benchmark", "-s", path, "-l", "-q", "-c", "10", "-t", "set,get,lpush,lpop"]
        self._load = subprocess.Popen([*load, "-r", "1000"], **quiet)

    def _ask(self, *words: bytes) -> bytes:
        assert self._client is not None
        request = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
        self._client.sendall(request)
        answer = b""
        while not answer.endswith(b"\r\n") or (answer[:1] == b"$" and answer.count(b"\r\n") < 2):
            more = self._client.recv(65536)
            if not more:
                raise ConnectionError("it closed the connection")
            answer += more
        return answer

    def check(self) -> str | None:
        """It counts, keeps what it is given, and serves the load."""
        value = random.randbytes(500).hex().encode()
        try:
            for _ in range(3):
                self._count += 1
                if self._ask(b"INCR", b"rounds") != b":%d\r\n" % self._count:
                    return "it counted wrong"
                self._ask(b"SET", b"value", value)
                if self._ask(b"GET", b"value") != b"$1000\r\n%s\r\n" % value:
                    return "it lost a value"
        except OSError as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE_S)
                return self._last_words()
            return str(error)
        if self._load.poll() is not None:
            return "the load's connections broke"
        return None

    def end(self) -> None:
        """It and its load are gone."""
        self._load.kill()
        self._load.wait()
        if self._client is not None:
            self._client.close()
        super().end()


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def descriptors(pid: int) -> dict[str, str]:
    """The descriptor table: number to what it is open on."""
    table = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            table[fd] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return table


# ---- how they are made ------------------------------------------------------------------------------


def _need(*names: str) -> None:
    for name in names:
        if shutil.which(name) is None:
            raise Missing(name)


def _built(path: Path, *sources: str) -> bool:
    newest = max((PROGRAMS / source).stat().st_mtime for source in sources)
    return path.exists() and path.stat().st_mtime > newest


def _witness(mode: str, compiler: str, *options: str) -> Callable[[Path, Path], list[str]]:
    def make(built: Path, _: Path) -> list[str]:
        _need(compiler)
        program = built / "-".join(["witness", compiler, *(o.strip("-") for o in options)])
        if not _built(program, "witness.c", "witness_own.h", "hold.h"):
            flags = ["-std=gnu11", "-O2", "-pthread", *options]
            done = subprocess.run(
                [compiler, *flags, PROGRAMS / "witness.c", "-o", program], capture_output=True, check=False
            )
            if done.returncode:
                raise Missing(f"{compiler} {' '.join(options)}: {done.stderr.decode()[-200:]}")
        return [str(program), mode]

    return make


def _go(built: Path, _: Path) -> list[str]:
    _need("go")
    program = built / "witness-go"
    if not _built(program, "witness.go"):
        environment = dict(os.environ, GOCACHE=str(built / "go"), CGO_ENABLED="0")
        command = ["go", "build", "-o", str(program), str(PROGRAMS / "witness.go")]
        subprocess.run(command, env=environment, check=True)
    return [str(program)]


def _java(built: Path, _: Path) -> list[str]:
    _need("java", "javac")
    if not _built(built / "Witness.class", "Witness.java"):
        subprocess.run(["javac", "-d", built, PROGRAMS / "Witness.java"], check=True)
    return ["java", "-Xmx64m", "-cp", str(built), "Witness"]


def _node(_: Path, __: Path) -> list[str]:
    _need("node")
    return ["node", str(PROGRAMS / "witness.js")]


def _asyncio(_: Path, __: Path) -> list[str]:
    return [sys.executable, str(PROGRAMS / "witness_asyncio.py")]


def _redis(_: Path, scratch: Path) -> list[str]:
    _need("redis-server", "redis-benchmark")
    return ["redis-server", "--port", "0", "--save", "", "--dir", str(scratch)]


BLOCKED = ("nanosleep", "poll", "epoll_wait", "futex", "read", "accept", "wait4")
KINDS = {
    kind.name: kind
    for kind in (
        Kind("glibc, computing", _witness("compute", "cc")),
        Kind("glibc static, computing", _witness("compute", "cc", "-static")),
        Kind("glibc static, epoll_wait", _witness("epoll_wait", "cc", "-static")),
        Kind("glibc static, signals at 5 kHz", _witness("storm", "cc", "-static")),
        Kind("musl, computing", _witness("compute", "musl-gcc", "-static")),
        Kind("musl, nanosleep", _witness("nanosleep", "musl-gcc", "-static")),
        Kind("musl, 64 threads", _witness("threads", "musl-gcc", "-static"), any_thread=True),
        *(Kind(f"glibc, {mode}", _witness(mode, "cc")) for mode in BLOCKED),
        Kind("glibc, signals at 5 kHz", _witness("storm", "cc")),
        Kind("glibc, 64 threads", _witness("threads", "cc"), any_thread=True),
        Kind("glibc, stack of 1 KiB", _witness("small", "cc")),
        Kind("glibc, guard page near", _witness("guard", "cc")),
        Kind("Go", _go, steady=False, main_thread=True),
        Kind("JVM", _java, steady=False, any_thread=True),
        Kind("Node", _node, steady=False, any_thread=True),
        Kind("CPython asyncio", _asyncio, steady=False, any_thread=True),
        Kind("redis", _redis, steady=False),
    )
}
