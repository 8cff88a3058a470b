"""A core of a snapshot has pages of program and libraries from their files, if those are what they were."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from dumps import PAGE, Core, take
from harness import spawned, wait_for

from memtop.dump.convert import convert
from memtop.dump.job import Format
from memtop.dump.notes import NT_MEMTOP

pytestmark = pytest.mark.usefixtures("needs_write_protect")
PAGES = 128
PROGRAM = f"""
#include <sys/mman.h>
#include <unistd.h>
const char table[{PAGES} << 12] __attribute__((aligned(4096))) = "first";
int main(void) {{
  char word[] = {{'u', 'p', '\\n'}};  // nothing near the table is touched from here on
  madvise((char *)table, sizeof table, MADV_DONTNEED);
  write(1, word, sizeof word);
  for (;;) pause();
}}
"""


@dataclass
class Taken:
    """A snapshot of a process that has ended since; ``at``: a range of a file that it had not read."""

    program: Path
    snapshot: Path
    at: int
    size: int
    offset: int


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A program whose table has pages to be recognized; where in the file they begin."""
    if shutil.which("gcc") is None:
        pytest.skip("missing capability: gcc")
    place = tmp_path_factory.mktemp("tabled")
    source, program = place / "program.c", place / "program"
    source.write_text(PROGRAM)
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-Wno-unused-result", "-o", program, source], check=True)
    with open(program, "r+b") as file:
        offset = file.read().index(b"first") + PAGES // 2 * PAGE
        file.seek(offset)
        file.write(b"".join(b"page %9d" % n + bytes(PAGE - 14) for n in range(32)))
    return program, offset


@pytest.fixture
def taken(built: tuple[Path, int], tmp_path: Path) -> Taken:
    offset, program = built[1], tmp_path / "program"
    shutil.copy(built[0], program)
    wait_for(lambda: time.time() > program.stat().st_ctime + 0.2, "the file is older than the snapshot")
    with spawned([program], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"  # type: ignore[union-attr]  # a pipe
        Path(f"/proc/{process.pid}/coredump_filter").write_text("0x3f")
        at = address_of(process.pid, program, offset)
        take(process.pid, tmp_path / "snapshot", Format.SNAPSHOT)
    return Taken(program, tmp_path / "snapshot", at, 32 * PAGE, offset)


def address_of(pid: int, program: Path, offset: int) -> int:
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        words = line.split()
        start, end = (int(word, 16) for word in words[0].split("-"))
        first = int(words[2], 16)
        if words[-1] == str(program) and first <= offset < first + end - start:
            return start + offset - first
    raise AssertionError("it is not mapped")


def converted(taken: Taken) -> tuple[bytes | None, list[str], list[bytes]]:
    """What the core has there, what memtop says, and what the core says."""
    path = taken.snapshot.with_name("core")
    image = convert(str(taken.snapshot), str(path))
    core = Core(path)
    try:
        return core.read(taken.at, taken.size), image.statement.doubts, core.note(NT_MEMTOP)
    finally:
        core.close()


def test_from_the_file(taken: Taken) -> None:
    contents, doubts, notes = converted(taken)
    assert contents == taken.program.read_bytes()[taken.offset : taken.offset + taken.size]
    assert contents.startswith(b"page         0")
    assert any("from their files" in doubt for doubt in doubts)
    assert len(notes) == 2
    assert b"from their files" in notes[1]


def overwrite(taken: Taken) -> None:
    """Its times are set back, as far as that is possible."""
    before = taken.program.stat()
    with open(taken.program, "r+b") as file:
        file.seek(taken.offset)
        file.write(b"lie!")
    os.utime(taken.program, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(taken: Taken) -> None:
    """By another file of that name."""
    shutil.copy2(taken.program, f"{taken.program}.new")
    os.rename(f"{taken.program}.new", taken.program)


def remove(taken: Taken) -> None:
    taken.program.unlink()


@pytest.mark.parametrize("change", [overwrite, replace, remove])
def test_a_file_that_is_not_what_it_was(taken: Taken, change: Callable[[Taken], None]) -> None:
    """Nothing is taken from it, and that is said."""
    change(taken)
    contents, doubts, notes = converted(taken)
    assert contents is None
    assert any(f"not of {taken.program}" in doubt for doubt in doubts)
    assert b"not of" in notes[1]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), OverflowError()])
def test_a_file_that_can_not_be_read(taken: Taken, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(*_: object) -> bool:
        raise error

    monkeypatch.setattr("memtop.dump.snapshot_files._is_same", fails)
    contents, doubts, _ = converted(taken)
    assert contents is None
    assert any("not of" in doubt for doubt in doubts)


def test_code_that_differs(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its times say: the pages of code that the snapshot holds are compared."""
    overwrite(taken)
    with open(taken.program, "r+b") as file:
        file.seek(1)
        file.write(b"elf")
    real = os.fstat

    def older(fd: int) -> os.stat_result:
        return os.stat_result([*real(fd)[:7], 0, 0, 0])

    monkeypatch.setattr("memtop.linux.mapped_file.os.fstat", older)
    contents, doubts, _ = converted(taken)
    assert contents is None
    assert any("not of" in doubt for doubt in doubts)


def test_a_snapshot_that_knows_nothing_of_the_file(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be made up: then it gets nothing out of a file of this machine."""
    monkeypatch.setattr("memtop.dump.snapshot_files._pieces", lambda area: iter(()))
    assert converted(taken)[0] is None
