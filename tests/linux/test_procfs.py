"""/proc/PID of real processes: names of any kind, ends of any kind, mappings that change."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import PAGE, Writer, descriptors, spawned, status, wait_for

from memtop.linux.counters import Counters
from memtop.linux.errors import KernelCannot, MemtopError, NotPermitted, ProcessGone
from memtop.linux.pagemap import Scanner
from memtop.linux.procfs import (
    MapsReader,
    boot_id,
    live_thread,
    read_cmdline,
    read_stat,
    read_status,
    read_swap,
)
from memtop.model.layout import Kind
from memtop.model.mapping import MappingTable

NOBODY = 65534


@pytest.fixture
def reader(writer: Writer) -> Iterator[MapsReader]:
    with MapsReader(writer.pid) as reader:
        yield reader


def ids(table: MappingTable) -> dict[tuple[int, int], int]:
    return {table.range_of(i): table.ids[i] for i in range(len(table))}


def test_table_is_what_maps_says(writer: Writer, reader: MapsReader) -> None:
    lines = Path(f"/proc/{writer.pid}/maps").read_text(encoding="utf-8").splitlines()
    table = reader.read()
    assert len(table) == len(lines)
    for mapping, line in zip(table, lines, strict=True):
        place, perms, offset, dev, inode, *name = line.split(maxsplit=5)
        assert f"{mapping.start:08x}-{mapping.end:08x}" == place
        assert (mapping.perms, mapping.dev, mapping.inode) == (perms, dev, int(inode))
        assert mapping.offset == int(offset, 16)
        assert mapping.name == (name[0] if name else "")


def test_the_same_object_while_nothing_changes(writer: Writer, reader: MapsReader) -> None:
    table = reader.read()
    assert reader.read() is table
    writer.map("area", "anon", 10)
    assert reader.read() is not table


def test_identity_over_growth_split_and_move(writer: Writer, reader: MapsReader) -> None:
    moving, split = writer.map("moving", "anon", 12), writer.map("split", "anon", 100)
    heap = writer.brk("heap", 10)
    before = ids(reader.read())
    moved_id, split_id = before[moving.start, moving.end], before[split.start, split.end]
    heap_id = next(i for (start, end), i in before.items() if start <= heap.start < end)
    moving.do("move")
    assert ids(reader.read())[moving.start, moving.end] == moved_id
    split.do("unmap", 60, 10)
    writer.brk("heap", 50)  # here the allocator may map something into the room that was left
    table = reader.read()
    after = ids(table)
    assert after[moving.start, moving.end] == moved_id
    assert after[split.start, split.start + 60 * PAGE] == split_id
    assert after[split.start + 70 * PAGE, split.end] not in before.values()
    grown = table.index_of(heap_id)
    assert grown is not None
    assert table[grown].kind is Kind.HEAP
    assert len(set(after.values())) == len(after)


def test_end_exec_and_zombie(new_writer: Callable[[], Writer]) -> None:
    with MapsReader(new_writer().pid) as reader:
        assert reader.read()
    for end in (Writer.kill, Writer.kill_unreaped, lambda writer: writer.ask("exec")):
        writer = new_writer()
        with MapsReader(writer.pid) as reader:
            reader.read()
            end(writer)
            with pytest.raises(ProcessGone):
                reader.read()


def test_zombie_says_so(writer: Writer) -> None:
    writer.kill_unreaped()
    with pytest.raises(ProcessGone, match="ended"), MapsReader(writer.pid) as reader:
        reader.read()
    assert read_stat(writer.pid).state == "Z"
    assert read_cmdline(writer.pid) == ""


@pytest.mark.usefixtures("needs_pagemap")
def test_thread_that_outlives_the_main_one(writer: Writer) -> None:
    assert live_thread(writer.pid) == writer.pid
    writer.ask("vanish")
    wait_for(lambda: status(writer.pid, "State").startswith("Z"), "a zombie main thread")
    tid = live_thread(writer.pid)
    assert tid not in (None, writer.pid)
    with MapsReader(writer.pid, tid) as reader:
        assert len(reader.read()) > 5
    Scanner(writer.pid, use_ioctl=True, guard_bit=False, tid=tid).close()


def test_no_such_process() -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    for look in (MapsReader, read_stat, read_status, read_cmdline, Counters):
        with pytest.raises(ProcessGone, match=str(process.pid)):
            look(process.pid)
    assert live_thread(process.pid) is None


def test_counters_are_those_of_the_files(writer: Writer) -> None:
    with Counters(writer.pid) as counters:
        now, files = counters.stat(), read_stat(writer.pid)
        assert (now.start_time, now.comm, now.minflt) == (files.start_time, files.comm, files.minflt)
        text, memory = read_status(writer.pid), counters.memory()
        assert memory.size == int(text["VmSize"].split()[0]) * 1024
        assert memory.resident == int(text["VmRSS"].split()[0]) * 1024
        assert (memory.pinned, memory.merged) == (0, 0)
        before = descriptors(os.getpid())
        for _ in range(10):
            counters.stat()
            counters.memory()
        assert descriptors(os.getpid()) == before


def test_counters_of_a_process_whose_main_thread_has_ended(writer: Writer) -> None:
    with Counters(writer.pid) as counters:
        size = counters.memory().size
        writer.ask("vanish")
        wait_for(lambda: status(writer.pid, "State").startswith("Z"), "a zombie main thread")
        assert counters.memory().size >= size
        assert counters.stat().state == "Z"


def test_counters_never_become_those_of_another_process(writer: Writer) -> None:
    with Counters(writer.pid) as counters:
        counters.stat()
        writer.kill()
        for look in (counters.stat, counters.memory):
            with pytest.raises(ProcessGone):
                look()


def test_kernel_thread() -> None:
    if not Path("/proc/2/comm").exists() or not read_stat(2).kernel_thread:
        pytest.skip("missing capability: a visible kernel thread (own pid namespace)")
    with pytest.raises((KernelCannot, NotPermitted)) as error, MapsReader(2) as reader:
        reader.read()
    if isinstance(error.value, KernelCannot):
        assert "kernel thread" in error.value.sentence


def as_nobody(look: Callable[[], object]) -> str:
    """What another user gets to read of an error; the empty text if there is none."""
    end, start = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            look()
        except NotPermitted as error:
            os.write(start, error.sentence.encode())
        except BaseException as error:
            os.write(start, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(start)
    with os.fdopen(end, "rb") as file:
        said = file.read().decode()
    os.waitpid(child, 0)
    return said


def test_another_users_process(needs_root: None, writer: Writer) -> None:
    said = as_nobody(lambda: MapsReader(writer.pid))
    assert "not permitted" in said
    assert "user 0" in said or "hides" in said
    assert "as root" in said
    assert "not permitted" in as_nobody(lambda: Scanner(writer.pid, use_ioctl=True, guard_bit=False))


@pytest.mark.parametrize(
    "comm", [b"a) R 1 1 (b", b"two\nlines", b"\x1b[31mred", b"caf\xc3\xa9 \xff", b") S", b"((", b""]
)
def test_comm_of_any_bytes(comm: bytes) -> None:
    """The name is in parentheses in stat, and the target chooses it: prctl(PR_SET_NAME)."""
    code = f"import ctypes, time; ctypes.CDLL(None).prctl(15, {comm!r}); print(flush=True); time.sleep(600)"
    with spawned([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stat = read_stat(process.pid)
        assert stat.comm.isprintable()
        assert stat.state in "RSD"
        assert stat.num_threads == 1
        assert stat.start_time > 0
        assert read_status(process.pid)["PPid"] == str(os.getpid())
        assert read_status(process.pid)["Name"].isprintable()
        if comm.isalnum() or comm in (b"((", b") S", b"a) R 1 1 (b"):
            assert stat.comm == comm.decode()


def test_stat_counts(writer: Writer) -> None:
    before = read_stat(writer.pid)
    area = writer.map("area", "anon", 2000)
    area.fill()
    after = read_stat(writer.pid)
    assert 2000 <= after.minflt - before.minflt < 4200, "one fault a page, or two: it reads before it writes"
    assert after.start_time == before.start_time
    assert after.utime_s + after.stime_s >= before.utime_s + before.stime_s
    with Path("/proc/uptime").open(encoding="ascii") as file:
        uptime = float(file.read().split()[0])
    assert 0 <= uptime - after.start_time / os.sysconf("SC_CLK_TCK") < 600


def test_cmdline_is_cleaned() -> None:
    words = [
        "-c",
        "import time; print(flush=True); time.sleep(600)",
        "\x1b[2J",
        "[b]bold[/b]",
        "new\nline",
        "\u202e",
    ]
    with spawned([sys.executable, *words], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        text = read_cmdline(process.pid)
        assert text.isprintable()
        assert "\\x1b[2J [b]bold[/b] new\\x0aline \\u202e" in text


def test_mapped_file_with_a_hostile_name(tmp_path: Path) -> None:
    hostile = tmp_path / "\x1b[31m\nrw-p \u202e[red]"
    hostile.write_bytes(bytes(PAGE))
    code = """
