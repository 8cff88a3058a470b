"""``memtop scan`` and ``WriteWatch`` on processes whose pages and writes are known one by one."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import (
    PAGE,
    Area,
    Runs,
    Tracked,
    Writer,
    armed_mappings,
    clipped,
    descriptors,
    memtop,
    merged,
    run,
    wait_for,
)

from memtop.linux import access
from memtop.linux.errors import Failed, KernelCannot, NotPermitted, ProcessGone
from memtop.linux.features import Feature, probe_kernel
from memtop.linux.match import Matcher, plan
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import MapsReader
from memtop.linux.scan_masks import ENTRIES
from memtop.model.actions import Arm, Care
from memtop.model.filter import parse
from memtop.model.layout import Category
from memtop.tracking.rounds import Rounds
from memtop.watch import WriteWatch

DOCS = Path(__file__).parents[2] / "docs"


def records(out: str, kind: str = "match") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in out.splitlines()]
    return [line for line in lines if line["type"] == kind]


def pages_of(found: list[dict[str, Any]], area: Area) -> Runs:
    """Matches, merged and cut to the area."""
    return clipped(((int(m["start"], 16), m["pages"]) for m in found), area.start, area.end)


def looked(pid: int, expression: str) -> Runs:
    """The same without a process of its own."""
    with ProcessHandle.open(pid) as handle, Rounds(handle, probe_kernel(), parse(expression)) as rounds:
        return [(found.match.start, found.match.pages) for found in rounds.find()]


def scan(writer: Writer, expression: str, *words: str) -> list[dict[str, Any]]:
    done = run("scan", "-p", str(writer.pid), "--match", expression, "--json", *words)
    assert done.code == 0, done.err
    return records(done.out)


class Scan:
    """A running ``memtop scan --protect --json``: one round after the other, as the process writes."""

    def __init__(self, pid: int, expression: str, *words: str) -> None:
        self.process = subprocess.Popen(
            memtop("scan", "-p", str(pid), "--match", expression, "--protect", "--json", "-d", "0.2", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def round(self) -> list[dict[str, Any]]:
        """The matches of the round that ends next."""
        found = []
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            record = json.loads(line)
            if record["type"] == "match":
                found.append(record)
            if record["type"] == "scan-end":
                return found
        raise AssertionError(f"no more rounds: {self.process.communicate()[1]}")

    def until(self, area: Area, wanted: Runs) -> None:
        """Rounds together tell exactly these pages of the area, each once."""
        wanted = merged(wanted)
        told: Runs = []
        for _ in range(50):
            new = pages_of(self.round(), area)
            assert not set(_addresses(new)) & set(_addresses(told)), "told twice"
            told = merged([*told, *new])
            if told == wanted:
                return
        assert told == wanted


def _addresses(runs: Runs) -> Iterator[int]:
    return (start + i * PAGE for start, pages in runs for i in range(pages))


# ---- looking ---------------------------------------------------------------------------------------


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


# ---- protecting ------------------------------------------------------------------------------------


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
        assert rounds.process.wait(10) == 128 + signal.SIGINT
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
        assert rounds.process.wait(10) == 0, "its end is the end that was waited for"
        assert rounds.process.stderr is not None
        assert f"process {writer.pid} (writer) has ended" in rounds.process.stderr.read()


def test_the_process_ends_before_the_last_round(writer: Writer, needs_write_protect: None) -> None:
    with Scan(writer.pid, "written", "-n", "1000") as rounds:
        rounds.round()
        writer.ask("exec")
        assert rounds.process.wait(10) == 3
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


# ---- the API ---------------------------------------------------------------------------------------


def test_write_watch(writer: Writer, needs_write_protect: None) -> None:
    area = writer.map("area", "anon", 9000)
    area.fill()
    with WriteWatch(writer.pid) as watch:
        assert clipped(watch.get(), area.start, area.end) == []
        for seed in range(3):
            wanted = area.write("random", 500, seed=seed)
            assert clipped(watch.get(reset=False), area.start, area.end) == merged(wanted)
            assert clipped(watch.get(), area.start, area.end) == merged(wanted)
            assert clipped(watch.get(), area.start, area.end) == []
        first, second = area.poke(10, 5), area.poke(8000, 3)
        assert watch.get(area.start, area.start + 100 * PAGE) == merged(first)
        assert clipped(watch.get(), area.start, area.end) == merged(second)
        area.poke(0, 100)
        watch.reset(area.start, area.end)
        assert clipped(watch.get(), area.start, area.end) == []
        fresh = writer.map("fresh", "anon", 50)
        wanted = fresh.poke(20, 10)
        assert clipped(watch.get(), fresh.start, fresh.end) == merged(wanted)
        assert watch.cost.pages >= 9000
        assert 0 < watch.stop_s < 1
    assert armed_mappings(writer.pid) == 0


def test_no_write_is_lost_or_told_of_another_page_while_it_writes(
    writer: Writer, needs_write_protect: None
) -> None:
    area = writer.map("area", "anon", 1 << 15)
    area.fill()
    with WriteWatch(writer.pid, area.start, area.end) as watch:
        told, rounds = set(), 0
        writer.begin(f"write area random {1 << 21} 2 9")
        while not writer.answered():
            told |= set(_addresses(watch.get()))
            rounds += 1
        wanted = set(_addresses(writer.answer_runs()))
        told |= set(_addresses(watch.get()))
        assert told == wanted
        assert rounds > 1


def test_write_watch_of_a_part_and_of_files(writer: Writer, needs_write_protect: None) -> None:
    area, file = writer.map("area", "anon", 100), writer.map("file", "shared-file", 100)
    area.fill()
    file.fill()
    with WriteWatch(writer.pid, area.start + 10 * PAGE, area.start + 20 * PAGE) as watch:
        area.poke(5, 10)
        assert watch.get() == [(area.start + 10 * PAGE, 5)]
    with WriteWatch(writer.pid, arm=Arm.FILE) as watch:
        area.poke(5, 10)
        wanted = file.poke(3, 4)
        assert watch.get() == merged(wanted)


def test_write_watch_of_a_process_that_ends(writer: Writer, needs_write_protect: None) -> None:
    watch = WriteWatch(writer.pid)
    writer.kill()
    with pytest.raises(ProcessGone):
        watch.get()
    watch.close()
    watch.close()
    with pytest.raises(ProcessGone):
        WriteWatch(writer.pid)


def test_the_example_of_the_api(needs_write_protect: None, tmp_path: Path) -> None:
    """What docs/api.md shows runs as it stands, and prints what stands below it."""
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    program, printed = re.findall(r"```(?:python|text)\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "example.py"
    path.write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (printed, "")


def test_readonly_makes_watching_impossible(writer: Writer, needs_write_protect: None) -> None:
    access.set_readonly(True)
    try:
        with pytest.raises(NotPermitted, match="--readonly"):
            WriteWatch(writer.pid)
    finally:
        access.set_readonly(False)
    assert armed_mappings(writer.pid) == 0
