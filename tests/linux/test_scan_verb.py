"""``memtop scan`` on processes whose pages are known one by one: looking."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import (
    PAGE,
    Tracked,
    Writer,
    clipped,
    merged,
    run,
)
from scans import looked, pages_of, records, scan

from memtop.linux.errors import KernelCannot
from memtop.linux.features import Feature, probe_kernel
from memtop.linux.match import Matcher, plan
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import MapsReader
from memtop.linux.scan_masks import ENTRIES
from memtop.model.filter import parse
from memtop.model.layout import Category
from memtop.tracking.rounds import Rounds


def test_present_pages_are_those_that_were_written(writer: Writer, needs_pagemap_scan: None) -> None:
    area = writer.map("area", "anon", 20000)
    wanted = area.write("random", 5000, seed=1)
    found = scan(writer, "present & !pfnzero")
    assert pages_of(found, area) == merged(wanted)
    ranged = scan(writer, "present", "--range", f"{area.start + 64 * PAGE:x}-{area.start + 900 * PAGE:#x}")
    assert merged((int(m["start"], 16), m["pages"]) for m in ranged) == clipped(
        wanted, area.start + 64 * PAGE, area.start + 900 * PAGE
    )


def test_the_whole_vocabulary(writer: Writer, needs_pagemap_scan: None) -> None:
    anon, shared, thp = (
        writer.map("a", "anon", 100),
        writer.map("s", "memfd", 100),
        writer.map("t", "thp", 1024),
    )
    written = anon.poke(10, 20)
    anon.do("read")
    of_shared = shared.poke(5, 5)
    thp.poke(0, 1)
    zero = [(anon.start, 10), (anon.start + 30 * PAGE, 70)]
    for expression, area, wanted in (
        ("pfnzero", anon, zero),
        ("present & !pfnzero", anon, written),
        ("file", anon, []),
        ("file", shared, of_shared),
        ("file & present & name~written", shared, of_shared),
        ("name~nothing-of-that-name | pfnzero", shared, []),
        ("kind:anon & present & !(pfnzero | huge)", anon, written),
        ("kind:shared", shared, of_shared),
        ("kind:shared", anon, []),
        ("!file", anon, [*written, *zero]),
        ("file | pfnzero", anon, zero),
        ("file | pfnzero", shared, of_shared),
        ("swapped | guard", anon, []) if probe_kernel().guard_bit.works else ("swapped", anon, []),
        ("!present", anon, []),
    ):
        assert clipped(looked(writer.pid, expression), area.start, area.end) == merged(wanted), expression
    huge = looked(writer.pid, "huge & kind:anon")
    smaps = Path(f"/proc/{writer.pid}/smaps").read_text()
    sizes = re.findall(r"^AnonHugePages: +(\d+)", smaps, re.MULTILINE)
    assert sum(n for _, n in huge) == sum(map(int, sizes)) // 4


def test_written_is_not_known_where_nobody_tracks(
    writer: Writer, tracked: Callable[[int], Tracked], needs_write_protect: None
) -> None:
    area = writer.map("area", "anon", 100)
    area.fill()
    nobody = run("scan", "-p", str(writer.pid), "--match", "written & kind:anon")
    assert (nobody.code, nobody.out) == (1, "")
    nobody.said("not known", "--protect")
    partly = run("scan", "-p", str(writer.pid), "--match", "written | present", "--json")
    partly.said("nothing is called written")
    assert not [m for m in records(partly.out) if "written" in m["categories"]]
    assert pages_of(records(partly.out), area) == [(area.start, 100)]
    live = tracked(writer.pid)
    live.tick()
    wanted = area.poke(7, 9)
    for _ in range(2):  # a look takes nothing away from whoever tracks
        assert pages_of(scan(writer, "written"), area) == merged(wanted)
        assert pages_of(scan(writer, "!written"), area) == [(area.start, 7), (area.start + 16 * PAGE, 84)]
    assert live.tick().runs(area) == merged(wanted)


@pytest.mark.parametrize(
    "expression", ["present", "file", "!file", "present & !file & perms:w", "swapped | file", "!present"]
)
def test_before_linux_6_7_the_entries_say_the_same(
    writer: Writer, needs_pagemap_scan: None, expression: str
) -> None:
    anon, shared = writer.map("a", "anon", 20000), writer.map("s", "memfd", 300)
    anon.write("random", 3000, seed=3)
    shared.write("alternate", 100)
    maps, answers = MapsReader(writer.pid), []
    table = maps.read()
    for use_ioctl, known in ((True, Category(0x7F)), (False, ENTRIES)):
        with Matcher(writer.pid, use_ioctl=use_ioctl) as matcher:
            stretches = plan(parse(expression), table, known, protect=False)
            found = list(matcher.find(table, stretches, ENTRIES & ~Category.SOFT_DIRTY))
            for match in found:
                assert match.index is not None
                start, end = table.range_of(match.index)
                assert start <= match.start < match.end <= end
            answers.append([m for area in (anon, shared) for m in
                            clipped(((m.start, m.pages) for m in found), area.start, area.end)])  # fmt: skip
    assert answers[0] == answers[1]
    maps.close()


def test_a_kernel_without_the_scan_refuses_in_words(writer: Writer, needs_pagemap: None) -> None:
    @dataclass(frozen=True)
    class Old:
        pagemap_scan = Feature(
            "PAGEMAP_SCAN", False, "this kernel does not know it", "Linux 6.7 or later has it"
        )
        soft_dirty = guard_bit = soft_dirty_bit = pagemap_scan

    handle: Any = ProcessHandle.open(writer.pid)
    kernel: Any = Old()
    with handle, pytest.raises(KernelCannot, match=r"huge.*does not know it"):
        Rounds(handle, kernel, parse("present & huge"))
