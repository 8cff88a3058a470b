"""A peek shows what is in a page and changes nothing: smaps and pagemap are the same before and after."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import PAGE, Writer, wait_for

from memtop.linux import access
from memtop.linux.errors import NotPermitted, ProcessGone
from memtop.linux.features import probe_kernel
from memtop.linux.pagemap import Scanner
from memtop.linux.peek import look, peek
from memtop.model.actions import Method
from memtop.model.peek import Peek
from memtop.sampler.loop import Sampler
from memtop.sampler.target import open_target

pytestmark = pytest.mark.usefixtures("needs_pagemap", "needs_ptrace")

PAGES = """
    import ctypes, mmap, sys
    libc = ctypes.CDLL(None, use_errno=True)
    PAGE, N = 4096, 16

    def area(flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, fd=-1):
        m = mmap.mmap(fd, N * PAGE, flags=flags)
        m.madvise(mmap.MADV_NOHUGEPAGE)
        return m, ctypes.addressof(ctypes.c_char.from_buffer(m))

    def fill(m, page):
        m[page * PAGE : (page + 1) * PAGE] = (b"page %d of " % page + bytes(range(256)) * 16)[:PAGE]

    areas = {}
    anon, areas["anon"] = area()
    fill(anon, 3)
    libc.memcmp(ctypes.c_void_p(areas["anon"] + 5 * PAGE), b"", 1)  # only read: the zero page
    none, areas["none"] = area()
    fill(none, 0)
    libc.mprotect(ctypes.c_void_p(areas["none"]), N * PAGE, 0)
    shared, areas["shared"] = area(mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    fill(shared, 2)
    guard, areas["guard"] = area()
    fill(guard, 1)
    if libc.madvise(ctypes.c_void_p(areas["guard"]), PAGE, 102):  # MADV_GUARD_INSTALL, Linux 6.13
        del areas["guard"]
    out, areas["out"] = area()
    fill(out, 4)
    for name, start in areas.items():
        print(name, start, flush=True)
    print("ready", flush=True)
    for line in sys.stdin:  # not before it is asked for: the swap of another test may go again meanwhile
        libc.madvise(ctypes.c_void_p(areas["out"]), N * PAGE, 21)  # MADV_PAGEOUT: into swap, if any
        print("out", flush=True)
"""


def contents(page: int) -> bytes:
    return (b"page %d of " % page + bytes(range(256)) * 16)[:PAGE]


_OTHERS = r"Referenced|Pss|Swap_Pss|(Shared|Private)_Clean"
"""Which clean file pages are shared changes with whoever else runs the same program."""


class Subject:
    """A process with one page of each sort, and what the kernel says of its memory."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process, self.pid = process, process.pid
        self.areas: dict[str, int] = {}
        for line in process.stdout:
            if line.startswith("ready"):
                break
            name, start = line.split()
            self.areas[name] = int(start)

    def page_out(self) -> None:
        print("out", file=self.process.stdin, flush=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "out\n"

    def at(self, name: str, page: int) -> int:
        if name not in self.areas:
            pytest.skip(f"missing capability: {name} pages on this kernel")
        return self.areas[name] + page * PAGE

    def memory(self) -> tuple[list[str], dict[str, bytes]]:
        """All of smaps but what ages by itself or by other processes, and the pagemap of every area."""
        smaps = Path(f"/proc/{self.pid}/smaps").read_text(encoding="utf-8").splitlines()
        with open(f"/proc/{self.pid}/pagemap", "rb", buffering=0) as file:
            entries = {
                name: os.pread(file.fileno(), 16 * 8, start // PAGE * 8) for name, start in self.areas.items()
            }
        return [line for line in smaps if not re.match(_OTHERS, line)], entries

    def entry(self, address: int) -> int:
        with open(f"/proc/{self.pid}/pagemap", "rb", buffering=0) as file:
            return int.from_bytes(os.pread(file.fileno(), 8, address // PAGE * 8), "little")


@pytest.fixture
def subject() -> Iterator[Subject]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PAGES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Subject(process)
    finally:
        process.kill()
        process.communicate()


Peeker = Callable[..., Peek]


@pytest.fixture(params=["ioctl", "entries"])
def peeked(request: pytest.FixtureRequest, subject: Subject) -> Iterator[Peeker]:
    """Peeks at one page, and fails if anything in the process is different after it."""
    kernel = probe_kernel()
    ioctl = request.param == "ioctl"
    if ioctl and not kernel.pagemap_scan.works:
        pytest.skip("missing capability: PAGEMAP_SCAN")
    with Scanner(subject.pid, use_ioctl=ioctl, guard_bit=ioctl and bool(kernel.guard_bit.works)) as scanner:

        def one(address: int, pages: int = 1) -> Peek:
            before = subject.memory()
            answer = peek(subject.pid, scanner, address, pages)
            assert subject.memory() == before, "a peek changes nothing"
            return answer

        one.ioctl = ioctl  # type: ignore[attr-defined]
        yield one


def test_contents_of_a_page_are_shown(subject: Subject, peeked: Peeker) -> None:
    answer = peeked(subject.at("anon", 3))
    assert answer.contents == contents(3)
    assert answer.flags is not None
    assert answer.flags.present == 1
    assert peeked(subject.at("shared", 2)).contents == contents(2)


def test_a_hole_stays_a_hole(subject: Subject, peeked: Peeker) -> None:
    for name in ("anon", "shared"):
        answer = peeked(subject.at(name, 0))
        assert answer.contents is None
        assert "not resident: not read" in answer.why


def test_the_first_page_of_a_cell_that_is_there(subject: Subject, peeked: Peeker) -> None:
    answer = peeked(subject.at("anon", 0), 16)
    assert (answer.address, answer.contents) == (subject.at("anon", 3), contents(3))


def test_the_zero_page_is_zeros(subject: Subject, peeked: Peeker) -> None:
    answer = peeked(subject.at("anon", 5))
    assert answer.contents == bytes(PAGE)
    if peeked.ioctl:  # type: ignore[attr-defined]
        assert "the zero page" in answer.why


def test_prot_none_is_read_past_its_protection(subject: Subject, peeked: Peeker) -> None:
    answer = peeked(subject.at("none", 0))
    assert answer.contents == contents(0)
    assert "PROT_NONE" in answer.why
    assert peeked(subject.at("none", 1)).contents is None


def test_a_guard_page_is_not_touched(subject: Subject, peeked: Peeker) -> None:
    answer = peeked(subject.at("guard", 0))
    assert answer.contents is None
    assert "not" in answer.why or "guard page" in answer.why
    assert peeked(subject.at("guard", 1)).contents == contents(1)


def test_a_page_in_swap_stays_there(swap: None, subject: Subject, peeked: Peeker) -> None:
    page = subject.at("out", 4)
    subject.page_out()
    if not subject.entry(page) >> 62 & 1:
        pytest.skip("missing capability: the kernel swaps nothing out when asked to")
    answer = peeked(page)
    assert answer.contents is None
    assert "swapped out: not read" in answer.why
    assert subject.entry(page) >> 62 & 1


def test_a_page_that_is_not_there_is_never_read(
    subject: Subject, peeked: Peeker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swapped, as far as this machine has no swap to try it on: whatever is not present is not asked for."""
    monkeypatch.setattr("memtop.linux.peek._read", lambda *_: pytest.fail("it was read"))
    for name, page in (("anon", 0), ("shared", 0), ("guard", 0), ("none", 1)):
        if name in subject.areas:
            assert peeked(subject.at(name, page)).contents is None
    from memtop.linux import peek as module
    from memtop.model.peek import PageFlags

    assert "swap it in" in module._why_not(PageFlags(1, present=0, swapped=1))
    assert "look alike" in module._why_not(PageFlags(1, present=0, swapped=1, tracked=1))


def test_a_process_that_ended_meanwhile_is_not_read(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pid may be another process's by then: what was read is thrown away."""
    kernel = probe_kernel()
    with Scanner(
        subject.pid, use_ioctl=bool(kernel.pagemap_scan.works), guard_bit=bool(kernel.guard_bit.works)
    ) as scanner:

        def read_a_stranger(pid: int, address: int) -> tuple[bytes, str]:
            subject.process.kill()
            subject.process.wait()
            return b"of another process".ljust(PAGE), ""

        monkeypatch.setattr("memtop.linux.peek._read", read_a_stranger)
        with pytest.raises(ProcessGone):
            peek(subject.pid, scanner, subject.at("anon", 3), 1)


def test_readonly_reads_contents_only_with_peek(subject: Subject) -> None:
    kernel = probe_kernel()
    page = subject.at("anon", 3)
    with Scanner(subject.pid, use_ioctl=bool(kernel.pagemap_scan.works), guard_bit=False) as scanner:
        try:
            access.set_readonly(True)
            with pytest.raises(NotPermitted, match="--peek"):
                peek(subject.pid, scanner, page, 1)
            flags = look(scanner, page, 1).flags
            assert flags is not None
            assert flags.present == 1
            access.set_readonly(True, peek=True)
            assert peek(subject.pid, scanner, page, 1).contents == contents(3)
        finally:
            access.set_readonly(False)
        assert peek(subject.pid, scanner, page, 1).contents == contents(3)


@pytest.mark.usefixtures("needs_write_protect")
def test_flags_of_a_tracked_page_and_a_peek_leaves_it_clean(writer: Writer) -> None:
    area = writer.map("area", "anon", 64)
    area.fill()
    target = open_target(writer.pid, probe_kernel())
    try:
        target.tick()
        target.arm(Method.WRITE_PROTECT)
        target.tick()
        target.tick()
        area.poke(7)
        written = target.peek(area.start, 64, False).flags
        assert written is not None
        assert (written.present, written.tracked, written.written) == (64, 64, 1)
        assert target.peek(area.start + 6 * PAGE, 1, True).contents is not None
        sample = target.tick()
        assert [run.start for run in sample.runs if area.start <= run.start < area.end] == [
            area.start + 7 * PAGE
        ]
    finally:
        target.close()


def test_the_sampler_answers_the_last_request_also_while_frozen(writer: Writer) -> None:
    area = writer.map("area", "anon", 8)
    area.fill()
    sampler = Sampler([open_target(writer.pid, probe_kernel())], 60)
    key = next(iter(sampler._targets))
    answers: list[Peek] = []
    sampler.start(lambda sample: None, lambda notice: None)
    try:
        sampler.set_frozen(True)
        sampler.peek(key, area.start, 8, False, answers.append)
        wait_for(lambda: answers, "an answer")
        assert answers[-1].flags is not None
        assert answers[-1].flags.present == 8
        sampler.peek(key, area.end, 1, True, answers.append)
        writer.kill()
        sampler.peek(key, area.start, 1, True, answers.append)
        wait_for(lambda: answers[-1].address == area.start and answers[-1].why, "the reason")
        assert "there is no process" in answers[-1].why
    finally:
        sampler.stop()
