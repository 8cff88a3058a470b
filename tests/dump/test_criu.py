"""CRIU images as crit reads them, beside the memory of the process."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from crit import Images, crit, decode
from dumps import PAGE, Dumpee, take
from harness import Writer, memory_of, run, status, wait_for

from memtop.dump import criu
from memtop.dump.convert import convert
from memtop.dump.image import Freeze
from memtop.dump.job import Format, Job, dump
from memtop.dump.progress import Progress
from memtop.linux.errors import Failed
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle

pytestmark = pytest.mark.usefixtures("needs_write_protect")


@pytest.mark.parametrize("freeze", list(Freeze))
def test_crit_reads_what_memory_has(writer: Writer, tmp_path: Path, freeze: Freeze) -> None:
    kinds = {"a": "private", "b": "shared", "c": "anon", "d": "thp", "e": "private-memfd"}
    areas = [writer.map(name, kind, 1024 if kind == "thp" else 200) for name, kind in kinds.items()]
    for area in areas:
        area.poke(7, 50)
    os.kill(writer.pid, signal.SIGSTOP)  # or the kernel notes in its memory on which CPU it woke up (rseq)
    wait_for(lambda: status(writer.pid, "State").startswith("T"), "stopped")
    take(writer.pid, tmp_path / "dump", Format.CRIU, freeze=freeze)
    images = Images(tmp_path / "dump", writer.pid)
    for area in areas:
        size = area.pages * PAGE
        if area.name != "e":  # of a file: what is not there is the file's
            assert images.read(area.start, size) == memory_of(writer.pid, area.start, size), area.name
    for address, at in images.pages.items():
        assert images.contents[at : at + PAGE] == memory_of(writer.pid, address, PAGE), hex(address)
    assert len(images.pages) >= 5 * 50
    os.kill(writer.pid, signal.SIGCONT)


def test_the_mappings(writer: Writer, tmp_path: Path) -> None:
    area = writer.map("a", "anon", 20)
    area.poke(1, 5)
    take(writer.pid, tmp_path / "dump", Format.CRIU, take_all=True)
    images = Images(tmp_path / "dump", writer.pid)
    maps = [line.split(None, 5) for line in Path(f"/proc/{writer.pid}/maps").read_text().splitlines()]
    assert len(images.mm["vmas"]) == len(maps)
    for vma, (span, perms, offset, _, inode, *name) in zip(images.mm["vmas"], maps, strict=True):
        assert f"{vma['start']:08x}-{vma['end']:08x}" == span
        assert vma["prot"] == sum(bit for bit, c in zip((1, 2, 4), perms, strict=False) if c != "-")
        assert bool(vma["flags"] & 1) == (perms[3] == "s")
        if inode != "0" and name[0].startswith("/") and "zero" not in name[0]:
            assert images.files[vma["shmid"]] == name[0].strip()
            assert vma["pgoff"] == int(offset, 16)
    # fields 26 to 28 and 45 to 51 of proc_pid_stat(5)
    fields = Path(f"/proc/{writer.pid}/stat").read_text().rsplit(")", 1)[1].split()
    told = [int(fields[n - 3]) for n in (26, 27, 45, 46, 28, 47)]
    names = ("start_code", "end_code", "start_data", "end_data", "start_stack", "start_brk")
    assert [images.mm[f"mm_{name}"] for name in names] == told
    auxv = Path(f"/proc/{writer.pid}/auxv").read_bytes()
    assert b"".join(word.to_bytes(8, "little") for word in images.mm["mm_saved_auxv"]) == auxv
    assert images.files[images.mm["exe_file_id"]] == os.readlink(f"/proc/{writer.pid}/exe")
    said = crit("x", tmp_path / "dump", "mems")
    assert "[stack]" in said
    assert os.readlink(f"/proc/{writer.pid}/exe") in said
    assert f"{images.entries[0]['vaddr']:x} / " in crit("x", tmp_path / "dump", "rss")
    assert '"img_version": 2' in crit("show", tmp_path / "dump" / "inventory.img")
    (tree,) = decode(tmp_path / "dump" / "pstree.img")
    assert tree["pid"] == writer.pid
    assert tree["pgid"] == os.getpgid(writer.pid)


def test_while_it_writes(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    """One point in time, and pages that came in late stand where their addresses belong."""
    process = dumpee(4, 512, 20000)
    result = take(process.pid, tmp_path / "dump", Format.CRIU)
    assert result.image.statement.rounds
    process.judge(Images(tmp_path / "dump", process.pid).read, point=True)


def test_pages_that_come_and_go_in_between(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(criu, "_STEP", 8 * PAGE)
    area, other = writer.map("a", "private", 600), writer.map("b", "private", 600)
    area.poke(100, 100)
    other.poke(0, 300)
    steps = iter(range(100))

    def change(progress: Progress) -> None:
        step = next(steps)
        if progress.round and step < 4 and not progress.stop_s:  # after the stop it would not be in the dump
            area.poke(10 + 40 * step, 20)
            other.do("discard", step * 7, 5)

    with ProcessHandle.open(writer.pid) as handle:
        dump(Job(str(tmp_path / "dump"), Format.CRIU), handle, probe_kernel(), watch=change)
    images = Images(tmp_path / "dump", writer.pid)
    for mapping in (area, other):
        size = mapping.pages * PAGE
        assert images.read(mapping.start, size) == memory_of(writer.pid, mapping.start, size)
    assert (tmp_path / "dump" / "pages-1.img").stat().st_blocks * 512 <= len(images.contents) + (1 << 20)


def test_from_any_point_of_a_chain(writer: Writer, tmp_path: Path) -> None:
    area = writer.map("a", "private", 100)
    truths = []
    for i in range(3):
        area.poke(i * 20, 30)
        parent = str(tmp_path / str(i - 1)) if i else None
        take(writer.pid, tmp_path / str(i), Format.SNAPSHOT, parent=parent)
        truths.append(memory_of(writer.pid, area.start, area.pages * PAGE))
    for i, truth in enumerate(truths):
        convert(str(tmp_path / str(i)), str(tmp_path / f"images{i}"), Format.CRIU)
        images = Images(tmp_path / f"images{i}", writer.pid)
        assert images.read(area.start, len(truth)) == truth
        assert images.mm["mm_start_stack"]
    done = run("core", str(tmp_path / "2"), "-o", str(tmp_path / "whole"), "--format", "snapshot")
    assert done.code == 0, done.err
    for i in range(3):
        (tmp_path / str(i)).unlink()
    done = run("verify", str(tmp_path / "whole"))
    assert "whole: one file" in done.out
    convert(str(tmp_path / "whole"), str(tmp_path / "again"), Format.CRIU)
    assert Images(tmp_path / "again", writer.pid).read(area.start, len(truths[2])) == truths[2]


def test_it_is_marked(dumpee: Callable[..., Dumpee], tmp_path: Path) -> None:
    process = dumpee()
    done = run("dump", "-p", str(process.pid), "-o", f"{tmp_path}/dump/", "--format", "criu")
    assert done.code == 0, done.err
    assert "memory only" in done.out
    assert stat.S_IMODE((tmp_path / "dump").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "dump").iterdir()} == {0o600}
    said = json.loads((tmp_path / "dump" / "memtop.json").read_text())
    assert said["memory_only"] is True
    assert said["consistency"] == "point"
    assert {"left_out"} <= {part["why"] for part in said["not_known"]}
    assert not list((tmp_path / "dump").glob("core-*"))  # without which criu restores nothing


def test_to_a_pipe_it_can_not_go(dumpee: Callable[..., Dumpee]) -> None:
    process = dumpee()
    done = run("dump", "-p", str(process.pid), "-o", "-", "--format", "criu")
    assert done.code == 1
    done.said("standard output", "directory")


def test_without_nameless_files(
    dumpee: Callable[..., Dumpee], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hidden names instead; and no renameat2 that refuses to replace."""
    process = dumpee()
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_CREAT)  # refused with EINVAL
    monkeypatch.setattr("memtop.linux.rename.lib", SimpleNamespace(mt_rename_new=lambda *_: 0))
    take(process.pid, tmp_path / "dump", Format.CRIU)
    assert os.listdir(tmp_path) == ["dump"]
    process.judge(Images(tmp_path / "dump", process.pid).read, point=True)
    (tmp_path / "taken").mkdir()

    def squat(_: Progress) -> None:
        (tmp_path / "late").mkdir(exist_ok=True)

    with ProcessHandle.open(process.pid) as handle:
        for name in ("taken", "late"):
            job = Job(str(tmp_path / name), Format.CRIU)
            with pytest.raises(Failed):
                dump(job, handle, probe_kernel(), watch=squat)
    assert sorted(os.listdir(tmp_path)) == ["dump", "late", "taken"]
    assert not os.listdir(tmp_path / "late")
