"""What the tests on real processes share: commanded targets, and ``memtop`` as a user starts it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any

from memtop.dump.chain import Chain
from memtop.linux.features import probe_kernel
from memtop.model.actions import Method
from memtop.model.layout import RUN as LAYOUT_RUN
from memtop.model.runs import PageRuns
from memtop.model.sample import MappingSample, Sample
from memtop.sampler.target import open_target

PAGE = 4096
PATIENCE = 60.0
"""Seconds that anything may take: what should be there at once is late on a machine that has much to do."""
PROMPT = 1.0 if "MEMTOP_LONG" in os.environ else PATIENCE
"""For what is promised within a second: so long where the machine has nothing else to do (MEMTOP_LONG=1)."""
RECORD = Struct("<QII")
Runs = list[tuple[int, int]]
"""Sorted (byte address, pages); no two touch."""


def merged(runs: Iterable[tuple[int, int]]) -> Runs:
    """The same set of pages in as few runs as possible."""
    out: Runs = []
    for start, pages in sorted(runs):
        if out and out[-1][0] + out[-1][1] * PAGE >= start:
            first = out[-1][0]
            out[-1] = (first, max(out[-1][1], (start - first) // PAGE + pages))
        else:
            out.append((start, pages))
    return out


def clipped(runs: Iterable[tuple[int, int]], start: int, end: int) -> Runs:
    """Only what lies in [start, end)."""
    cut = ((max(s, start), min(s + n * PAGE, end)) for s, n in runs)
    return merged((s, (e - s) // PAGE) for s, e in cut if s < e)


def page_count(runs: Iterable[tuple[int, int]]) -> int:
    return sum(n for _, n in runs)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Polls until ``condition`` holds; fails with ``what`` after ``seconds``."""
    end = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.002)
    return result


def status(pid: int, field: str) -> str:
    """One field of /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return line.split(":", 1)[1].strip()
    return ""


def thread_states(pid: int) -> set[str]:
    """Of all its threads (t is a ptrace stop), but for those that have just ended."""
    states = set()
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            states.add(path.read_text().rpartition(")")[2].split()[0])
    return states - {"Z", "X"}


def child_named(pid: int, holds: Callable[[bytes], bool], file: str = "comm") -> int | None:
    """The child whose comm, or another file of /proc/PID, has it. Threads and children come and go."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, children.read_text().split()):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    if holds(Path(f"/proc/{child}/{file}").read_bytes()):
                        return child
    return None


def vm_flags(pid: int) -> list[str]:
    """The VmFlags of every mapping, as smaps shows them."""
    text = Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8", errors="replace")
    return [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("VmFlags:")]


def memory_of(pid: int, start: int, size: int) -> bytes:
    """Bytes of a process, read without memtop."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        return os.pread(file.fileno(), size, start)


def snapshot_memory(path: Path, start: int, size: int) -> bytes:
    """The same of a snapshot with its parents."""
    with Chain(str(path)) as chain:
        return bytes(chain.load(PageRuns(LAYOUT_RUN.pack(start, size // PAGE, 0)), hashed=False)[0])


def armed_mappings(pid: int) -> int:
    """How many mappings a write-protecting userfaultfd is registered on."""
    return sum("uw" in flags.split() for flags in vm_flags(pid))


def descriptors(pid: int) -> dict[str, str]:
    """The fd table: number to what it is open on."""
    table = {}
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            table[fd.name] = os.readlink(fd)
    return table


def memtops_on(pid: int) -> list[int]:
    """Living memtops, helpers among them, that were started with this pid as an argument."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if b"memtop" in words and f"\0{pid}\0".encode() in words:
                found.append(int(entry.name))
    return found


@dataclass
class Area:
    """A mapping that a Writer made."""

    writer: Writer
    name: str
    start: int
    pages: int

    @property
    def end(self) -> int:
        return self.start + self.pages * PAGE

    def write(self, pattern: str, pages: int, threads: int = 1, seed: int = 0) -> Runs:
        """Lets it write; returns the exact set of pages written."""
        return self.writer.runs(f"write {self.name} {pattern} {pages} {threads} {seed}")

    def poke(self, first: int, pages: int = 1) -> Runs:
        return self.writer.runs(f"poke {self.name} {first} {pages}")

    def by_kernel(self, first: int, pages: int) -> Runs:
        """The kernel writes the pages, on behalf of read(2)."""
        return self.writer.runs(f"kernel {self.name} {first} {pages}")

    def fill(self) -> Runs:
        return self.poke(0, self.pages)

    def do(self, verb: str, *words: object) -> None:
        """``read``, ``again``, ``move``, ``discard``, ``protect``, ``unmap``, ``fork``, ``hold``."""
        start, _ = self.writer.ask(" ".join([verb, self.name, *map(str, words)]))
        if verb == "move":
            self.start = start


