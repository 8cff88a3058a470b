"""Where a file system has no files without a name: what a kill -9 leaves, and who takes it away."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dumps import Dumpee
from harness import memtop, spawned
from test_output import FOREVER, FORMATS, untouched

from memtop.dump.leftovers import hidden_name, sweep
from memtop.dump.nameless import Nameless

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
    with spawned(slow, stdout=subprocess.PIPE, text=True) as child:
        while child.stdout.readline().split()[:2] != ["round", "1"]:  # type: ignore[union-attr]
            pass
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


def test_one_that_is_being_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_CREAT)  # refused with EINVAL
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


def test_swept_away_just_before_it_was_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another memtop may find the name before it is locked; then there is another one."""
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_CREAT)
    real, taken = fcntl.flock, []

    def flock(fd: int, how: int) -> None:
        if not taken:
            taken.extend(os.listdir(tmp_path))
            (tmp_path / taken[0]).unlink()
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        file = Nameless(directory, "dump")
        assert os.listdir(tmp_path) != taken
        file.link("dump")
        file.close()
    finally:
        os.close(directory)
    assert os.listdir(tmp_path) == ["dump"]
