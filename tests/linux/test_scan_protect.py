"""``memtop scan --protect``: found and protected in one call, round after round; what it says , its end."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import (
    PAGE,
    PATIENCE,
    Tracked,
    Writer,
    armed_mappings,
    clipped,
    descriptors,
    merged,
    run,
    wait_for,
)
from scans import Scan, pages_of, scan

from memtop.linux.errors import Failed
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.model.actions import Arm, Care
from memtop.model.filter import parse
from memtop.tracking.rounds import Rounds
from memtop.watch import WriteWatch

DOCS = Path(__file__).parents[2] / "docs"


def example(name: str) -> list[str]:
    """The words of one of the commands that docs/filter.md shows, without memtop and -p PID."""
    text = (DOCS / "filter.md").read_text(encoding="utf-8")
    (command,) = re.findall(rf"^<!-- {name} -->\n+    memtop scan -p PID (.*)$", text, re.MULTILINE)
    return [word.strip("'") for word in re.findall(r"'[^']*'|\S+", command)]


def test_example_1_dirty_file_backed_pages(writer: Writer, needs_write_protect: None) -> None:
    shared, private, anon = (writer.map(k, k, 500) for k in ("shared-file", "private-file", "anon"))
    for area in (shared, private, anon):
        area.fill()
    words = example("dirty file-backed pages")
    assert words[0] == "--match"
    with Scan(writer.pid, words[1], *(w for w in words[2:] if w != "--protect")) as rounds:
        assert rounds.round() == [], "nothing was written since tracking began"
        wanted = shared.write("random", 100, seed=4)
        anon.write("random", 100, seed=5)
        private.poke(3, 3)  # pages of its own by now: not the file's
        rounds.until(shared, wanted)
        wanted = shared.poke(0, 7)
        rounds.until(shared, wanted)
        for area in (anon, private):
            assert pages_of(rounds.round(), area) == []


def test_example_2_found_and_protected_in_one_call(writer: Writer, needs_write_protect: None) -> None:
    area = writer.map("area", "anon", 5000)
    area.fill()
    before = descriptors(writer.pid)
    words = example("found and write-protected in one call")
    with Scan(writer.pid, words[1], *(w for w in words[2:] if w != "--protect")) as rounds:
        assert pages_of(rounds.round(), area) == []
        for seed in range(5):
            rounds.until(area, area.write("random", 700, threads=2, seed=seed))
        area.do("read")
        assert pages_of(rounds.round(), area) == [], "reading is no writing"
        assert armed_mappings(writer.pid)
        rounds.process.send_signal(signal.SIGINT)
        assert rounds.process.wait(PATIENCE) == 128 + signal.SIGINT
    assert armed_mappings(writer.pid) == 0
    assert descriptors(writer.pid) == before


def test_what_does_not_match_stays_written(writer: Writer, needs_write_protect: None) -> None:
    """Each page is told once it matches, however long before it was written."""
    small, huge = writer.map("small", "anon", 600), writer.map("huge", "thp", 1024)
    small.fill()
    huge.fill()
    if not scan(writer, "huge & kind:anon"):
        pytest.skip("missing capability: transparent huge pages")
    with (
        ProcessHandle.open(writer.pid) as handle,
        Rounds(handle, probe_kernel(), parse("written & !huge")) as rounds,
    ):
        rounds.track(Care())
        fresh = writer.map("fresh", "thp", 512)  # comes into being huge, and so written, but does not match
        fresh.poke(0)
        wanted = small.poke(5, 5)
        found = [(f.match.start, f.match.pages) for f in rounds.find(protect=True)]
        assert clipped(found, small.start, small.end) == merged(wanted)
        assert clipped(found, fresh.start, fresh.end) == []
        split = huge.poke(100, 1)  # the first write splits: a small page now
        found = [(f.match.start, f.match.pages) for f in rounds.find(protect=True)]
        assert clipped(found, huge.start, huge.end) == merged(split)
        assert clipped(found, small.start, small.end) == []


def test_huge_pages_may_report_too_much_and_say_so(
    writer: Writer, needs_write_protect: None, hugetlb_pages: int
) -> None:
    area = writer.map("area", "hugetlb", 1024)
    area.fill()
    with Scan(writer.pid, "written & kind:hugetlb") as rounds:
        rounds.round()
        area.poke(700, 1)
        found: list[dict[str, Any]] = []
        wait_for(lambda: found.extend(rounds.round()) or found, "the written page")
        assert pages_of(found, area) == [(area.start + 512 * PAGE, 512)]
        assert {m["exactness"] for m in found} == {"huge-page"}


def test_killed_it_leaves_nothing(writer: Writer, needs_write_protect: None) -> None:
    area = writer.map("area", "anon", 1000)
    area.fill()
    before = descriptors(writer.pid), Path(f"/proc/{writer.pid}/maps").read_text()
    with Scan(writer.pid, "written") as rounds:
        area.poke(0, 500)
        rounds.round()
        assert armed_mappings(writer.pid)
    assert armed_mappings(writer.pid) == 0
    assert (descriptors(writer.pid), Path(f"/proc/{writer.pid}/maps").read_text()) == before
    assert len(area.fill()) == 1


def test_two_trackers_never_take_from_each_other(
    writer: Writer, tracked: Callable[[int], Tracked], needs_write_protect: None
) -> None:
    area = writer.map("area", "anon", 300)
    area.fill()
    live = tracked(writer.pid)
    live.tick()
    wanted = area.poke(30, 30)
    done = run("scan", "-p", str(writer.pid), "--match", "written", "--protect", "-n", "1", "-d", "0.1")
    assert (done.code, done.out) == (1, "")
    done.said("another memtop, or another tracker")
    with pytest.raises(Failed, match="another memtop"):
        WriteWatch(writer.pid)
    assert live.tick().runs(area) == merged(wanted)
    with WriteWatch(writer.pid, arm=Arm.ALL) as files:  # what the other one has left
        own = writer.map("file", "shared-file", 10)
        area.poke(3, 3)
        told = files.get()
        assert clipped(told, area.start, area.end) == []
        assert clipped(told, own.start, own.end) == []
        wanted = own.poke(5, 2)
        assert clipped(files.get(), own.start, own.end) == merged(wanted)
    assert live.tick().runs(area) == [(area.start + 3 * PAGE, 3)]


def test_scan_says_its_cost_first_and_obeys_readonly(writer: Writer, needs_write_protect: None) -> None:
    refused = run("scan", "-p", str(writer.pid), "--match", "written", "--protect", "--readonly")
    assert (refused.code, refused.out) == (4, "")
    refused.said("write-protecting", "--readonly")
    assert armed_mappings(writer.pid) == 0
    done = run("scan", "-p", str(writer.pid), "--match", "written", "--protect", "-n", "1", "-d", "0.1")
    assert done.code == 0
    done.said("going to write-protect", "write fault a written page")
    assert "round 1, " in done.out
    assert armed_mappings(writer.pid) == 0


def test_the_process_ends(writer: Writer, needs_write_protect: None) -> None:
    with Scan(writer.pid, "written") as rounds:
        rounds.round()
        writer.kill()
        assert rounds.process.wait(PATIENCE) == 0, "its end is the end that was waited for"
        assert rounds.process.stderr is not None
        assert f"process {writer.pid} (writer) has ended" in rounds.process.stderr.read()


def test_the_process_ends_before_the_last_round(writer: Writer, needs_write_protect: None) -> None:
    with Scan(writer.pid, "written", "-n", "1000") as rounds:
        rounds.round()
        writer.ask("exec")
        assert rounds.process.wait(PATIENCE) == 3
        assert rounds.process.stderr is not None
        assert "ran exec" in rounds.process.stderr.read()


def test_wrong_use() -> None:
    for words, said in (
        (("--match", "written & ("), "column 12"),
        (("--match", "kind:hep"), "no kind 'hep'"),
        (("--match", "present", "--range", "9-8"), "empty"),
        (("--match", "present", "--range", "x"), "no range"),
        (("--match", "present"), "-p PID is missing"),
    ):
        done = run("scan", *(() if "missing" in said else ("-p", "1")), *words)
        assert (done.code, done.out) == (2, "")
        done.said(said)
    done = run("scan", "-p", "1", "--match", "present & & file")
    assert done.err.splitlines()[1:] == ["present & & file", "          ^"]


def test_a_misspelt_category_is_noticed(writer: Writer, needs_pagemap_scan: None) -> None:
    done = run("scan", "-p", str(writer.pid), "--match", "writen & present")
    assert done.code == 0
    done.said("no mapping's name has 'writen'", "did you mean written")


def test_explain() -> None:
    done = run("scan", "--match", "written & file | name~heap & huge", "--explain")
    assert done.code == 0
    assert 'where name~"heap":\n  scan 1 of 2: wpallowed & written & file & !pfnzero & !guard' in done.out
    assert "category_mask       0x0127  wpallowed|written|file|pfnzero|guard" in done.out
    assert 'where !name~"heap":\n  scan 1 of 1:' in done.out
    assert "no page can match" in run("scan", "--match", "written & !wpallowed", "--explain").out
