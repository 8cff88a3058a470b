"""Who else may write a target's memory, and what the kernel does with it: seen, not seen, and said so."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct, pack

import life as sys
import pytest
from harness import PAGE, Tracked, merged, status, wait_for
from life import ANON, PRIVATE, SHARED, Life, Span, Watch, peek

from memtop.dump.diff import open_memory
from memtop.dump.job import Job, dump
from memtop.dump.progress import Progress
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.linux.uring import registered_buffers

pytestmark = pytest.mark.usefixtures("needs_write_protect")

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long
PTRACE_POKEDATA, PTRACE_DETACH, PTRACE_ATTACH = 5, 17, 16
KSM = Path("/sys/kernel/mm/ksm")


# ---- into the target's own mapping: all of it is seen --------------------------------------------------


@pytest.mark.parametrize("flags", [0, os.O_DIRECT], ids=["read", "direct"])
def test_read_from_a_file(flags: int, life: Life, area: Span, tmp_path: Path, watch: Watch) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(64 * PAGE))
    try:
        fd = life.open(path, os.O_RDONLY | flags)
    except OSError:
        pytest.skip("missing capability: O_DIRECT (the file system of the tests' directory)")
    assert life.sys(sys.READ, fd, area.at(7), 20 * PAGE) == 20 * PAGE
    assert watch.told(area) == ([(area.at(7), 20)], {"exact"})
    watch.exact(area)


def test_process_vm_writev(life: Life, area: Span, watch: Watch) -> None:
    data = ctypes.create_string_buffer(5 * PAGE)
    here = (ctypes.c_void_p * 2)(ctypes.addressof(data), 5 * PAGE)
    there = (ctypes.c_void_p * 2)(area.at(9), 5 * PAGE)
    assert LIBC.process_vm_writev(life.pid, here, 1, there, 1, 0) == 5 * PAGE, os.strerror(ctypes.get_errno())
    assert watch.told(area) == ([(area.at(9), 5)], {"exact"})
    watch.exact(area)


def test_a_debugger_pokes(life: Life, area: Span, watch: Watch) -> None:
    assert LIBC.ptrace(PTRACE_ATTACH, life.pid, None, None) == 0, os.strerror(ctypes.get_errno())
    try:
        os.waitpid(life.pid, 0)
        assert LIBC.ptrace(PTRACE_POKEDATA, life.pid, area.at(11), 42) == 0
        assert watch.told(area) == ([(area.at(11), 1)], {"exact"}), "ticks need no ptrace"
    finally:
        LIBC.ptrace(PTRACE_DETACH, life.pid, None, None)
    watch.exact(area)


def test_a_debugger_pokes_what_may_not_be_written(life: Life, area: Span, watch: Watch) -> None:
    area.protect(sys.R)
    with open(f"/proc/{life.pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(area.at(3))
        memory.write(b"breakpoint")
    assert watch.told(area) == ([(area.at(3), 1)], {"exact"})


# ---- past the target's page tables: not seen, and said so ------------------------------------------------


def test_another_process_writes_the_same_shared_memory(
    life: Life, area: Span, tracked: Callable[[int], Tracked]
) -> None:
    fd = life.memfd(16)
    shared = life.map(16, SHARED, fd)
    shared.write()
    watch = Watch(tracked, life)
    with open(f"/proc/{life.pid}/fd/{fd}", "r+b") as file, mmap.mmap(file.fileno(), 16 * PAGE) as ours:
        ours[3 * PAGE : 3 * PAGE + 5] = b"other"
        assert peek(life, shared.at(3), 5) == b"other"
        assert watch.told(shared) == ([], {"approximate"}), "not seen: so it may not be called exact"
        assert watch.coverage(shared) == {"OTHER_WRITERS"}
    log = shared.write(5, 2)
    assert watch.told(shared) == (log, {"approximate"})


def test_two_mappings_of_the_same_memory(life: Life, tracked: Callable[[int], Tracked]) -> None:
    fd = life.memfd(16)
    one, two = life.map(16, SHARED, fd), life.map(16, SHARED, fd)
    one.write()
    two.read()
    watch = Watch(tracked, life)
    log = two.write(4, 3)
    seen = watch.tracker.tick()
    assert (seen.runs(one), seen.runs(two)) == ([], log), "told where it was written"


class Ring:
    """io_uring with raw system calls: one read at a time into a registered buffer."""

    PARAMS = Struct("<10I10I10I")

    def __init__(self, life: Life) -> None:
        self.life = life
        params = life.map(1).start
        try:
            self.fd = life.sys(sys.IO_URING_SETUP, 4, params)
        except OSError as error:
            pytest.skip(f"missing capability: io_uring ({error.strerror})")
        words = self.PARAMS.unpack(peek(life, params, self.PARAMS.size))
        tail, array, entries = words[11], words[16], words[0]
        flags = SHARED | 0x8000  # MAP_POPULATE
        self.ring = life.sys(sys.MMAP, 0, array + 4 * entries, sys.RW, flags, self.fd, 0)
        self.sqes = life.sys(sys.MMAP, 0, 64 * entries, sys.RW, flags, self.fd, 0x10000000)
        self.tail, self.array, self.count = self.ring + tail, self.ring + array, 0
        self.room = life.map(1).start

    def register(self, span: Span) -> None:
        """Pins the span: IORING_REGISTER_BUFFERS."""
        self.life.put(self.room, pack("<QQ", span.start, span.bytes))
        self.life.sys(sys.IO_URING_REGISTER, self.fd, 0, self.room, 1)

    def unregister(self) -> None:
        self.life.sys(sys.IO_URING_REGISTER, self.fd, 1, 0, 0)

    def read(self, file: int, address: int, size: int) -> None:
        """IORING_OP_READ_FIXED, and waits for it."""
        slot = self.count % 4
        entry = pack("<BBHiQQI36x", 4, 0, 0, file, 0, address, size)
        self.life.put(self.sqes + 64 * slot, entry)
        self.life.put(self.array + 4 * slot, pack("<I", slot))
        self.count += 1
        self.life.put(self.tail, pack("<I", self.count))
        assert self.life.sys(sys.IO_URING_ENTER, self.fd, 1, 1, 1, 0, 0) == 1


def test_io_uring_registered_buffers(life: Life, area: Span, tmp_path: Path, watch: Watch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"pinned!!" * 1024)
    file, ring = life.open(path, 0), Ring(life)
    watch.told(area)
    ring.register(area)
    assert watch.told(area) == ([(area.start, area.pages)], {"approximate"}), "pinned: all made writable"
    ring.read(file, area.at(5), 8192)
    assert peek(life, area.at(5), 8) == b"pinned!!"
    assert watch.told(area) == ([], {"approximate"}), "not seen: so it may not be called exact"
    assert watch.coverage(area) == {"PINNED"}
    log = area.write(5, 2)
    assert watch.told(area)[0] == log, "its own writes still are"
    ring.unregister()
    wait_for(lambda: status(life.pid, "VmPin") == "0 kB", "no pinned page")
    assert watch.told(area) == ([], {"approximate"}), "pinned for a part of the time"
    watch.exact(area)


def test_a_dump_of_io_uring_registered_buffers(life: Life, area: Span, tmp_path: Path) -> None:
    """Nobody sees these writes: what is registered is read again in the stop, and of the rest it is said."""
    path = tmp_path / "file"
    path.write_bytes(b"pinned!!" * 1024)
    file, ring = life.open(path, 0), Ring(life)
    ring.register(area)
    assert (area.start, area.start + area.bytes) in registered_buffers(life.pid)
    late = []

    def watch(progress: Progress) -> None:
        """Once the rounds are over, just before the stop."""
        if progress.frozen and not late:
            late.append(ring.read(file, area.at(5), 8192))

    with ProcessHandle.open(life.pid) as handle:
        result = dump(Job(str(tmp_path / "core")), handle, probe_kernel(), watch=watch)
    assert late
    assert any("pinned" in doubt for doubt in result.doubts)
    with contextlib.closing(open_memory(str(tmp_path / "core"))) as core:
        assert core.contents(area.at(5), area.at(6))[:16] == b"pinned!!" * 2


# ---- what the kernel does with the pages ----------------------------------------------------------------


def swapped_out(life: Life, span: Span) -> int:
    """Pages of the span in swap, as smaps has it."""
    inside = False
    pages = 0
    for line in Path(f"/proc/{life.pid}/smaps").read_text(encoding="utf-8").splitlines():
        first = line.split(" ", 1)[0]
        if "-" in first and ":" not in first:
            start, end = (int(number, 16) for number in first.split("-"))
            inside = start < span.end and span.start < end
        elif inside and line.startswith("Swap:"):
            pages += int(line.split()[1]) // 4
    return pages


def page_out(life: Life, span: Span) -> None:
    span.advise(sys.PAGEOUT)
    if not swapped_out(life, span):
        pytest.skip("missing capability: the kernel swaps nothing out when asked to")


def test_swap(life: Life, area: Span, swap: None, watch: Watch) -> None:
    page_out(life, area)
    assert watch.told(area) == ([], {"exact"}), "out"
    area.read()
    assert swapped_out(life, area) == 0
    assert watch.told(area) == ([], {"exact"}), "in again, by reading"
    log = area.write(4, 6)
    page_out(life, area)
    assert watch.told(area) == (log, {"exact"}), "written, then out"
    assert watch.told(area) == ([], {"exact"})
    area.read()
    assert watch.told(area) == ([], {"exact"}), "in again"
    page_out(life, area)
    log = area.write(8, 5)
    assert watch.told(area) == (log, {"exact"}), "in again, by writing"
    watch.exact(area)


def test_swap_that_was_out_before_tracking(
    life: Life, area: Span, swap: None, tracked: Callable[[int], Tracked]
) -> None:
    page_out(life, area)
    watch = Watch(tracked, life)
    assert watch.told(area) == ([], {"exact"})
    area.read()
    assert watch.told(area) == ([], {"exact"})
    watch.exact(area)


def test_a_moved_mapping_in_swap(life: Life, area: Span, swap: None, watch: Watch) -> None:
    page_out(life, area)
    to = life.reserve(area.pages)
    life.sys(sys.MREMAP, area.start, area.bytes, area.bytes, sys.MAYMOVE | sys.MOVE_FIXED, to)
    moved = Span(life, to, area.pages)
    told, said = watch.told(moved)
    assert (told, said) == ([(to, area.pages)], {"approximate"})
    moved.read()
    watch.exact(moved)


def test_shared_memory_in_swap(life: Life, swap: None, tracked: Callable[[int], Tracked]) -> None:
    shared = life.map(64, SHARED | ANON)
    shared.write()
    watch = Watch(tracked, life)
    log = shared.write(3, 4)
    page_out(life, shared)
    told = watch.told(shared)[0]
    shared.read()
    told = merged([*told, *watch.told(shared)[0]])
    assert [run for run in told if run == log[0]], "told at the latest when it comes back"


@pytest.fixture
def ksm(needs_root: None) -> Iterator[None]:
    """The merging of same pages at full speed; its settings of before come back."""
    names = ("run", "pages_to_scan", "sleep_millisecs")
    if not KSM.exists():
        pytest.skip("missing capability: KSM (not in this kernel)")
    with (KSM / "run").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one test at a time, whoever else runs these
        yield from merging_at_full_speed(names)


def merging_at_full_speed(names: tuple[str, ...]) -> Iterator[None]:
    before = {name: (KSM / name).read_text() for name in names}
    try:
        (KSM / "sleep_millisecs").write_text("1")
        (KSM / "pages_to_scan").write_text("20000")
        (KSM / "run").write_text("1")
    except OSError as error:
        pytest.skip(f"missing capability: KSM ({error.strerror})")
    yield
    (KSM / "run").write_text("2")  # takes every merge apart
    for name in reversed(names):
        (KSM / name).write_text(before[name])


def merging(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/ksm_merging_pages").read_text(encoding="ascii"))
    return 0


def test_ksm(life: Life, ksm: None, tracked: Callable[[int], Tracked]) -> None:
    area = life.map(64)
    for _ in range(2):
        area.write()
    for page in range(64):
        life.put(area.at(page), bytes(4096 - 8) + b"samesame")
    watch = Watch(tracked, life)
    area.advise(sys.MERGEABLE)
    wait_for(lambda: merging(life.pid) >= 60, "merged pages", 60)  # by a kernel thread of low priority
    told, said = watch.told(area)
    assert said == {"approximate"}, "a merge may count as a write"
    assert watch.coverage(area) == {"MERGED"}
    assert told in ([], [(area.start, 64)]) or told
    log = area.write(5, 3)
    assert [run for run in watch.told(area)[0] if run == log[0]], "its own writes are always told"
    area.advise(sys.MERGEABLE + 1)
    wait_for(lambda: merging(life.pid) == 0, "no merged pages")
    watch.told(area)
    watch.exact(area)


# ---- other kinds of memory -------------------------------------------------------------------------------


def test_hugetlb(life: Life, hugetlb_pages: int, tracked: Callable[[int], Tracked]) -> None:
    area = life.map(2 * 512, PRIVATE | ANON | sys.HUGETLB, align=sys.HUGE)
    area.write()
    watch = Watch(tracked, life)
    area.write(5, 1)
    assert watch.told(area) == ([(area.start, 512)], {"huge-page"})
    assert watch.told(area) == ([], {"exact"})
    life.ask("fork", area.start, 2)
    assert watch.told(area) == ([], {"exact"})
    area.write(600, 1)
    area.advise(sys.DONTNEED, 512, 512)
    assert watch.told(area) == ([], {"exact"})
    area.write(513, 1)
    assert watch.told(area) == ([(area.at(512), 512)], {"huge-page"})
    where = life.reserve(2 * 512, sys.HUGE)
    life.sys(sys.MREMAP, area.start, area.bytes, area.bytes, sys.MAYMOVE | sys.MOVE_FIXED, where)
    moved = Span(life, where, 2 * 512)
    assert watch.told(moved) == ([(where, 1024)], {"approximate"})
    moved.write(0, 1)
    assert watch.told(moved) == ([(where, 512)], {"huge-page"})
    moved.unmap()
    assert watch.told(moved)[0] == []


@pytest.mark.parametrize("flags", [SHARED, PRIVATE], ids=["shared", "private"])
def test_memfd(flags: int, life: Life, tracked: Callable[[int], Tracked]) -> None:
    fd = life.memfd(32)
    area = life.map(32, flags, fd)
    area.write(0, 16)
    watch = Watch(tracked, life)
    said = {"approximate" if flags == SHARED else "exact"}
    log = area.write(3, 20)
    assert watch.told(area) == (log, said)
    area.read()
    told = watch.told(area)[0]
    assert flags == SHARED or told == [], "shared: pages first read count once, a documented extra"
    log = area.write(0, 9)
    assert watch.told(area) == (log, said)
    life.sys(sys.FTRUNCATE, fd, 8 * PAGE)  # a private copy of a page that is cut off goes too
    log = area.write(2, 2)
    assert watch.told(area) == (log, said)
    life.sys(sys.FTRUNCATE, fd, 32 * PAGE)
    log = area.write(6, 10)
    assert watch.told(area) == (log, said)


def test_secretmem(life: Life, tracked: Callable[[int], Tracked]) -> None:
    try:
        fd = life.sys(sys.MEMFD_SECRET, 0)
        life.sys(sys.FTRUNCATE, fd, 8 * PAGE)
        area = life.map(8, SHARED, fd)
    except OSError as error:
        pytest.skip(f"missing capability: memfd_secret ({error.strerror})")
    area.write()
    watch = Watch(tracked, life)
    log = area.write(2, 3)
    told, said = watch.told(area)
    assert (told, said) in ((log, {"approximate"}), ([], {"none"})), "tracked, or said not to be"


def test_droppable_memory(life: Life, tracked: Callable[[int], Tracked]) -> None:
    try:
        area = life.map(8, 0x08 | ANON)  # MAP_DROPPABLE
    except OSError:
        pytest.skip("missing capability: MAP_DROPPABLE (Linux 6.11)")
    area.write()
    watch = Watch(tracked, life)
    area.write(2, 3)
    assert watch.told(area) == ([], {"none"})
    assert watch.coverage(area) == {"REFUSED"}
