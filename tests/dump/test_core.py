"""ELF cores as gdb, gcore and elf(5) see them."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import unpack, unpack_from

import pytest
from dumps import PAGE, Core, take
from harness import PATIENCE, memory_of, spawned, status, wait_for
from life import ANON, MMAP, NORESERVE, PRIVATE, RW, Life

from memtop.dump.chain import Chain
from memtop.dump.convert import convert
from memtop.dump.image import Freeze, PageKind
from memtop.dump.job import Format
from memtop.dump.verify import verify

pytestmark = pytest.mark.usefixtures("needs_write_protect")
SIZE = 64 * PAGE


class Still:
    """tests/targets/still.c as a child process."""

    def __init__(self, program: Path, *words: Path | str) -> None:
        self.program = program
        self.process = subprocess.Popen([program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.pid = int(self.process.stdout.readline())
        wait_for(lambda: status(self.pid, "State").startswith("S"), "it waits in a read")
        wait_for(lambda: self.waiting() == 2, "and one thread in epoll_wait")

    def waiting(self) -> int:
        """Threads that wait: all but the one that computes."""
        stats = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return sum(stat.read_text().rpartition(")")[2].split()[0] == "S" for stat in stats)

    def symbols(self) -> dict[str, int]:
        """Addresses of variables, from the symbol table and where the program is loaded."""
        text = subprocess.run(["nm", self.program], capture_output=True, text=True, check=True).stdout
        maps = Path(f"/proc/{self.pid}/maps").read_text()
        base = int(re.search(rf"^([0-9a-f]+)-.* {re.escape(str(self.program))}$", maps, re.M)[1], 16)  # type: ignore[index]
        return {name: base + int(at, 16) for at, _, name in re.findall(r"^(\w+) (\w) (\w+)$", text, re.M)}

    def pointer(self, name: str) -> int:
        return int(unpack("<Q", memory_of(self.pid, self.symbols()[name], 8))[0])

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        wait_for(lambda: status(self.pid, "State").startswith("T"), "stopped")

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def still(build: Callable[[str], Path]) -> Iterator[Callable[..., Still]]:
    if shutil.which("nm") is None:
        pytest.skip("missing capability: nm (binutils)")
    started: list[Still] = []

    def start(*words: Path | str) -> Still:
        started.append(Still(build("still"), *words))
        return started[-1]

    yield start
    for process in started:
        process.end()


def gdb(program: Path, core: Path, *commands: str) -> str:
    if shutil.which("gdb") is None:
        pytest.skip("missing capability: gdb")
    words = [word for command in commands for word in ("-ex", command)]
    done = subprocess.run(
        ["gdb", "-q", "-nx", "-batch", "-iex", "set debuginfod enabled off", *words, program, core],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_gdb_reads_it(still: Callable[..., Still], tmp_path: Path) -> None:
    process = still()
    path = tmp_path / "core"
    take(process.pid, path)
    said = gdb(
        process.program,
        path,
        "bt",
        "info threads",
        "x/gx &marker",
        "info proc mappings",
        "thread apply all bt",
        "thread 3",
        "p $xmm7.v2_int64",
    )
    assert re.search(r"#\d .*inner.*\n(.*\n)?#\d .*outer.*\n(.*\n)?#\d .*main", said)
    assert len(set(re.findall(r"LWP (\d+)\)", said))) == 3
    assert re.search(r"<marker>:\s+0x1122334455667788", said)
    assert str(process.program) in said.split("Mapped address spaces")[1]
    assert "epoll_wait" in said
    first, second = (int(word) % 2**64 for word in re.search(r"= \{(-?\d+), (-?\d+)\}", said).groups())  # type: ignore[union-attr]
    assert (first, second) == (0xAAAAAAAA11111111, 0xBBBBBBBB22222222)


@pytest.mark.parametrize("freeze", list(Freeze))
def test_it_has_what_memory_has(still: Callable[..., Still], tmp_path: Path, freeze: Freeze) -> None:
    process = still()
    process.stop()
    result = take(process.pid, tmp_path / "core", freeze=freeze)
    assert status(process.pid, "State").startswith("T")  # it is as it was
    core = Core(tmp_path / "core")
    compared = 0
    for segment in core.loads:
        for start in range(segment.start, segment.start + min(segment.filesz, 1 << 26), 1 << 20):
            size = min(1 << 20, segment.start + segment.filesz - start)
            assert core.read(start, size) == memory_of(process.pid, start, size), hex(start)
            compared += size
    assert compared >= 4 * SIZE
    assert core.read(process.pointer("sealed"), SIZE) == memory_of(
        process.pid, process.pointer("sealed"), SIZE
    )
    assert core.read(process.pointer("left_out"), PAGE) is None  # MADV_DONTDUMP
    assert core.read(process.pointer("sparse") + (1 << 20), 4 * PAGE) == bytes(4 * PAGE)
    assert result.image.pages_of(PageKind.DATA) * PAGE == pytest.approx(
        (tmp_path / "core").stat().st_blocks * 512, rel=0.5
    )
    assert bool(core.note(1)) == (freeze is not Freeze.NONE)  # registers
    core.close()


def test_it_has_what_gcore_has(
    still: Callable[..., Still], tmp_path: Path, build: Callable[[str], Path]
) -> None:
    if shutil.which("gcore") is None:
        pytest.skip("missing capability: gcore (gdb)")
    file = tmp_path / "file"
    file.write_bytes(os.urandom(SIZE))
    process = still(file)
    process.stop()
    take(process.pid, tmp_path / "ours")
    subprocess.run(
        ["gcore", "-o", tmp_path / "theirs", str(process.pid)], check=True, capture_output=True, text=True
    )
    (theirs_path,) = tmp_path.glob("theirs.*")
    ours, theirs = Core(tmp_path / "ours"), Core(theirs_path)
    files = mapped_files(ours)
    same = 0
    for segment in theirs.loads:
        if segment.start >> 63:  # [vsyscall] can't be read; gcore writes zeros for it
            continue
        for start in range(segment.start, segment.start + min(segment.filesz, 1 << 26), PAGE):
            want = theirs.read(start, PAGE)
            have = ours.read(start, PAGE)
            if have is None:  # a page that was not in memory: gdb reads it from the file
                have = next((read_file(f, start) for f in files if f[0] <= start < f[1]), None)
            else:
                same += 1
            assert have == want, hex(start)
    assert same >= 3 * 64
    assert ours.note(6) == theirs.note(6)  # auxv
    assert mapped_files(ours) == mapped_files(theirs)
    theirs_by_tid = {unpack_from("<i", s, 32)[0]: s for s in theirs.note(1)}
    ours_by_tid = {unpack_from("<i", s, 32)[0]: s for s in ours.note(1)}
    assert ours_by_tid.keys() == theirs_by_tid.keys()
    for tid, status_note in ours_by_tid.items():
        assert status_note[112:328] == theirs_by_tid[tid][112:328]  # the registers
    assert ours.note(2)[0][32:] in [
        n[32:] for n in theirs.note(2)
    ]  # floating point; gcore invents mxcsr_mask
    assert ours.note(3)[0][16:40] == theirs.note(3)[0][16:40]  # uid, gid and pids of the process
    ours.close()
    theirs.close()


def mapped_files(core: Core) -> list[tuple[int, int, int, str]]:
    (note,) = core.note(0x46494C45)
    count, page = unpack_from("<QQ", note)
    names = note[16 + 24 * count :].split(b"\0")
    out = []
    for i in range(count):
        start, end, offset = unpack_from("<QQQ", note, 16 + 24 * i)
        out.append((start, end, offset * page, names[i].decode()))
    return out


def read_file(mapped: tuple[int, int, int, str], start: int) -> bytes:
    data = Path(mapped[3]).read_bytes()
    at = mapped[2] + start - mapped[0]
    return data[at : at + PAGE].ljust(PAGE, b"\0")


def test_all_takes_what_the_filter_leaves_out(still: Callable[..., Still], tmp_path: Path) -> None:
    process = still()
    left, shared = process.pointer("left_out"), process.pointer("shared_memory")
    Path(f"/proc/{process.pid}/coredump_filter").write_text("0x1")
    take(process.pid, tmp_path / "some")
    take(process.pid, tmp_path / "all", take_all=True)
    some, everything = Core(tmp_path / "some"), Core(tmp_path / "all")
    assert some.read(left, PAGE) is None
    assert some.read(shared, PAGE) is None
    assert everything.read(left, SIZE) == memory_of(process.pid, left, SIZE)
    assert everything.read(shared, SIZE) == memory_of(process.pid, shared, SIZE)
    text = next(s for s in everything.loads if s.flags & 1 and s.filesz)
    assert everything.at(text.offset, PAGE) == memory_of(process.pid, text.start, PAGE)
    some.close()
    everything.close()


def test_it_says_how_it_came_about(still: Callable[..., Still], tmp_path: Path) -> None:
    process = still()
    for freeze in Freeze:
        take(process.pid, tmp_path / freeze.value, freeze=freeze)
        core = Core(tmp_path / freeze.value)
        (note,) = [content for name, _, content in core.notes if name == "memtop"]
        said = json.loads(note)
        assert said["freeze"] == freeze.value
        assert said["memory_only"] == (freeze is Freeze.NONE)
        assert said["consistency"] == ("pages" if freeze is Freeze.NONE else "point")
        core.close()


LIMIT = Path("/proc/sys/vm/max_map_count")


@pytest.fixture
def many_mappings() -> Iterator[None]:
    """A process may have enough of them for this test; the limit of before comes back afterwards."""
    with LIMIT.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one change at a time, whoever else runs these tests
        before = lock.read()
        try:
            if int(before) < 80000:
                LIMIT.write_text("80000")
        except OSError as error:
            pytest.skip(f"missing capability: raising vm.max_map_count ({error.strerror})")
        try:
            yield
        finally:
            LIMIT.write_text(before)


@pytest.mark.usefixtures("many_mappings")
def test_more_mappings_than_a_header_can_count(build: Callable[[str], Path], tmp_path: Path) -> None:
    command = [build("maps"), "66000"]
    with spawned(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        word, address = process.stdout.readline().split()  # type: ignore[union-attr]
        assert word == b"ok"
        take(process.pid, tmp_path / "core")
        start, core = int(address, 0), Core(tmp_path / "core")
        assert len(core.loads) >= 66000
        for i in (0, 1, 65999):
            assert core.read(start + 2 * i * PAGE, 8) == (i + 1).to_bytes(8, "little")
        core.close()
        if shutil.which("readelf"):
            command = ["readelf", "-lW", tmp_path / "core"]
            said = subprocess.run(command, capture_output=True, text=True, check=True)
            assert f"There are {len(core.segments)} program headers" in said.stdout
            assert not said.stderr


def test_sixteen_tebibytes_with_little_in_them(still: Callable[..., Still], tmp_path: Path) -> None:
    process = still("-", str(16 << 40))
    began = time.process_time()
    result = take(process.pid, tmp_path / "core")
    assert time.process_time() - began < 10
    assert (tmp_path / "core").stat().st_blocks * 512 < 32 << 20
    core, start = Core(tmp_path / "core"), process.pointer("sparse")
    for i in range(16):
        at = start + (i << 40)
        assert core.read(at, PAGE) == memory_of(process.pid, at, PAGE)
        assert core.read(at + (3 << 36), PAGE) == bytes(PAGE)
    core.close()
    assert result.image.pages_of(PageKind.DATA) < 2000


@pytest.mark.parametrize("format", list(Format))
def test_more_pages_in_a_row_than_a_record_counts(life: Life, tmp_path: Path, format: Format) -> None:
    """20 TiB never touched are one run, and more than 2^32 pages."""
    pages = 20 << 28
    start = life.sys(MMAP, 0, pages * PAGE, RW, PRIVATE | ANON | NORESERVE, -1, 0)
    image = take(life.pid, tmp_path / "dump", format).image
    assert image.pages_of(PageKind.HOLE) >= pages
    if format is Format.CORE:
        core = Core(tmp_path / "dump")
        assert core.read(start + (19 << 40), PAGE) == bytes(PAGE)
        core.close()
    elif format is Format.SNAPSHOT:
        verify(str(tmp_path / "dump"))
        convert(str(tmp_path / "dump"), str(tmp_path / "core"))
        with Chain(str(tmp_path / "dump")) as chain:
            assert chain.image().pages_of(PageKind.HOLE) == image.pages_of(PageKind.HOLE)


@pytest.mark.parametrize("format", [Format.CORE, Format.SNAPSHOT])
def test_an_address_sanitizer_program(tmp_path: Path, format: Format) -> None:
    program = tmp_path / "shadowed"
    source = Path(__file__).parent.parent / "targets" / "shadowed.c"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    command = [compiler, "-fsanitize=address", "-O1", source, "-o", program]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("missing capability: a compiler with AddressSanitizer")
    with spawned([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        pid, known = process.stdout.readline().split()  # type: ignore[union-attr]
        began = time.process_time()
        result = take(int(pid), tmp_path / "dump", format)
        assert time.process_time() - began < 10
        mapped = sum(area.end - area.start for area in result.image.areas)
        assert mapped > 1 << 40
        assert (tmp_path / "dump").stat().st_blocks * 512 < 64 << 20
        truth = bytes((i * 7 + (i >> 8)) & 0xFF for i in range(65536))
        if format is Format.CORE:
            core = Core(tmp_path / "dump")
            assert core.read(int(known, 0), 65536) == truth
            core.close()
        else:
            verify(str(tmp_path / "dump"))
        process.stdin.close()  # type: ignore[union-attr]
        assert process.wait(PATIENCE) == 0  # no leak, no report: it runs on
