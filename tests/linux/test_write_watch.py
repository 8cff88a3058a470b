"""``WriteWatch`` on processes whose writes are known one by one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness import (
    PAGE,
    Writer,
    armed_mappings,
    clipped,
    merged,
)
from scans import addresses

from memtop.linux import access
from memtop.linux.errors import NotPermitted, ProcessGone
from memtop.model.actions import Arm
from memtop.watch import WriteWatch

DOCS = Path(__file__).parents[2] / "docs"


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
        assert watch.stop_s > 0
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
            told |= set(addresses(watch.get()))
            rounds += 1
        wanted = set(addresses(writer.answer_runs()))
        told |= set(addresses(watch.get()))
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
