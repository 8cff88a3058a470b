"""What this kernel has, what memtop makes of it, and what it says: docs/kernels.md is made of it."""

from __future__ import annotations

import ctypes
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness import PAGE, Seen, Writer, run

from memtop.linux.features import KernelFeatures, probe_kernel
from memtop.model.actions import Care, Method
from memtop.model.coverage import Exactness
from memtop.model.layout import Kind
from memtop.sampler.target import Target, open_target

EXACT_NEEDS = ("pagemap_scan", "wp_async", "userfaultfd", "ptrace", "process_vm_readv", "pidfd_getfd")
GUARD_INSTALL = 102


def expected_tracker(capabilities: dict[str, str]) -> str:
    """By what was tried without memtop, and by the kernel's configuration."""
    if all(capabilities[name] == "ok" for name in EXACT_NEEDS):
        return "write-protect"
    configuration = Path(f"/boot/config-{os.uname().release}")
    has = configuration.exists() and "CONFIG_MEM_SOFT_DIRTY=y" in configuration.read_text()
    return "soft-dirty" if has else "off"


@pytest.fixture
def opened() -> Iterator[Callable[..., Target]]:
    targets: list[Target] = []

    def start(pid: int, kernel: KernelFeatures | None = None, care: Care | None = None) -> Target:
        targets.append(open_target(pid, kernel or probe_kernel(), care=care or Care(max_cost=0)))
        return targets[-1]

    yield start
    for target in targets:
        target.close()


def test_auto_takes_the_exact_one_where_it_is_to_be_had(
    writer: Writer, capabilities: dict[str, str], opened: Callable[..., Target]
) -> None:
    writer.map("area", "anon", 64).fill()
    target = opened(writer.pid)
    target.arm(Method.AUTO)
    sample = target.tick()
    assert sample.tracker.name == expected_tracker(capabilities)
    if sample.tracker.name != "write-protect":
        assert "write-protect" in sample.tracker.note, "it says why not"


def test_auto_spares_huge_pages_where_it_can(writer: Writer, opened: Callable[..., Target]) -> None:
    kernel = probe_kernel()
    if not (kernel.soft_dirty.works and kernel.wp_async.works):
        pytest.skip("missing capability: soft-dirty and write-protect both")
    writer.map("area", "thp", 512 * 8).fill()
    target = opened(writer.pid)
    cost = target.look_at_cost(Method.AUTO)
    assert cost is not None
    assert "CRIU" in cost.sentence
    target.arm(Method.AUTO)
    assert target.tick().tracker.name == "soft-dirty"
    assert "huge" in target.tracker_info.note


def test_a_column_that_is_not_known_is_empty_and_no_other(
    writer: Writer, capabilities: dict[str, str], opened: Callable[..., Target]
) -> None:
    area = writer.map("area", "anon", 256)
    area.poke(0, 100)
    row = Seen(opened(writer.pid).tick()).row(area)
    by_ioctl = capabilities["pagemap_scan"] == "ok"
    assert row.resident == 100 * PAGE
    assert (row.huge is None) != by_ioctl
    assert (row.zero is None) != by_ioctl
    assert (row.guard is None) != bool(probe_kernel().guard_bit.works)


def test_without_the_guard_bit_only_that_column_is_empty(
    writer: Writer, needs_pagemap_scan: None, opened: Callable[..., Target]
) -> None:
    kernel = probe_kernel()
    without = replace(kernel, guard_bit=replace(kernel.guard_bit, works=False))
    area = writer.map("area", "thp", 1024)
    area.fill()
    here, there = (Seen(opened(writer.pid, k).tick()).row(area) for k in (kernel, without))
    assert there.guard is None
    assert (here.resident, here.huge, here.zero) == (there.resident, there.huge, there.zero)
    assert here.resident_map == there.resident_map


def test_without_the_soft_dirty_bit_the_entries_tell_it(
    writer: Writer, needs_soft_dirty: None, needs_pagemap_scan: None, opened: Callable[..., Target]
) -> None:
    """Linux 6.7 has PAGEMAP_SCAN without this category."""
    kernel = probe_kernel()
    area = writer.map("area", "anon", 512)
    area.fill()
    target = opened(writer.pid, replace(kernel, soft_dirty_bit=replace(kernel.soft_dirty_bit, works=False)))
    looked = Seen(target.tick()).row(area)
    assert looked.huge is not None, "looking goes on by ioctl"
    target.arm(Method.SOFT_DIRTY)
    target.tick()
    log = area.write("random", 80, seed=5)
    assert Seen(target.tick()).runs(area) == log


