"""The dump dialog on the real engine: real processes, real files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from dump_screen import live
from fake import FakeSource
from harness import PAGE, PATIENCE, Area, Writer, memory_of, snapshot_memory, wait_for
from recorded import View, shown
from screen import opened
from textual import events

from memtop.dump.background import Dumps
from memtop.dump.image import Freeze
from memtop.ui.dump_parts import Part
from memtop.ui.theme import MONO


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, empty."""
    there = tmp_path / "dumps"
    there.mkdir()
    monkeypatch.chdir(there)
    return there


@pytest.fixture
def area(writer: Writer) -> Area:
    there = writer.map("area", "anon", 3000)
    there.fill()
    return there


@pytest.mark.usefixtures("needs_write_protect")
async def test_from_the_key_to_the_file_that_gdb_opens(writer: Writer, area: Area, folder: Path) -> None:
    async with live(writer.pid) as screen:
        await screen.press("d")
        await screen.shows(
            "Dump writer", "about 12M", "free", "copies", "(assumed)", "round", "then a stop of"
        )
        await screen.press("enter")
        await screen.shows("open it", "one point in time")
        (name,) = os.listdir(folder)
        assert name.startswith(f"writer-{writer.pid}-")
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o600
        command = screen.live.report.outcome.open_with
        assert "".join(command.split()) in "".join(screen.text.split())
        words = shlex.split(command)
        assert words[0] == "gdb"
        assert words[2] == name
        await screen.press("escape")
        assert "open it" not in screen.text
        assert screen.live.view.tracking
        if shutil.which("gdb") is None:
            pytest.skip("missing capability: gdb")
        asked = f"dump binary memory out {area.start:#x} {area.start + 3000 * PAGE:#x}"
        subprocess.run([*words, "--batch", "-ex", asked], check=True, capture_output=True)
        assert Path("out").read_bytes() == memory_of(writer.pid, area.start, 3000 * PAGE)


@pytest.mark.usefixtures("needs_write_protect")
async def test_a_file_that_exists_is_never_written_over(writer: Writer, area: Area, folder: Path) -> None:
    (folder / "mine").write_text("dear to me")
    (folder / "link").symlink_to("elsewhere")
    async with live(writer.pid) as screen:
        await screen.press("d", "down")
        for name, said in (
            ("mine", "mine exists already"),
            ("link", "link exists already"),
            ("no/such", "there is no directory no"),
            ("", "the file needs a name"),
            ("-", "the file needs a name"),
        ):
            await screen.retype(name)
            await screen.press("enter")
            await screen.shows(said)
            assert screen.dumps.busy is None
        await screen.press("escape")
        assert "Dump writer" not in screen.text
    assert sorted(os.listdir(folder)) == ["link", "mine"]
    assert (folder / "mine").read_text() == "dear to me"


@pytest.mark.usefixtures("needs_write_protect")
async def test_all_of_a_name_that_is_typed_fast_counts(writer: Writer, area: Area, folder: Path) -> None:
    async with live(writer.pid) as screen:
        await screen.press("d", "down", "end", "ctrl+u", *"qd_s", "enter")  # keys that do something elsewhere
        await screen.shows("open it")
        assert os.listdir(folder) == ["qd_s"]


async def test_what_is_typed_at_once_replaces_what_stood_there(writer: Writer, folder: Path) -> None:
    async with live(writer.pid, arm=False) as screen:
        await screen.press("d", "down")
        await screen.burst("ctrl+u", *"./first")
        assert screen.live.form.choice.path == "./first"
        await screen.burst("home", "delete", "delete", "ctrl+k", *"se", "left", *"0", "end", *"cond")
        assert screen.live.form.choice.path == "s0econd"
        screen.app.post_message(events.Key("ctrl+u", None))
        screen.app.post_message(events.Paste("pasted\x1b[31m"))
        await screen.until(lambda: "past" in screen.live.form.choice.path, "the paste")
        assert screen.live.form.choice.path == "pasted\\x1b[31m"


