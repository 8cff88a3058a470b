"""A thread that waits for a file system in user space: a stop would have it told to give up (fuse(4))."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import life as sys
import pytest
from harness import wait_for
from life import Life

from memtop.linux import threads
from memtop.linux.errors import Failed
from memtop.linux.process import ProcessHandle
from memtop.linux.ptrace import create_userfaultfd
from memtop.linux.standstill import frozen
from memtop.linux.threads import waits_for_fuse

pytestmark = pytest.mark.usefixtures("needs_write_protect", "needs_root")

LIBC = ctypes.CDLL(None, use_errno=True)
MNT_FORCE, MNT_DETACH = 1, 2
LOOKUP, GETATTR, OPEN, READ, FORGET, INIT, INTERRUPT = 1, 3, 14, 15, 2, 26, 36
ROOT, FILE, DIRECT_IO = 1, 2, 1
SIZE = 100


class Slow:
    """A file system with one file, ``file``, which is read when ``answer`` says so."""

    def __init__(self, where: Path) -> None:
        self.where, self.reads, self.interrupted = where, list[int](), list[int]()
        try:
            self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            pytest.skip(f"missing capability: /dev/fuse ({error.strerror})")
        how = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0".encode()
        if LIBC.mount(b"memtop", bytes(where), b"fuse", 0, how):
            os.close(self._fd)
            pytest.skip(f"missing capability: mounting FUSE ({os.strerror(ctypes.get_errno())})")
        self._thread = Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Who waits for it gets an error."""
        LIBC.umount2(bytes(self.where), MNT_FORCE)
        LIBC.umount2(bytes(self.where), MNT_DETACH)
        self._thread.join()
        os.close(self._fd)

    def answer(self) -> None:
        self._reply(self.reads.pop(), bytes(SIZE))

    def _reply(self, request: int, data: bytes = b"", error: int = 0) -> None:
        os.write(self._fd, struct.pack("<IiQ", 16 + len(data), -error, request) + data)

    def _serve(self) -> None:
        while True:
            try:
                message = os.read(self._fd, 1 << 20)
            except OSError:  # unmounted
                return
            _, verb, request, node = struct.unpack_from("<IIQQ", message)
            kind = 0o40755 if node == ROOT and verb != LOOKUP else 0o100644
            attributes = struct.pack("<6Q10I", FILE, SIZE, 1, *[0] * 6, kind, 1, *[0] * 3, 4096, 0)
            if verb == INIT:
                self._reply(
                    request, struct.pack("<IIIIHHIIHH32x", 7, 31, 1 << 16, 0, 12, 10, 1 << 16, 1, 16, 0)
                )
            elif verb == LOOKUP:
                self._reply(request, struct.pack("<QQQQII", FILE, 0, SIZE, SIZE, 0, 0) + attributes)
            elif verb == GETATTR:
                self._reply(request, struct.pack("<QII", SIZE, 0, 0) + attributes)
            elif verb == OPEN:
                self._reply(request, struct.pack("<QII", 1, DIRECT_IO, 0))
            elif verb == READ:
                self.reads.append(request)
            elif verb == INTERRUPT:
                self.interrupted.append(request)
            elif verb != FORGET:
                self._reply(request, error=38)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Slow]:
    slow = Slow(tmp_path)
    yield slow
    slow.close()


def read(life: Life, slow: Slow) -> None:
    """The target's main thread begins to wait."""
    file, room = life.open(slow.where / "file", os.O_RDONLY), life.map(1).start
    life.send("sys", sys.READ, file, room, SIZE)
    wait_for(lambda: slow.reads, "a read")
    wchan = Path(f"/proc/{life.pid}/wchan")
    try:  # the file system hears of it before the thread has gone to sleep
        wait_for(lambda: wchan.read_text() != "0", "the wait for it", 10)
    except AssertionError:
        pytest.skip("missing capability: /proc/PID/wchan (CONFIG_KALLSYMS)")


def test_it_is_not_stopped(life: Life, slow: Slow) -> None:
    read(life, slow)
    with ProcessHandle.open(life.pid) as process:
        with pytest.raises(Failed, match="FUSE"):
            create_userfaultfd(process)
        slow.answer()
        assert life.answer() == SIZE
        os.close(create_userfaultfd(process).fd)
    assert not slow.interrupted


def test_all_threads_are_not_stopped_either(life: Life, slow: Slow) -> None:
    life.ask("thread")
    read(life, slow)
    with ProcessHandle.open(life.pid) as process:
        with pytest.raises(Failed, match=f"thread {life.pid} waits .*FUSE"), frozen(process):
            pass
        slow.answer()
        assert life.answer() == SIZE
        with frozen(process) as still:
            assert len(still.release().threads) == 2
    assert not slow.interrupted


def test_it_is_waited_for(life: Life, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that reads such files all the time is found outside of its waits."""
    read(life, slow)
    looks: list[int] = []

    def look(tid: int) -> bool:
        looks.append(tid)
        if len(looks) == 4:
            slow.answer()
            assert life.answer() == SIZE
        return waits_for_fuse(tid)

    monkeypatch.setattr(threads, "waits_for_fuse", look)
    monkeypatch.setattr(threads, "PATIENCE_S", 60)
    with ProcessHandle.open(life.pid) as process:
        os.close(create_userfaultfd(process).fd)
    assert not slow.interrupted


def test_another_thread_is_taken(life: Life, slow: Slow) -> None:
    life.ask("thread")
    read(life, slow)
    with ProcessHandle.open(life.pid) as process:
        injection = create_userfaultfd(process)
        os.close(injection.fd)
    assert injection.tid != life.pid
    slow.answer()
    assert life.answer() == SIZE
    assert not slow.interrupted
