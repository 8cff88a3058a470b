"""What differs between two dumps, beside what is known to differ."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from array import array
from pathlib import Path

import pytest
import xxhash
from dumps import PAGE, take
from harness import Area as Mapped
from harness import Outcome, Writer, memory_of, run, spawned, status, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st

from memtop.dump.diff import Change, compare
from memtop.dump.image import Area, Freeze, PageKind, Run
from memtop.dump.job import Format
from memtop.model.layout import Kind, Perm

DIFFERENT = 6


def diff(a: Path, b: Path, *words: str) -> Outcome:
    return run("diff", *words, str(a), str(b))


def found(done: Outcome) -> dict[str, set[int]]:
    """Pages by what became of them."""
    pages: dict[str, set[int]] = {change.value: set() for change in Change}
    for line in map(json.loads, done.out.splitlines()):
        if line["type"] == "run":
            pages[line["what"]] |= set(range(int(line["start"], 0), int(line["end"], 0), PAGE))
    return pages


def within(pages: set[int], area: Mapped) -> set[int]:
    """Numbers of pages of a mapping."""
    return {(page - area.start) // PAGE for page in pages} & set(range(area.pages))


@pytest.mark.usefixtures("needs_write_protect")
@pytest.mark.parametrize("form", ["chain", "zstd", "two snapshots", "cores", "a core and a snapshot"])
def test_known_changes(writer: Writer, tmp_path: Path, form: str) -> None:
    area, gone, other = (writer.map(n, "private", 200) for n in "abc")
    area.poke(10, 50)
    gone.poke(0, 5)
    other.poke(0, 30)
    formats = {"cores": "cc", "a core and a snapshot": "cs"}.get(form, "ss")
    one, two = ({"c": Format.CORE, "s": Format.SNAPSHOT}[letter] for letter in formats)
    compress = {"compress": True} if form == "zstd" else {}
    take(writer.pid, tmp_path / "0", one, **compress)
    before = memory_of(writer.pid, area.start, area.pages * PAGE)
    area.poke(20, 7)
    area.poke(100, 3)
    area.do("discard", 40, 4)
    gone.do("unmap", 0, 200)
    new = writer.map("d", "private", 50)
    new.poke(7, 2)
    other.do("protect", "r")
    chain = {"parent": str(tmp_path / "0")} if form in ("chain", "zstd") else {}
    take(writer.pid, tmp_path / "1", two, **chain, **compress)
    after = memory_of(writer.pid, area.start, area.pages * PAGE)

    done = diff(tmp_path / "0", tmp_path / "1", "--json")
    assert done.code == DIFFERENT, done.err
    pages = found(done)
    truth = {p for p in range(area.pages) if before[p * PAGE :][:PAGE] != after[p * PAGE :][:PAGE]}
    assert truth == {*range(20, 27), *range(100, 103), *range(40, 44)}
    assert within(pages["changed"] | pages["appeared"] | pages["vanished"], area) == truth
    if formats == "ss":
        assert within(pages["changed"], area) == set(range(20, 27))
        assert within(pages["appeared"], area) == set(range(100, 103))
        assert within(pages["vanished"], area) == set(range(40, 44))
    assert within(pages["appeared"] | pages["changed"], new) >= {7, 8}  # it may lie where another one was
    assert not within(pages["changed"], other)
    mappings = [line for line in map(json.loads, done.out.splitlines()) if line["type"] == "mapping"]
    (turned,) = [line for line in mappings if int(line["start"], 0) <= other.start < int(line["end"], 0)]
    assert "rw-" in turned["turned"].split("→")[0]
    assert "r--" in turned["turned"].split("→")[1]
    if not any(a.start <= gone.start < a.start + a.pages * PAGE for a in (area, other, new)):
        (line,) = [line for line in mappings if int(line["start"], 0) <= gone.start < int(line["end"], 0)]
        assert line["state"] == "gone"

    # --hex: A with these bytes put in is B
    patched = bytearray(before)
    for line in map(json.loads, diff(tmp_path / "0", tmp_path / "1", "--json", "--hex").out.splitlines()):
        if line["type"] == "bytes" and 0 <= int(line["at"], 0) - area.start < len(patched):
            at = int(line["at"], 0) - area.start
            assert patched[at : at + 16] == bytes.fromhex(line["a"])
            patched[at : at + 16] = bytes.fromhex(line["b"])
    assert patched == after

    for same in ("0", "1"):
        done = diff(tmp_path / same, tmp_path / same)
        assert done.code == 0
        assert "no difference" in done.out


@pytest.mark.usefixtures("needs_write_protect")
def test_a_core_of_memtop_and_one_of_gcore(writer: Writer, tmp_path: Path) -> None:
    if shutil.which("gcore") is None:
        pytest.skip("missing capability: gcore (gdb)")
    area = writer.map("a", "private", 300)
    area.poke(3, 100)
    os.kill(writer.pid, signal.SIGSTOP)
    wait_for(lambda: status(writer.pid, "State").startswith("T"), "stopped")
    # A tracker's system call would run in it, and the kernel note the processor in its memory (rseq).
    take(writer.pid, tmp_path / "ours", freeze=Freeze.FULL)
    take(writer.pid, tmp_path / "snapshot", Format.SNAPSHOT, freeze=Freeze.FULL)
    command = ["gcore", "-o", tmp_path / "theirs", str(writer.pid)]
    subprocess.run(command, check=True, capture_output=True)
    os.kill(writer.pid, signal.SIGCONT)
    (theirs,) = tmp_path.glob("theirs.*")
    for mine in ("ours", "snapshot"):
        done = diff(tmp_path / mine, theirs, "--json")
        assert not any(pages for what, pages in found(done).items() if what != "unknown"), done.out
        known = json.loads(done.out.splitlines()[-1])
        assert known["dark"] + known["unknown"] < 2000  # pages of files, which gcore alone reads in


@pytest.mark.usefixtures("needs_write_protect")
def test_names_can_do_nothing_to_a_terminal(tmp_path: Path) -> None:
    script = (
        "import mmap, os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 8192)\n"
        "m = mmap.mmap(fd, 8192, flags=mmap.MAP_PRIVATE, prot=3); m[0] = 1\n"
        "for word in sys.stdin: m[0] += 1; print('ok', flush=True)\n"
    )
    name = tmp_path / "\x1b[31mred\u202e"
    command = [sys.executable, "-c", script, name]
    with spawned(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for i in range(2):
            process.stdin.write("go\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            process.stdout.readline()  # type: ignore[union-attr]
            take(process.pid, tmp_path / str(i), Format.SNAPSHOT)
    for words in ([], ["--hex"], ["--json"]):
        done = diff(tmp_path / "0", tmp_path / "1", *words)
        assert done.code == DIFFERENT
        assert "31mred" in done.out
        assert not {"\x1b", "\u202e"} & set(done.out)


def test_what_is_no_dump(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    shutil.copyfile("/bin/true", tmp_path / "program")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "place").mkdir()
    words = {
        "text": "no snapshot",
        "program": "no core",
        "nothing": "No such file",
        "pipe": "no regular file",
    }
    for name, word in {**words, "place": "no regular file"}.items():
        for command in (["diff", name, "text"], ["verify", name], ["core", name, "-o", "out"]):
            done = run(*(str(tmp_path / w) if w in (*words, "place", "out") else w for w in command))
            assert done.code == 1
            done.said(name, "" if name == "program" else word)
            assert "Traceback" not in done.err


# ---- against a model -------------------------------------------------------------------------------------


class Invented:
    """Mappings and pages out of thin air."""

    named = True
    words = "invented"

    def __init__(self, mappings: list[tuple[int, int, int, list[int]]]) -> None:
        self.path = "invented"
        self.pages: dict[int, int] = {}
        self.areas: tuple[Area, ...] = tuple(self._area(*mapping) for mapping in mappings)

    def _area(self, start: int, end: int, perms: int, states: list[int]) -> Area:
        """A state below 4 is a page with these contents, the others are kinds."""
        runs: list[Run] = []
        for page, state in zip(range(start, end), states, strict=True):
            self.pages[page] = state
            kind = PageKind.DATA if state < 4 else _KINDS[state]
            if runs and runs[-1].kind == kind:
                runs[-1] = Run(runs[-1].start, runs[-1].pages + 1, kind)
            else:
                runs.append(Run(page * PAGE, 1, kind))
        return Area(
            start * PAGE, end * PAGE, Perm(perms), Kind.ANON, 0, 0, 0, 0, b"", True, runs=tuple(runs)
        )  # fmt: skip

    def contents(self, start: int, end: int) -> bytes:
        return b"".join(bytes([self.pages[page]]) * PAGE for page in range(start // PAGE, end // PAGE))

    def hashes(self, start: int, end: int) -> array[int]:
        data = self.contents(start, end)
        return array("Q", (xxhash.xxh64_intdigest(data[i : i + PAGE]) for i in range(0, len(data), PAGE)))

    def close(self) -> None:
        pass


_KINDS = {4: PageKind.ZERO, 5: PageKind.HOLE, 6: PageKind.ABSENT, 7: PageKind.SWAPPED}


@st.composite
def invented(draw: st.DrawFn) -> Invented:
    edges = sorted(draw(st.sets(st.integers(1, 40), max_size=10)))
    mappings = []
    for start, end in zip(edges[::2], edges[1::2], strict=False):
        states = draw(st.lists(st.integers(0, 7), min_size=end - start, max_size=end - start))
        mappings.append((start, end, draw(st.sampled_from([1, 3])), states))
    return Invented(mappings)


def expected(a: int | None, b: int | None) -> str | None:
    """By the document."""
    if a is None and b is None:
        return None
    if a is None or b is None:
        data = a if b is None else b
        assert data is not None
        return ("appeared" if a is None else "vanished") if data < 4 else None
    if a > 5 or b > 5:
        return "dark" if a > 5 and b > 5 else "unknown"
    if (0 if a in (4, 5) else a) == (0 if b in (4, 5) else b):
        return None
    return "appeared" if a == 5 else "vanished" if b == 5 else "changed"


@given(invented(), invented())
@settings(max_examples=300, deadline=None)
def test_against_a_model(a: Invented, b: Invented) -> None:
    seen: dict[int, str] = {}
    dark = 0
    last = 0
    for found in compare(a, b):
        assert found.start >= last
        last = found.end
        dark += found.dark
        for change, spans in found.runs.items():
            for start, end in spans:
                assert found.start <= start < end <= found.end
                seen.update((page, change.value) for page in range(start // PAGE, end // PAGE))
        for side, area in ((a, found.a), (b, found.b)):
            inside = [m for m in side.areas if m.start <= found.start and found.end <= m.end]
            assert inside == ([area] if area else [])
    truth = {page: expected(a.pages.get(page), b.pages.get(page)) for page in range(41)}
    assert seen == {page: what for page, what in truth.items() if what not in (None, "dark")}
    assert dark == sum(what == "dark" for what in truth.values())
