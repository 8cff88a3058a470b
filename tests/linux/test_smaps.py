"""Details of one mapping: what smaps and numa_maps say of it, beside the files read by other means."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness import PAGE, PATIENCE, Writer, wait_for
from test_procfs import as_nobody

from memtop.linux.errors import ProcessGone
from memtop.linux.features import probe_kernel
from memtop.linux.smaps import parse_numa, read_numa, read_smaps
from memtop.linux.thp import HugeSettings, read_settings, why_huge
from memtop.model.actions import Method
from memtop.model.detail import VM_FLAGS, Detail, Smaps
from memtop.model.layout import Kind
from memtop.model.mapping import Mapping
from memtop.sampler import detail
from memtop.sampler.detail import Errand, expected, read_detail
from memtop.sampler.loop import Sampler
from memtop.sampler.target import open_target

MIB = 1 << 20


def entries(pid: int) -> dict[int, list[str]]:
    """Lines of every entry of smaps, by start address: by splitting, not by memtop's patterns."""
    found: dict[int, list[str]] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            found[int(line.split("-")[0], 16)] = lines = []
        lines.append(line)
    return found


def holding(pid: int, address: int) -> int:
    """Start of the mapping with this address."""
    return max(start for start in entries(pid) if start <= address)


def test_every_entry_is_what_smaps_says(writer: Writer) -> None:
    writer.map("area", "anon", 300).fill()
    writer.map("ring", "shared", 40).fill()
    for _ in range(50):  # the share of a library's pages is other processes' doing, too
        before = entries(writer.pid)
        read = {start: read_smaps(writer.pid, start) for start in before}
        if entries(writer.pid) == before:
            break
    for start, lines in before.items():
        smaps = read[start]
        assert smaps is not None
        assert f"{smaps.start:08x}-{smaps.end:08x}" == lines[0].split()[0]
        said = {line.split(":")[0]: line.split(":")[1].split() for line in lines[1:]}
        assert list(smaps.flags) == said.pop("VmFlags")
        sizes = {name: int(words[0]) * 1024 for name, words in said.items() if words[1:] == ["kB"]}
        assert list(smaps.sizes) == list(sizes), "all fields, in the kernel's order"
        assert smaps.sizes == sizes
        assert set(smaps.sizes) | set(smaps.numbers) == set(said)


def test_any_address_of_a_mapping_finds_it_and_one_between_finds_none(writer: Writer) -> None:
    area = writer.map("area", "anon", 64)
    area.fill()
    start = holding(writer.pid, area.start)
    inside = read_smaps(writer.pid, area.end - PAGE)
    assert inside is not None
    assert inside.start == start
    assert inside.sizes["Rss"] >= 64 * PAGE
    assert read_smaps(writer.pid, PAGE) is None, "below the first"
    assert read_smaps(writer.pid, 0x7FFF_FFFF_E000) is None, "above the last that can be had"


def test_numa_places_all_resident_pages(writer: Writer) -> None:
    area = writer.map("area", "anon", 300)
    area.fill()
    start = holding(writer.pid, area.start)
    if not Path("/proc/self/numa_maps").exists():
        pytest.skip("a kernel without NUMA")
    numa = read_numa(writer.pid, start)
    smaps = read_smaps(writer.pid, start)
    assert numa is not None
    assert smaps is not None
    assert sum(numa.nodes.values()) * numa.page_bytes == smaps.sizes["Rss"]
    assert numa.policy == "default"


def test_lines_of_numa_maps_from_larger_machines() -> None:
    one = parse_numa("7f00 prefer (many):0-1 anon=512 dirty=500 active=3 N0=500 N1=12 kernelpagesize_kB=4")
    assert (one.policy, dict(one.nodes), one.page_bytes) == ("prefer (many):0-1", {0: 500, 1: 12}, 4096)
    assert dict(one.counts) == {"anon": 512, "dirty": 500, "active": 3}
    two = parse_numa("7f00 bind=static:0,2 file=/a\\040N1=5 huge dirty=2 N2=2 kernelpagesize_kB=2048")
    assert (two.policy, dict(two.nodes), two.page_bytes) == ("bind=static:0,2", {2: 2}, 2 << 20)
    empty = parse_numa("7f00 default")
    assert (empty.policy, empty.nodes) == ("default", {})