@pytest.mark.usefixtures("needs_write_protect")
async def test_what_was_selected_when_the_key_was_pressed(writer: Writer, area: Area, folder: Path) -> None:
    other = writer.map("other", "anon", 5000)
    async with live(writer.pid, size=(120, 30)) as screen:
        await screen.until(lambda: f"{area.start:x}" in screen.text, "the mapping")
        while not screen.selected.startswith(f"{area.start:x}"):
            await screen.press("down")
        await screen.press("d", "right", "down", "down", "right")
        await screen.shows(f"mapping {area.start:x}", "snapshot", "parent")
        other.fill()  # it becomes the first of the table
        await screen.until(lambda: screen.table[0][2:].startswith(f"{other.start:x}"), "another order")
        await screen.press("up", "end", "ctrl+u", "s", "enter")
        await screen.shows("open it")
        kept = snapshot_memory(folder / "s", area.start, 3000 * PAGE)
        assert kept == memory_of(writer.pid, area.start, 3000 * PAGE)
        assert screen.live.report.outcome.job.only[0].start <= area.start
        assert screen.live.report.outcome.result.stored < 4000 * PAGE


@pytest.mark.usefixtures("needs_write_protect")
async def test_the_marked_range_alone(writer: Writer, area: Area, folder: Path) -> None:
    area.poke(17)
    async with live(writer.pid, size=(120, 30)) as screen:
        await screen.until(lambda: f"{area.start:x}" in screen.text, "the mapping")
        while not screen.selected.startswith(f"{area.start:x}"):
            await screen.press("down")
        await screen.press("enter", *["right"] * 3, "v", *["right"] * 4, "v")
        first, end = screen.live.view.marked_range
        assert area.start < first < end < area.start + 3000 * PAGE
        await screen.press("d", "right", "down", "down", "right", "right")
        await screen.shows(f"marked {first:x}–{end:x}")
        await screen.press("enter")
        await screen.shows("open it")
        (name,) = os.listdir(folder)
        assert snapshot_memory(folder / name, first, end - first) == memory_of(writer.pid, first, end - first)
        outcome = screen.live.report.outcome
        assert [(only.start, only.end) for only in outcome.job.only] == [(first, end)]
        assert outcome.result.stored == end - first