import mmap, sys, time
file = open(sys.argv[1], "r+b")
mapped = mmap.mmap(file.fileno(), 0)
print(flush=True)
time.sleep(600)
"""
    with spawned([sys.executable, "-c", code, hostile], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with MapsReader(process.pid) as reader:
            (mapping,) = (m for m in reader.read() if "red]" in m.name)
        assert mapping.name.isprintable()
        assert mapping.kind is Kind.FILE
        assert mapping.size == PAGE


def test_memory_and_swap(writer: Writer, reader: MapsReader) -> None:
    with Counters(writer.pid) as counters:
        before = counters.memory()
        writer.map("area", "anon", 5000).fill()
        after = counters.memory()
    assert after.size - before.size >= 5000 * PAGE
    assert abs(after.resident - before.resident - 5000 * PAGE) < 256 * PAGE, "the kernel counts in batches"
    table = reader.read()
    swapped = read_swap(writer.pid, table)
    assert set(swapped) == set(table.ids)
    assert sum(swapped.values()) == after.swapped
    writer.map("late", "anon", 10).fill()
    assert set(read_swap(writer.pid, table)) == set(table.ids), "what is new since is left out"


def test_boot_id() -> None:
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


MANY = """
import ctypes, mmap, sys, time
libc, pages = ctypes.CDLL(None), 30000
area = mmap.mmap(-1, pages * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(area))
for page in range(0, pages, 2):
    if libc.mprotect(ctypes.c_void_p(start + page * 4096), 4096, 1):
        sys.exit(1)
print(flush=True)
time.sleep(600)
"""


def test_errors_are_sentences(writer: Writer) -> None:
    writer.kill()
    with pytest.raises(MemtopError) as error:
        MapsReader(writer.pid)
    assert error.value.sentence == f"there is no process {writer.pid}"