def test_every_flag_that_is_met_has_words(writer: Writer) -> None:
    flags = set()
    for pid in (writer.pid, os.getpid()):
        for lines in entries(pid).values():
            flags |= set(lines[-1].partition("VmFlags:")[2].split())
    assert flags - {"??"} <= set(VM_FLAGS)


# ---- huge pages ----------------------------------------------------------------------------------------

AREAS = """
import ctypes, sys
libc, MIB = ctypes.CDLL(None), 1 << 20
libc.mmap.restype = ctypes.c_void_p
def area(size, advice):
    where = libc.mmap(None, ctypes.c_size_t(12 * MIB), 0, 0x22, -1, 0)
    start = ctypes.c_void_p(-(-where // (2 * MIB)) * 2 * MIB)
    if libc.mprotect(start, size, 3) or advice and libc.madvise(start, size, advice):
        sys.exit(1)
    return start.value
if sys.argv[1] == "off":
    libc.prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE
print(area(8 * MIB, 14), area(8 * MIB, 15), area(8 * MIB, 0), area(4096 * 5, 14), flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["on", "off"])
def areas(request: pytest.FixtureRequest) -> Iterator[tuple[int, list[int], bool]]:
    """Pid; starts of what is advised, advised against, neither, too small; whether the process allows any."""
    child = subprocess.Popen(
        [sys.executable, "-c", AREAS, request.param], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        yield child.pid, list(map(int, child.stdout.readline().split())), request.param == "on"
        child.kill()


def anonymous(smaps: Smaps) -> Mapping:
    return Mapping(1, smaps.start, smaps.end, "rw-p", 0, "00:00", 0, "", Kind.ANON)


def test_why_there_are_huge_pages_or_none(areas: tuple[int, list[int], bool]) -> None:
    pid, starts, allowed = areas
    settings = read_settings(pid)
    chosen = re.search(r"\[(\w+)\]", Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text())
    assert chosen is not None
    assert settings.enabled == chosen[1]
    assert settings.process is allowed
    every = [read_smaps(pid, start) for start in starts]
    advised, against, neither, small = (
        why_huge(smaps, anonymous(smaps), settings) for smaps in every if smaps is not None
    )
    if not allowed:
        assert all("PR_SET_THP_DISABLE" in why for why in (advised, against, neither, small))
        return
    assert "MADV_NOHUGEPAGE" in against
    assert "no aligned 2.0M fits" in small
    if settings.enabled == "never":
        assert "enabled is never" in advised
    else:
        assert advised.startswith("may have huge pages: ")
        assert ("it did not ask" in neither) is (settings.enabled == "madvise")


@pytest.mark.parametrize(
    ("flags", "eligible", "enabled", "says"),
    [
        (("ht",), 0, "never", "hugetlb"),
        (("hg", "uw"), 1, "madvise", "while its writes are tracked none are made"),
        ((), 1, "never", "a setting of that size alone allows it"),
        (("pf", "io"), 0, "always", "device"),
        ((), 0, "always", "the kernel does not say why"),
        ((), 0, "never", "enabled is never"),
    ],
)
def test_the_rest_of_the_reasons(flags: tuple[str, ...], eligible: int, enabled: str, says: str) -> None:
    smaps = Smaps(0, 8 * MIB, {}, {"THPeligible": eligible}, flags)
    assert says in why_huge(smaps, anonymous(smaps), HugeSettings(enabled, "never", 2 * MIB, True))
    older = Smaps(0, 8 * MIB, {}, {}, ())
    assert "does not say" in why_huge(older, anonymous(older), HugeSettings())


# ---- from a request to an answer -----------------------------------------------------------------------


def told(sampler: Sampler, key: tuple[int, int], mapping: int, anyway: bool = False) -> Detail:
    answers: list[Detail] = []
    sampler.detail(key, mapping, anyway, answers.append)
    wait_for(lambda: answers, "an answer")
    return answers[0]


def test_what_the_sampler_tells(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    area = writer.map("area", "anon", 500)
    area.fill()
    target = open_target(writer.pid, probe_kernel())
    sampler, samples = Sampler([target], 0.1), []
    sampler.start(samples.append, print)
    try:
        sample = wait_for(lambda: samples and samples[-1], "a sample")
        index = next(i for i, m in enumerate(sample.table) if m.start <= area.start < m.end)
        answer = told(sampler, target.key, sample.table.ids[index])
        assert answer.smaps is not None
        assert answer.smaps.sizes["Rss"] >= 500 * PAGE
        assert answer.huge
        assert answer.seconds > 0
        assert not answer.why
        assert told(sampler, target.key, 1 << 40).why == "the mapping is not there any more"
        monkeypatch.setattr(detail, "DEAR", 0.0)
        dear = told(sampler, target.key, sample.table.ids[index])
        assert dear.dear
        assert dear.smaps is None
        assert "not read: the kernel would walk all mappings below it" in dear.why
        assert told(sampler, target.key, sample.table.ids[index], anyway=True).smaps is not None
        writer.kill()
        wait_for(lambda: target.ended, "the end")
        assert "has ended" in told(sampler, target.key, sample.table.ids[index]).why
    finally:
        sampler.stop()


def test_expectation_grows_with_what_is_below(writer: Writer, needs_pagemap: None) -> None:
    writer.map("area", "anon", 5000).fill()
    target = open_target(writer.pid, probe_kernel())
    try:
        sample = target.tick()
        costs = [expected(sample, i) for i in range(len(sample.table))]
        assert costs == sorted(costs)
        assert costs[-1] - costs[0] > 5000 * 40e-9
        began = time.thread_time()  # not how long it waits for a processor
        assert read_detail(sample, sample.table.ids[-3], None, True).smaps is not None
        assert time.thread_time() - began < 10 * costs[-3] + 0.2, "of the right order"
        # Another process by this number: nothing that was read may pass for the one that was asked about.
        other = replace(sample, process=replace(sample.process, start_time=1))
        assert "has ended" in read_detail(other, sample.table.ids[0], None, True).why
    finally:
        target.close()


def test_tracking_shows_in_the_flags_and_reading_changes_nothing(
    writer: Writer, needs_write_protect: None
) -> None:
    area = writer.map("area", "anon", 100)
    area.fill()
    target = open_target(writer.pid, probe_kernel())
    try:
        target.arm(Method.WRITE_PROTECT)
        target.tick()
        area.poke(7)
        sample = target.last
        assert sample is not None
        index = next(i for i, m in enumerate(sample.table) if m.start <= area.start < m.end)
        answer = target.detail(sample.table.ids[index], True)
        assert answer.smaps is not None
        assert "uw" in answer.smaps.flags
        assert target.tick().mappings[index].written_pages == 1, "reading has not cleared what was written"
    finally:
        target.close()


def test_of_what_waits_only_the_newest_is_done() -> None:
    errand, go, done = Errand(), threading.Event(), []
    errand.send(lambda: (go.wait(PATIENCE), done.append(0)))  # type: ignore[func-returns-value]  # both in turn
    for number in range(1, 6):
        errand.send(lambda n=number: done.append(n))  # type: ignore[misc]
    go.set()
    wait_for(lambda: len(done) == 2, "both")
    assert done == [0, 5]
    errand.send(lambda: done.append(6))
    wait_for(lambda: len(done) == 3, "one more, of a new thread")


def test_another_users_process(needs_root: None, writer: Writer) -> None:
    said = as_nobody(lambda: read_smaps(writer.pid, 0))
    assert "smaps of process" in said
    assert "not permitted" in said
    assert "as root" in said


def test_errors_are_sentences(writer: Writer) -> None:
    writer.kill()
    with pytest.raises(ProcessGone, match=f"there is no process {writer.pid}"):
        read_smaps(writer.pid, 0)