async def test_a_disk_that_does_not_answer_does_not_stop_the_screen(
    writer: Writer, area: Area, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, asked_on, free = threading.Event(), set[str](), Dumps.free

    def hangs(path: str) -> int | None:
        asked_on.add(threading.current_thread().name)
        if path == "far":
            answers.wait(PATIENCE)
        return free(path)

    monkeypatch.setattr(Dumps, "free", staticmethod(hangs))
    try:
        async with live(writer.pid, arm=False) as screen:
            await screen.press("d", "up", "left")
            await screen.shows("‹ full ›")  # takes no tracker
            await screen.press("down", "down")
            await screen.retype("far")
            await screen.press("enter")
            await screen.shows("waits for the disk of far")
            before = screen.live.view.sample
            await screen.until(lambda: screen.live.view.sample is not before, "samples go on")
            await screen.retype("near")  # another disk answers
            await screen.until(lambda: "free" in screen.text and "waits" not in screen.text, "an answer")
            await screen.retype("far")
            await screen.press("enter")
            assert screen.dumps.busy is None
            answers.set()
            await screen.shows("open it")
            assert os.listdir(folder) == ["far"]
    finally:
        answers.set()
    assert asked_on == {"memtop-places"}


@pytest.mark.usefixtures("needs_write_protect")
async def test_a_mapping_that_goes_while_the_dialog_is_open(writer: Writer, area: Area, folder: Path) -> None:
    async with live(writer.pid, size=(120, 30)) as screen:
        await screen.until(lambda: f"{area.start:x}" in screen.text, "the mapping")
        while not screen.selected.startswith(f"{area.start:x}"):
            await screen.press("down")
        await screen.press("d", "down", "down", "right")
        await screen.shows(f"mapping {area.start:x}")
        area.do("unmap", 0, 3000)
        await screen.shows("nothing of it is left to dump")
        await screen.press("enter")
        assert screen.dumps.busy is None
    assert os.listdir(folder) == []


@pytest.mark.usefixtures("needs_write_protect")
async def test_an_increment_on_top_of_the_snapshot_before(writer: Writer, area: Area, folder: Path) -> None:
    async with live(writer.pid) as screen:
        await screen.press("d", "right", "enter")
        await screen.shows("open it")
        (first,) = os.listdir(folder)
        area.poke(7)
        await screen.press("d", "right")
        await screen.shows(first, "reads only what was written since")
        await screen.press("down", "end", "ctrl+u", "2", "enter")
        await screen.until(lambda: (folder / "2").exists() and screen.dumps.busy is None, "the second")
        assert (folder / "2").stat().st_size < 0.2 * (folder / first).stat().st_size
        assert snapshot_memory(folder / "2", area.start, 3000 * PAGE) == memory_of(
            writer.pid, area.start, 3000 * PAGE
        )


@pytest.mark.usefixtures("needs_write_protect")
async def test_one_that_runs_can_be_watched_and_cancelled(writer: Writer, folder: Path) -> None:
    area = writer.map("area", "anon", 60000)
    area.fill()
    async with live(writer.pid) as screen:
        screen.dumps.gate = threading.Event()
        await screen.press("d", "enter")
        await screen.shows("dump of writer", "round 1", "of 23")
        samples = screen.live.view.newest.time
        await screen.until(lambda: screen.live.view.newest.time > samples, "the screen goes on meanwhile")
        await screen.press("d")
        await screen.shows("Cancel the dump of writer", "at a time")
        await screen.press("escape")
        assert screen.dumps.busy is not None
        await screen.press("w", "enter")  # stop tracking
        await screen.shows("a dump follows what is written")
        await screen.press("d", "enter")
        await screen.shows("is being cancelled")
        screen.dumps.gate.set()
        await screen.shows("was cancelled: nothing of it is left")
        assert screen.live.view.tracking
    assert os.listdir(folder) == []
    area.poke(0)  # it lives


@pytest.mark.usefixtures("needs_write_protect")
async def test_leaving_asks_while_a_dump_runs(writer: Writer, folder: Path) -> None:
    area = writer.map("area", "anon", 60000)
    area.fill()
    async with live(writer.pid) as screen:
        screen.dumps.gate = threading.Event()
        await screen.press("d", "enter")
        await screen.shows("round 1")
        await screen.press("q")
        await screen.shows("Quit", "is not complete, and nothing of it is left")
        await screen.press("escape")
        assert screen.app.is_running
        await screen.press("q", "enter")
        assert screen.app.return_value == 0
    assert os.listdir(folder) == []


@pytest.mark.usefixtures("needs_write_protect")
async def test_a_process_that_ends_in_the_middle(new_writer: Callable[[], Writer], folder: Path) -> None:
    writer = new_writer()
    writer.map("area", "anon", 60000).fill()
    async with live(writer.pid) as screen:
        screen.dumps.gate = threading.Event()
        await screen.press("d", "enter")
        await screen.shows("round 1")
        writer.__exit__()
        screen.dumps.gate.set()
        await screen.until(lambda: screen.dumps.busy is None, "the end")
        await screen.shows(f"the dump of process {writer.pid} can't be finished: it ended")
        await screen.press("x", "d")
        await screen.shows("has ended: nothing can be done to it")
    assert os.listdir(folder) == []


@pytest.mark.usefixtures("needs_write_protect")
async def test_a_frozen_picture_stays_and_the_dump_is_of_now(
    writer: Writer, area: Area, folder: Path
) -> None:
    async with live(writer.pid) as screen:
        await screen.press("space")
        await screen.pilot.pause()
        shown_now = screen.live.view.sample
        area.poke(11)
        await screen.press("d")
        await screen.shows("the dump is of now")
        await screen.press("right", "down", "end", "ctrl+u", "s", "enter")
        await screen.shows("open it")
        assert screen.live.view.sample is shown_now
        assert snapshot_memory(folder / "s", area.start, 3000 * PAGE) == memory_of(
            writer.pid, area.start, 3000 * PAGE
        )
        await screen.press("escape", "space")
        await screen.until(lambda: screen.live.view.sample is not shown_now, "it goes on")
        written = {a for s in screen.live.view.recent(50) for a in s.runs.addresses()}
        assert area.start + 11 * PAGE in written  # what the dump's own looks saw is on the screen, too


@pytest.mark.usefixtures("needs_write_protect", "needs_root")
async def test_a_full_disk_is_one_sentence(writer: Writer, area: Area, folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=72m", "tmpfs", folder], check=True)
    try:
        os.chdir(folder)
        writer.map("more", "anon", 9000).fill()
        async with live(writer.pid) as screen:
            await screen.press("d")
            await screen.shows("! about 4", "only 8.0M free")
            await screen.press("enter")
            await screen.shows("takes", "free some space")
            assert "file system has 8.0M to spare" in " ".join(screen.text.split())
        assert os.listdir(folder) == []
    finally:
        os.chdir("/")
        # A helper process that is about to end may be in it still.
        wait_for(lambda: subprocess.run(["umount", folder], check=False).returncode == 0, "nobody uses it")


@pytest.mark.usefixtures("needs_write_protect", "needs_root")
async def test_a_directory_without_permission(writer: Writer, area: Area) -> None:
    async with live(writer.pid) as screen:
        await screen.press("d", "down")
        await screen.retype("/proc/1/core")
        await screen.press("enter")
        await screen.until(lambda: screen.dumps.busy is None, "the end")
        await screen.shows("writing /proc/1/core is not permitted: you may not write there")
        assert "open it" not in screen.text


async def test_read_only_recorded_and_made_up_sources_say_why_not(tmp_path: Path) -> None:
    async with opened(FakeSource(readonly=True)) as screen:
        await screen.press("d")
        assert "memtop was started with --readonly" in screen.text
    async with opened() as screen:
        await screen.press("d")
        assert "dumps are made where memtop shows live processes" in screen.text
    async with shown(View("replay", live=False), (80, 24), MONO, tmp_path) as app:
        app.live.action_dump()
        await asyncio.sleep(0)
        assert "this is a recording" in app.live._notice.text


@pytest.mark.usefixtures("needs_write_protect")
@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_all_lines_of_the_dialog_fit(
    writer: Writer, area: Area, folder: Path, size: tuple[int, int]
) -> None:
    async with live(writer.pid, size=size) as screen:
        await screen.press("space", "d", "right", "down")
        await screen.shows(
            "Dump writer", "format", "file", "range", "parent", "freeze", "about", "the dump is of now"
        )
        row = next(i for i, line in enumerate(screen.lines) if line.startswith(" ▸ file"))
        assert screen.live.form.input.region.y == row
        await screen.press("enter")
        await screen.shows("open it", ".snap")
        with contextlib.suppress(FileNotFoundError):
            assert len(os.listdir(folder)) == 1


@pytest.mark.usefixtures("needs_write_protect")
async def test_under_soft_dirty_the_stops_are_named(writer: Writer, area: Area, folder: Path) -> None:
    """Whatever is chosen: reading what was written takes one. A sample stands in for a kernel that has it."""
    async with live(writer.pid) as screen:
        await screen.press("space", "d")
        choice = screen.live.form.choice
        assert choice is not None
        sample = choice.view.newest
        assert sample is not None
        assert not any("soft-dirty" in line for line, _ in choice.lines(frozen=False))
        choice.view._newest = replace(sample, tracker=replace(sample.tracker, name="soft-dirty"))
        choice.part = Part.FREEZE
        for freeze in Freeze:
            while choice.freeze is not freeze:
                choice.change(1)
            lines = " ".join(line for line, _ in choice.lines(frozen=False))
            assert ("it stands still for each look at what it wrote" in lines) is (freeze is not Freeze.FULL)
            assert "no stop" not in lines
            assert "never" not in choice.value(Part.FREEZE)[1]


async def test_an_untracked_process_says_what_is_not_known(writer: Writer, area: Area, folder: Path) -> None:
    async with live(writer.pid, arm=False) as screen:
        await screen.press("d")
        await screen.shows("not known, as writes are not tracked")
        await screen.shows("tracks writes meanwhile: ", "one stop of about 0.2ms", "a fault a written")
        await screen.press("up", "left")
        await screen.shows("‹ full ›")
        assert "tracks writes meanwhile" not in screen.text
