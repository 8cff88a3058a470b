"""Write protection from outside: registering, refusals, and nothing left when it ends."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Area, Writer, armed_mappings, descriptors, spawned, vm_flags, wait_for

from memtop.linux import access
from memtop.linux.errors import Failed, NotPermitted
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import MapsReader
from memtop.linux.ptrace import create_userfaultfd
from memtop.linux.userfaultfd import WriteProtector
from memtop.model.layout import Kind
from memtop.model.mapping import MappingTable

pytestmark = pytest.mark.usefixtures("needs_write_protect")


@pytest.fixture
def protector(writer: Writer) -> Iterator[WriteProtector]:
    with new_protector(writer) as protector:
        yield protector


def new_protector(writer: Writer) -> WriteProtector:
    with ProcessHandle.open(writer.pid) as process:
        return WriteProtector(create_userfaultfd(process).fd)


def table_of(writer: Writer) -> MappingTable:
    with MapsReader(writer.pid) as maps:
        return maps.read()


def index_of(table: MappingTable, area: Area) -> int:
    return next(i for i in range(len(table)) if table.range_of(i)[0] == area.start)


@pytest.mark.parametrize("kind", ["anon", "shared", "memfd", "none", "private-file", "shared-file", "thp"])
def test_registering(kind: str, writer: Writer, protector: WriteProtector) -> None:
    area = writer.map("area", kind, 1024)
    maps = Path(f"/proc/{writer.pid}/maps").read_bytes()
    table = table_of(writer)
    assert protector.register(table, [index_of(table, area)]) == {}
    assert armed_mappings(writer.pid) == 1
    assert Path(f"/proc/{writer.pid}/maps").read_bytes() == maps
    protector.close()
    assert armed_mappings(writer.pid) == 0
    assert Path(f"/proc/{writer.pid}/maps").read_bytes() == maps


def test_everything_at_once_with_refusals_one_by_one(writer: Writer, protector: WriteProtector) -> None:
    areas = [writer.map(f"a{i}", "anon", 16) for i in range(3)]
    with new_protector(writer) as other:
        table = table_of(writer)
        taken = index_of(table, areas[1])
        assert other.register(table, [taken]) == {}
        refused = protector.register(table, range(len(table)))
        assert refused[taken] == errno.EBUSY
        special = {i for i in range(len(table)) if table.kind_of(i) is Kind.SPECIAL}
        assert special
        assert {i: refused.get(i) for i in special} == dict.fromkeys(special, errno.EINVAL)
        assert set(refused) == special | {taken}
        assert armed_mappings(writer.pid) == len(table) - len(special)
    assert protector.register(table, [taken]) == {}, "free, once the other has gone"
    for area in areas:
        area.fill()


READ_ONLY = """
import mmap, sys
file = open(sys.argv[1], "rb")
shared = mmap.mmap(file.fileno(), 4096, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
print(flush=True)
input()
"""


def test_read_only_file(tmp_path: Path) -> None:
    """A shared mapping that can't be written: there is nothing to track, and the kernel says so."""
    path = tmp_path / "read-only"
    path.write_bytes(bytes(4096))
    command = [sys.executable, "-c", READ_ONLY, path]
    with spawned(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with MapsReader(process.pid) as maps, ProcessHandle.open(process.pid) as handle:
            table = maps.read()
            index = next(i for i, mapping in enumerate(table) if mapping.name == str(path))
            with WriteProtector(create_userfaultfd(handle).fd) as protector:
                assert protector.register(table, [index]) == {index: errno.EPERM}


def test_mapping_that_has_gone(writer: Writer, protector: WriteProtector) -> None:
    area = writer.map("area", "anon", 16)
    table = table_of(writer)
    area.do("unmap", 0, 16)
    index = index_of(table, area)
    assert protector.register(table, [index])[index] in (errno.EINVAL, errno.ENOENT, errno.ENOMEM)


def test_unregistering(writer: Writer, protector: WriteProtector) -> None:
    area = writer.map("area", "anon", 16)
    table = table_of(writer)
    protector.register(table, [index_of(table, area)])
    protector.unregister(area.start, area.end - area.start)
    assert armed_mappings(writer.pid) == 0
    with pytest.raises(Failed):
        protector.unregister(area.start + 1, 4096)


def test_nothing_to_register(writer: Writer, protector: WriteProtector) -> None:
    assert protector.register(table_of(writer), []) == {}


def test_readonly(writer: Writer, protector: WriteProtector) -> None:
    table = table_of(writer)
    access.set_readonly(True)
    try:
        with pytest.raises(NotPermitted, match="--readonly"):
            protector.register(table, range(len(table)))
    finally:
        access.set_readonly(False)
    assert armed_mappings(writer.pid) == 0


def test_no_userfaultfd_at_all() -> None:
    fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    with pytest.raises(Failed):
        WriteProtector(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


HOLD = """
import sys
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import MapsReader
from memtop.linux.ptrace import create_userfaultfd
from memtop.linux.userfaultfd import WriteProtector
pid = int(sys.argv[1])
protector = WriteProtector(create_userfaultfd(ProcessHandle.open(pid)).fd)
table = MapsReader(pid).read()
protector.register(table, range(len(table)))
print("armed", flush=True)
input()
"""


def test_memtop_is_killed(writer: Writer, new_writer: Callable[[], Writer]) -> None:
    """The kernel takes all back, also where a helper for another target was forked in between."""
    area = writer.map("area", "anon", 256)
    area.fill()
    flags, table = vm_flags(writer.pid), descriptors(writer.pid)
    command = [sys.executable, "-c", HOLD, str(writer.pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as memtop:
        assert memtop.stdout is not None
        assert memtop.stdout.readline() == b"armed\n"
        assert armed_mappings(writer.pid) > 1
        memtop.kill()
    wait_for(lambda: armed_mappings(writer.pid) == 0, "the target unprotected")
    assert vm_flags(writer.pid) == flags
    assert descriptors(writer.pid) == table
    area.fill()