class Writer:
    """tests/targets/writer.c as a child process; leave its ``with`` and it is gone."""

    def __init__(self, program: Path, scratch: Path, **options: Any) -> None:
        self._process = subprocess.Popen(
            [program, scratch / "scratch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
        )
        self.pid, _ = self.answer()
        # It allocates what it reads commands with behind its first answer.
        wait_for(lambda: status(self.pid, "State").startswith("S"), "it waits for a command")

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # type: ignore[union-attr]
        self._process.send_signal(signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]

    def begin(self, command: str) -> None:
        """Sends a command without waiting for its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()

    def answered(self) -> bool:
        """Whether the answer to ``begin`` has come."""
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def answer(self) -> tuple[int, int]:
        assert self._process.stdout is not None
        word, *rest = self._process.stdout.readline().decode().split(maxsplit=1)
        if word != "ok":
            raise OSError("".join(rest).strip())
        first, _, second = rest[0].partition(" ")
        return int(first, 0), int(second or "0", 0)

    def answer_runs(self) -> Runs:
        assert self._process.stdout is not None
        count, _ = self.answer()
        packed = self._process.stdout.read(count * RECORD.size)
        return [(start, pages) for start, pages, _ in RECORD.iter_unpack(packed)]

    def ask(self, command: str) -> tuple[int, int]:
        self.begin(command)
        return self.answer()

    def runs(self, command: str) -> Runs:
        self.begin(command)
        return self.answer_runs()

    def map(self, name: str, kind: str, pages: int) -> Area:
        """A new mapping; OSError where this machine has none of that kind."""
        return Area(self, name, *self.ask(f"map {name} {kind} {pages}"))

    def brk(self, name: str, pages: int) -> Area:
        """Grows the heap by so many pages; the area is all that was grown."""
        return Area(self, name, *self.ask(f"brk {name} {pages}"))

    def kill(self) -> None:
        """Ends it at once and reaps it."""
        self._process.kill()
        self._process.wait()

    def kill_unreaped(self) -> None:
        """Ends it but leaves the zombie, until the ``with`` is left."""
        self._process.kill()
        wait_for(lambda: status(self.pid, "State").startswith("Z"), "a zombie")


class Seen:
    """One tick: what memtop says of an area."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.baseline = sample.baseline

    def runs(self, area: Area) -> Runs:
        """Written pages, merged and cut to the area."""
        return clipped(((run.start, run.pages) for run in self.sample.runs), area.start, area.end)

    def rows(self, area: Area) -> list[MappingSample]:
        return [
            row
            for row in self.sample.mappings
            if row.mapping.start < area.end and area.start < row.mapping.end
        ]

    def row(self, area: Area) -> MappingSample:
        (row,) = self.rows(area)
        return row

    def exactness(self, area: Area) -> set[str]:
        """Of all mappings that the area lies in."""
        return {row.exactness.value for row in self.rows(area)}


class Tracked:
    """A process under memtop's own sampler, in this process, one tick at a time."""

    def __init__(self, pid: int, method: Method = Method.WRITE_PROTECT) -> None:
        self.target = open_target(pid, probe_kernel())
        try:
            self.target.arm(method)
        except BaseException:
            self.target.close()
            raise

    def tick(self) -> Seen:
        return Seen(self.target.tick())

    def close(self) -> None:
        self.target.close()


def memtop(*words: str, python: str = sys.executable) -> list[str]:
    """The command line of memtop in this interpreter, or another one."""
    return [python, "-m", "memtop", *words]


@dataclass
class Outcome:
    """What a run of memtop left."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def samples(self) -> list[dict[str, Any]]:
        records = [json.loads(line) for line in self.out.splitlines()]
        return [record for record in records if record["type"] == "sample"]

    def said(self, *parts: str) -> None:
        """stderr is one calm sentence that has these parts."""
        assert "Traceback" not in self.err + self.out, self.err
        missing = [part for part in parts if part.lower() not in self.err.lower()]
        assert not missing, f"{missing} not in {self.err!r}"


def run(*words: str, timeout: float = 2 * PATIENCE, python: str = sys.executable, **options: Any) -> Outcome:
    """Runs memtop to its end."""
    began = time.monotonic()
    done = subprocess.run(
        memtop(*words, python=python), capture_output=True, text=True, timeout=timeout, check=False, **options
    )
    return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


class Batch:
    """A running ``memtop batch --json``: samples one by one."""

    def __init__(self, pid: int, *words: str, **options: Any) -> None:
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            memtop("batch", "-p", str(pid), "--json", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def sample(self) -> dict[str, Any]:
        """The next sample."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            record: dict[str, Any] = json.loads(line)
            if record["type"] == "sample":
                return record
        raise AssertionError(f"no more samples: {self.process.communicate()[1]}")

    def end(self, timeout: float = PATIENCE) -> Outcome:
        """Waits until it ends by itself."""
        out, err = self.process.communicate(timeout=timeout)
        return Outcome(self.process.returncode, out, err, time.monotonic() - self._began)


def mapping_at(sample: dict[str, Any], start: int) -> dict[str, Any]:
    """The mapping of a JSON sample that holds an address."""
    for mapping in sample["mappings"]:
        if int(mapping["start"], 16) <= start < int(mapping["end"], 16):
            return dict(mapping)
    raise AssertionError(f"no mapping at {start:#x}")


def written(sample: dict[str, Any]) -> Runs:
    """All written pages of a JSON sample that was made with --pages."""
    return merged(
        (int(start, 16), pages)
        for mapping in sample["mappings"]
        for start, pages in mapping.get("written") or ()
    )


@contextlib.contextmanager
def spawned(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A child process that is gone afterwards."""
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
