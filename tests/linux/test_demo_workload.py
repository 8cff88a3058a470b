"""The demo's workload does what its picture claims: seen in /proc and in the bytes of its memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from harness import status, wait_for

from memtop.demo.patterns import PATTERNS, hot_set, scattered

MIB = 1 << 20
PAGE = os.sysconf("SC_PAGESIZE")
COMMAND = [sys.executable, "-m", "memtop.demo.workload"]
SIZES = {"hot set": 72, "sweep": 64, "random": 40, "huge pages": 56, "idle": 32}
"""MiB of the mappings that keep their size; all differ, so that they are told apart without names too."""


@dataclass
class Vma:
    start: int
    end: int
    perms: str
    path: str

    @property
    def size(self) -> int:
        return self.end - self.start


def named(name: str) -> tuple[str, str]:
    """How maps shows it: by PR_SET_VMA_ANON_NAME, and on a kernel without that."""
    return f"[anon:{name}]", f"/memfd:{name} (deleted)"


class Workload:
    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"
        self.pid = self.process.pid

    def maps(self) -> list[Vma]:
        answer = []
        for line in Path(f"/proc/{self.pid}/maps").read_text().splitlines():
            at, perms, _, _, _, *path = line.split(maxsplit=5)
            start, end = (int(x, 16) for x in at.split("-"))
            answer.append(Vma(start, end, perms, path[0] if path else ""))
        return answer

    def find(self, name: str) -> Vma:
        return next(
            v
            for v in self.maps()
            if v.path in named(name) or (not v.path and v.size == SIZES.get(name, -1) * MIB)
        )

    def smaps(self, vma: Vma) -> dict[str, str]:
        text = Path(f"/proc/{self.pid}/smaps").read_text()
        block = re.search(rf"^{vma.start:08x}-{vma.end:08x} .*\n((?:\w+: .*\n)+)", text, re.M)
        assert block
        return {key: value.strip() for key, value in (s.split(":", 1) for s in block[1].splitlines())}

    def marks(self, vma: Vma) -> bytes:
        """The first byte of every page, of one moment: each write changes it."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            wait_for(lambda: status(self.pid, "State").startswith("T"), "stopped")
            with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
                return b"".join(
                    os.pread(memory.fileno(), MIB, at)[::PAGE] for at in range(vma.start, vma.end, MIB)
                )
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def changed(self, name: str, at_least: int) -> set[int]:
        """Pages written from now until there are so many."""
        vma = self.find(name)
        before = self.marks(vma)

        def enough() -> set[int] | None:
            now = self.marks(vma)
            pages = {i for i, (a, b) in enumerate(zip(before, now, strict=True)) if a != b}
            return pages if len(pages) >= at_least else None

        pages = wait_for(enough, f"{at_least} written pages of {name}")
        assert isinstance(pages, set)
        return pages


@pytest.fixture(scope="module")
def workload() -> Iterator[Workload]:
    answer = Workload("--seed", "7")
    yield answer
    answer.process.kill()
    answer.process.communicate()


def test_names_what_it_maps(workload: Workload) -> None:
    paths = {v.path for v in workload.maps()}
    names = [n for n in (*SIZES, "sparse") if paths & set(named(n))]
    if paths & {"[anon:hot set]"}:
        assert names == [*SIZES, "sparse"]
    else:
        assert names == [n for n in (*SIZES, "sparse") if n != "huge pages"]


def test_all_but_the_journal_is_anonymous_memory(workload: Workload) -> None:
    for name in SIZES:
        smaps = workload.smaps(workload.find(name))
        assert smaps["Anonymous"] == smaps["Rss"], name


def test_calls_itself_memtop_demo(workload: Workload) -> None:
    assert Path(f"/proc/{workload.pid}/comm").read_text() == "memtop-demo\n"
    assert Path(f"/proc/{workload.pid}/cmdline").read_bytes().rstrip(b"\0") == b"memtop-demo"


def test_every_pattern_has_a_mapping_of_its_own(workload: Workload) -> None:
    assert len({workload.find(name).start for name in SIZES}) == len(SIZES)


def test_hot_set_writes_few_pages_again_and_again(workload: Workload) -> None:
    first = workload.changed("hot set", 1000)
    again = workload.changed("hot set", 1000)
    pages = SIZES["hot set"] * MIB // PAGE
    assert len(first | again) < pages / 2
    assert len(first & again) > len(again) / 5  # chance alone would give a sixteenth


