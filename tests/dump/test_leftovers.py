"""Where a file system has no files without a name: what a kill -9 leaves, and who takes it away."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from crit import Images
from dumps import Core, Dumpee
from harness import memtop, spawned
from test_output import FOREVER, FORMATS, await_round, untouched

from memtop.dump.job import Format, open_output
from memtop.dump.leftovers import create_directory, hidden_name, sweep
from memtop.dump.nameless import Nameless
from memtop.dump.verify import verify
from memtop.linux.errors import Failed

pytestmark = pytest.mark.usefixtures("needs_write_protect")


def swept(place: Path) -> list[str]:
    """What is there after a sweep."""
    fd = os.open(place, os.O_RDONLY)
    try:
        sweep(fd)
    finally:
        os.close(fd)
    return sorted(os.listdir(place))


@pytest.mark.parametrize("format", FORMATS)
def test_killed_and_once_more(
    dumpee: Callable[..., Dumpee], build: Callable[[str], Path], tmp_path: Path, format: str
) -> None:
    process = dumpee()
    sandbox = [str(build("sandbox")), "O_TMPFILE", "--"]
    words = ["dump", "-p", str(process.pid), "-o", str(tmp_path / "dump"), "--format", format]
    slow = [*sandbox, sys.executable, "-c", FOREVER, "1", *words]
    with spawned(slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        await_round(child, 1)
        (hidden,) = os.listdir(tmp_path)
        assert hidden.startswith(".dump.")
        assert swept(tmp_path) == [hidden], "it lives"
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert os.listdir(tmp_path) == [hidden]
    done = subprocess.run([*sandbox, *memtop(*words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == ["dump"]
    untouched(process)


def test_nothing_else_is_swept(tmp_path: Path) -> None:
    mine = hidden_name("dump")
    (tmp_path / mine).touch(0o600)
    images = tmp_path / hidden_name("images")
    images.mkdir(0o700)
    (images / "pages-1.img").touch(0o600)
    foreign = [".dump.deadbeef.partial", f"{mine}.txt", mine.lstrip("."), hidden_name("open to others")]
    for name in foreign[:3]:
        (tmp_path / name).touch(0o600)
    (tmp_path / foreign[3]).touch(0o644)
    link, pipe, full = hidden_name("link"), hidden_name("pipe"), hidden_name("full")
    (tmp_path / link).symlink_to(tmp_path / foreign[0])
    os.mkfifo(tmp_path / pipe, 0o600)
    (tmp_path / full / "a directory").mkdir(parents=True)
    (tmp_path / full).chmod(0o700)
    assert swept(tmp_path) == sorted([*foreign, link, pipe, full])


@pytest.fixture
def hidden_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_CREAT)  # refused with EINVAL


def test_one_that_is_being_written_stays(tmp_path: Path, hidden_names: None) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        first = Nameless(directory, "a" * 255)
        (name,) = os.listdir(tmp_path)
        assert len(os.fsencode(name)) < 256
        second = Nameless(directory, "b")
        assert len(os.listdir(tmp_path)) == 2
        second.link("b")
        first.close()
        assert os.listdir(tmp_path) == ["b"]
        second.close()
    finally:
        os.close(directory)


Meanwhile = Callable[[int, str], None]


@pytest.fixture
def before_a_lock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Meanwhile], None]:
    """Has ``meanwhile(descriptor, hidden name)`` happen just before the next flock(2)."""

    def arrange(place: Path, meanwhile: Meanwhile) -> None:
        real = fcntl.flock

        def flock(fd: int, how: int) -> None:
            monkeypatch.setattr(fcntl, "flock", real)
            (name,) = (name for name in os.listdir(place) if name.startswith("."))
            meanwhile(fd, name)
            real(fd, how)

        monkeypatch.setattr(fcntl, "flock", flock)

    return arrange


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("locked", [True, False], ids=["about to be", "already"])
def test_swept_away_before_it_was_claimed(
    tmp_path: Path,
    hidden_names: None,
    before_a_lock: Callable[[Path, Meanwhile], None],
    format: str,
    locked: bool,
) -> None:
    """Another memtop may find the name before it is locked; then there is another one."""
    others = []

    def sweep_it(_: int, name: str) -> None:
        if locked:
            others.append(os.open(tmp_path / name, os.O_RDONLY))
            fcntl.flock(others[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            (tmp_path / name).unlink()

    before_a_lock(tmp_path, sweep_it)
    with open_output(str(tmp_path / "dump"), Format(format)) as output:
        for fd in others:
            for name in os.listdir(tmp_path):
                if os.path.samestat(os.stat(tmp_path / name), os.fstat(fd)):
                    (tmp_path / name).unlink()
            os.close(fd)
        output.commit()
    assert os.listdir(tmp_path) == ["dump"]


def test_a_directory_that_is_swept_away_as_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, removed = os.mkdir, []

    def mkdir(name: str, *args: Any, dir_fd: int) -> None:
        real(name, *args, dir_fd=dir_fd)
        if not removed:
            removed.append(name)
            os.rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", mkdir)
    with open_output(str(tmp_path / "dump"), Format.CRIU) as output:
        output.commit()
    assert os.listdir(tmp_path) == ["dump"]
    assert removed


def test_one_that_becomes_whole_while_it_is_swept(
    tmp_path: Path, before_a_lock: Callable[[Path, Meanwhile], None]
) -> None:
    """Its lock is free then; but it is under its final name."""
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        fd, hidden = create_directory(directory, "dump")
        (tmp_path / hidden / "pages-1.img").touch()

        def finish(_: int, name: str) -> None:
            os.rename(tmp_path / name, tmp_path / "dump")
            os.close(fd)

        before_a_lock(tmp_path, finish)
        sweep(directory)
    finally:
        os.close(directory)
    assert os.listdir(tmp_path / "dump") == ["pages-1.img"]
    assert os.listdir(tmp_path) == ["dump"]


NO_LINKS = ["O_TMPFILE", "linkat"]
NOTHING = [
    *NO_LINKS, "O_DIRECT", "flock=ENOLCK", "fallocate=EOPNOTSUPP", "renameat2=EINVAL", "sendfile=EINVAL"
]  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("lacks", [NO_LINKS, NOTHING], ids=["no links", "little"])
def test_a_file_system_that_can_do_little(
    dumpee: Callable[..., Dumpee], build: Callable[[str], Path], tmp_path: Path, format: str, lacks: list[str]
) -> None:
    process, path = dumpee(2, 2048), tmp_path / "dump"
    command = memtop("dump", "-p", str(process.pid), "-o", str(path), "--format", format)
    done = subprocess.run(
        [str(build("sandbox")), *lacks, "--", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == ["dump"]
    if format == "core":
        core = Core(path)
        process.judge(core.read, point=True)
        core.close()
    elif format == "snapshot":
        verify(str(path))
    else:
        process.judge(Images(path, process.pid).read, point=True)


@pytest.mark.parametrize("replaces", [True, False], ids=["renameat2", "no renameat2"])
def test_without_links_nothing_is_written_over(
    tmp_path: Path, hidden_names: None, monkeypatch: pytest.MonkeyPatch, replaces: bool
) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "")

    monkeypatch.setattr(os, "link", link)
    if not replaces:
        monkeypatch.setattr("memtop.linux.rename.lib", SimpleNamespace(mt_rename_new=lambda *_: 0))
    with open_output(str(tmp_path / "dump"), Format.CORE) as output:
        (tmp_path / "dump").write_text("mine")
        with pytest.raises(Failed, match="came up meanwhile"):
            output.commit()
    assert (tmp_path / "dump").read_text() == "mine"
    assert os.listdir(tmp_path) == ["dump"]
    (tmp_path / "dump").unlink()
    with open_output(str(tmp_path / "dump"), Format.CORE) as output:
        os.write(output.fd, b"whole")
        output.commit()
    assert (tmp_path / "dump").read_text() == "whole"
    assert os.listdir(tmp_path) == ["dump"]