def test_guard_pages(writer: Writer, opened: Callable[..., Target]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    size = 16 * PAGE
    at = libc.mmap(None, ctypes.c_size_t(size), 3, 0x22, -1, 0)
    has = libc.madvise(ctypes.c_void_p(at), ctypes.c_size_t(4 * PAGE), GUARD_INSTALL) == 0
    if not has:
        pytest.skip("missing capability: guard pages (before Linux 6.13)")
    target = opened(os.getpid())
    rows = [r for r in target.tick().mappings if r.mapping.start <= at < r.mapping.end]
    known = probe_kernel().guard_bit.works
    assert [row.guard for row in rows] == [4 * PAGE if known else None]


def test_doctor_says_what_this_kernel_lacks(writer: Writer, capabilities: dict[str, str]) -> None:
    done = run("doctor", "-p", str(writer.pid))
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    cells = [re.split(r"\s{2,}", line.strip()) for line in lines]

    def verdict(what: str) -> str:
        return next(row[1] for row in cells if row[0] == what)

    kernel = probe_kernel()
    assert os.uname().release in lines[0]
    assert verdict("PAGEMAP_SCAN") == ("yes" if capabilities["pagemap_scan"] == "ok" else "no")
    if capabilities["pagemap_scan"] != "ok":
        assert "Linux 6.7 or later has it" in done.out
    exact = all(capabilities[name] == "ok" for name in EXACT_NEEDS)
    assert verdict("write-protect") == ("yes" if exact else "no")
    assert verdict("soft-dirty") == ("yes" if kernel.soft_dirty.works else "no")
    assert verdict("off") == "yes"
    if not kernel.soft_dirty.works:
        assert "CONFIG_MEM_SOFT_DIRTY" in done.out
    assert "CRIU" in done.out


def test_row_of_the_matrix(
    writer: Writer, opened: Callable[..., Target], record_property: Callable[[str, object], None]
) -> None:
    """What a look at a process gives here, and how exact; every answer was tried."""
    kernel = probe_kernel()
    area = writer.map("area", "anon", 1024)
    area.fill()
    row = Seen(opened(writer.pid).tick()).row(area)
    matrix = {
        "resident pages": "exact" if row.resident == 1024 * PAGE else "wrong",
        "by": "PAGEMAP_SCAN" if kernel.pagemap_scan.works else "pagemap entries",
        "huge pages": _known(row.huge),
        "zero pages": _known(row.zero),
        "guard pages": _known(row.guard),
    }
    for name, method, freeze in (
        ("write-protect", Method.WRITE_PROTECT, False),
        ("soft-dirty", Method.SOFT_DIRTY, False),
        ("soft-dirty --freeze", Method.SOFT_DIRTY, True),
        ("auto", Method.AUTO, False),
    ):
        matrix[name] = _tracking(writer, opened, method, freeze)
    for feature in (kernel.pidfd, kernel.userfaultfd, kernel.injection, kernel.anon_names):
        matrix[feature.name] = "yes" if feature.works else "–"
    record_property("matrix", json.dumps(matrix))
    assert matrix["resident pages"] == "exact"
    assert matrix["auto"] != "–" or not kernel.soft_dirty.works


def _known(value: int | None) -> str:
    return "–" if value is None else "exact"


def _tracking(writer: Writer, opened: Callable[..., Target], method: Method, freeze: bool) -> str:
    """Its exactness, if it tells what a writer logs."""
    name = f"{method.value}-{freeze}"
    area = writer.map(name, "anon", 128)
    area.fill()
    target = opened(writer.pid, care=Care(max_cost=0, freeze=freeze))
    try:
        target.arm(method)
    except Exception:
        return "–"
    target.tick()
    log = area.poke(7, 30)
    seen = Seen(target.tick())
    info = seen.sample.tracker
    row = seen.row(area)
    target.close()
    if info.name == "off":
        return "–"
    assert seen.runs(area) == log
    assert row.mapping.kind is Kind.ANON
    word = row.exactness.value
    if row.exactness is Exactness.APPROXIMATE and freeze:
        word = "approximate, none missed"
    return f"{info.name}: {word}" if method is Method.AUTO else word