def test_sweep_writes_one_page_after_the_other(workload: Workload) -> None:
    pages = SIZES["sweep"] * MIB // PAGE
    written = workload.changed("sweep", 100)
    begins = [p for p in written if (p - 1) % pages not in written]
    assert len(begins) == 1


def test_random_writes_everywhere(workload: Workload) -> None:
    pages = SIZES["random"] * MIB // PAGE
    written = workload.changed("random", 200)
    assert {p * 8 // pages for p in written} == set(range(8))


def test_idle_is_resident_and_never_written(workload: Workload) -> None:
    vma = workload.find("idle")
    before = workload.marks(vma)
    workload.changed("sweep", 100)
    assert workload.marks(vma) == before
    assert workload.smaps(vma)["Rss"].split() == [str(vma.size // 1024), "kB"]


def test_huge_pages_are_huge_and_written_sparsely(workload: Workload) -> None:
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not enabled.exists() or "[never]" in enabled.read_text():
        pytest.skip("transparent huge pages are off")
    vma = workload.find("huge pages")
    smaps = workload.smaps(vma)
    assert "hg" in smaps["VmFlags"].split()
    if int(smaps["AnonHugePages"].split()[0]) == 0:
        pytest.skip("the kernel had no huge page to give")
    written = workload.changed("huge pages", 1)
    assert max(written) < SIZES["huge pages"] * MIB // PAGE * 3 // 4 + 24


def test_growing_grows_and_begins_anew(workload: Workload) -> None:
    def size() -> int:
        fixed = {workload.find(n).start for n in SIZES}
        return max(
            (
                v.size
                for v in workload.maps()
                if v.path in named("growing")
                or (not v.path and v.size in range(8 * MIB, 49 * MIB, 8 * MIB) and v.start not in fixed)
            ),
            default=0,
        )

    wait_for(lambda: size() == 16 * MIB, "its second piece", 120)
    wait_for(lambda: size() == 24 * MIB, "its third piece", 120)


def test_journal_is_a_shared_file_that_leaves_no_file(workload: Workload) -> None:
    journal = next(v for v in workload.maps() if "memtop-demo-" in v.path)
    assert journal.perms == "rw-s"
    assert journal.path.endswith(".journal (deleted)")
    assert not Path(journal.path.removesuffix(" (deleted)")).exists()
    before = workload.marks(journal)
    wait_for(lambda: workload.marks(journal) != before, "a record in the journal")


def test_sparse_reserves_much_and_holds_little(workload: Workload) -> None:
    sparse = max(workload.maps(), key=lambda v: v.size)
    assert sparse.size >= 256 * MIB
    resident = int(workload.smaps(sparse)["Rss"].split()[0]) * 1024
    assert 100 * PAGE < resident < 2000 * PAGE


def test_is_modest(workload: Workload) -> None:
    status = Path(f"/proc/{workload.pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak
    assert int(peak[1]) * 1024 < 400 * MIB


@pytest.mark.parametrize("pattern", [hot_set, scattered])
def test_a_seed_decides_what_is_written(pattern: Callable[[Random], Iterator[None]]) -> None:
    def after(seed: int) -> bytes:
        running = pattern(Random(seed))
        for _ in range(30):
            next(running)
        memory: bytes = running.gi_frame.f_locals["memory"][::PAGE]  # type: ignore[attr-defined]
        running.close()  # type: ignore[attr-defined]
        return memory

    assert after(3) == after(3) != after(4)


def test_all_patterns_are_tested_here() -> None:
    assert len(PATTERNS) == len(SIZES) + len({"growing", "journal", "sparse"})


def test_ends_after_its_seconds() -> None:
    workload = Workload("--seconds", "0.2")
    workload.process.communicate()
    assert workload.process.returncode == 0


def test_ends_on_sigterm() -> None:
    workload = Workload()
    workload.process.terminate()
    workload.process.communicate()
    assert workload.process.returncode == -signal.SIGTERM


def test_ends_when_its_parent_is_killed() -> None:
    program = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen({COMMAND!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)\n"
        "print(child.stdout.readline().strip(), child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    ready, pid = parent.stdout.readline().split()
    assert ready == "ready"
    child = os.pidfd_open(int(pid))
    parent.kill()
    parent.communicate()

    def ended() -> bool:
        try:
            signal.pidfd_send_signal(child, 0)
        except ProcessLookupError:
            return True
        try:  # nobody may be left here who reaps orphans: a zombie has ended too
            return ") Z " in Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_for(ended, "the workload to follow its parent")
    os.close(child)
