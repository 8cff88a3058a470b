"""A disk quota that is used up in the middle of a dump: quotactl(2)."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import identity
import pytest

from memtop.dump.job import Format

MOUNTS = Path("/proc/mounts")
SET_USER_QUOTA = ctypes.c_int(0x80000800 - (1 << 32))
BLOCK_LIMITS = 1
_libc = ctypes.CDLL(None, use_errno=True)
LIMIT = 4 << 20
"""Bytes that the user may write."""


@pytest.fixture
def small_quota(tmp_path: Path, needs_guest: None) -> Iterator[Path]:
    """A directory where ``identity.USER`` may write 4 MiB, on a file system that has far more room."""
    disk, place = tmp_path / "disk", Path(tempfile.mkdtemp())  # pytest's own are closed to other users
    with disk.open("wb") as file:
        file.truncate(256 << 20)
    make = ["mkfs.ext4", "-q", "-F", "-O", "quota", "-E", "quotatype=usrquota", disk]
    mount = ["mount", "-t", "ext4", "-o", "loop,usrquota", disk, place]
    for command in (make, mount):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"missing capability: quotas of ext4 on a loop device ({done.stderr.strip()})")
    try:
        device = next(line.split()[0] for line in MOUNTS.read_text().splitlines() if f" {place} " in line)
        limits = struct.pack("<8QI4x", LIMIT // 1024, LIMIT // 1024, 0, 0, 0, 0, 0, 0, BLOCK_LIMITS)
        if _libc.quotactl(SET_USER_QUOTA, device.encode(), identity.USER, limits):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        place.chmod(0o777)
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()


@pytest.fixture
def target() -> Iterator[int]:
    """A process of that user that has written 16 MiB of what is not zeros."""
    program = "import os, sys; x = os.urandom(16 << 20); print(flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=identity.USER,
        group=identity.USER, extra_groups=[],
    )  # fmt: skip
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
        os.kill(child.pid, 0)
        assert child.poll() is None, "the target is unharmed"
        child.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("format", [f.value for f in Format])
def test_the_quota_is_used_up(small_quota: Path, target: int, format: str) -> None:
    command = [sys.executable, "-m", "memtop", "dump", "-p", str(target), "-o", small_quota / "dump"]
    done = subprocess.run(
        [*command, "--freeze", "full", "--format", format], user=identity.USER, group=identity.USER,
        extra_groups=[], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "your disk quota is used up (free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(small_quota) == ["lost+found"]
