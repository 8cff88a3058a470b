"""Cores of processes of several languages, as gdb reads them, beside gcore's of the same stopped process."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import unpack_from

import pytest
from dumps import Core, take
from harness import spawned, status, thread_states, wait_for

from memtop.dump.convert import convert
from memtop.dump.image import Freeze
from memtop.dump.job import Format

pytestmark = pytest.mark.usefixtures("needs_write_protect")
NT_PRSTATUS, NT_SIGINFO = 1, 0x53494749
LONG = "MEMTOP_LONG" in os.environ
WORDS = ["seven..", "nine.....", "eleven....."]

PYTHON = """
import sys, threading, time
def inner(number):
    print("up", flush=True)
    sys.stdin.readline()
def outer(word):
    inner(len(word))
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
for word in sys.argv[1:]:
    outer(word)
"""

GO = """
package main

import (
	"os"
	"syscall"
)

//go:noinline
func inner(number int) int {
	syscall.Write(1, []byte("up\\n"))
	n, _ := syscall.Read(0, make([]byte, number))
	return n
}

//go:noinline
func outer(word string) int { return inner(len(word)) + 1 }

func parked(c chan int) { <-c }

func main() {
	go parked(make(chan int))
	for _, word := range os.Args[1:] {
		outer(word)
	}
}
"""

JAVA = """
public class Deep {
    static void inner(int number) throws Exception {
        System.out.println("up");
        System.in.read();
    }
    static void outer(String word) throws Exception { inner(word.length()); }
    public static void main(String[] words) throws Exception {
        for (String word : words) outer(word);
    }
}
"""

C = """
#include <pthread.h>
#include <string.h>
#include <unistd.h>
static void *wait_here(void *word) { pause(); return word; }
__attribute__((noinline)) int inner(int number) {
    char c;
    write(1, "up\\n", 3);
    read(0, &c, 1);
    return number + 1;
}
__attribute__((noinline)) int outer(const char *word) { return inner(strlen(word)) + 1; }
int main(int count, char **words) {
    pthread_t t;
    pthread_create(&t, 0, wait_here, 0);
    for (int i = 1; i < count; i++) outer(words[i]);
    return 0;
}
"""


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"missing capability: {program}")


def python_program(place: Path) -> list[str | Path]:
    python = os.path.realpath("/usr/bin/python3")
    if not Path(f"/usr/share/gdb/auto-load{python}-gdb.py").exists():
        pytest.skip("missing capability: py-bt (python3-dbg)")
    (place / "deep.py").write_text(PYTHON)
    return [python, place / "deep.py"]


def go_program(place: Path) -> list[str | Path]:
    need("go")
    (place / "deep.go").write_text(GO)
    variables = {**os.environ, "GOCACHE": str(place / "cache"), "GO111MODULE": "off", "CGO_ENABLED": "0"}
    command = ["go", "build", "-o", place / "deep", place / "deep.go"]
    subprocess.run(command, check=True, env=variables, cwd=place, capture_output=True)
    return [place / "deep"]


def java_program(place: Path) -> list[str | Path]:
    need("java", "javac")
    (place / "Deep.java").write_text(JAVA)
    subprocess.run(["javac", place / "Deep.java"], check=True, cwd=place, capture_output=True)
    return ["java", "-Xmx32m", "-XX:-UsePerfData", "-cp", place, "Deep"]


def c_program(place: Path) -> list[str | Path]:
    need("gcc")
    (place / "deep.c").write_text(C)
    command = ["gcc", "-g", "-O1", "-pthread", "-Wno-unused-result", "-o", place / "deep", place / "deep.c"]
    subprocess.run(command, check=True)
    return [place / "deep"]


def stop(process: subprocess.Popen[bytes]) -> None:
    """By a signal, when it has said "up" and all its threads wait."""
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    wait_for(lambda: thread_states(process.pid) == {"S"}, "all wait")
    os.kill(process.pid, signal.SIGSTOP)
    wait_for(lambda: thread_states(process.pid) == {"T"}, "stopped")


@contextmanager
def started(command: list[str | Path]) -> Iterator[subprocess.Popen[bytes]]:
    """It is stopped in a call about each of ``WORDS`` in turn."""
    with spawned([*command, *WORDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        stop(process)
        yield process


@contextmanager
def stopped(command: list[str | Path]) -> Iterator[int]:
    """A process that was stopped by a signal."""
    with started(command) as process:
        yield process.pid


def gdb(program: str, core: Path, *commands: str) -> str:
    words = [word for command in commands for word in ("-ex", command)]
    command = ["gdb", "-q", "-nx", "-batch", "-iex", "set debuginfod enabled off", *words, program, core]
    said = subprocess.run(command, capture_output=True, text=True, check=True, errors="replace").stdout
    # gcore does not tell of the signal that had stopped it before
    return re.sub(
        r"^(warning|Core was generated|Program terminated with signal SIGSTOP).*\n", "", said, flags=re.M
    )


LANGUAGES: dict[str, tuple[Callable[[Path], list[str | Path]], list[str], str]] = {
    "c": (c_program, ["bt"], r"in inner \(number=.*\n(.*\n)?#\d .*in outer \(word=.*\n(.*\n)?#\d .*in main"),
    "python": (
        python_program,
        ["py-bt", "py-list", "bt"],
        r", in inner\n.*\n.*, in outer\n.*\n.*in <module>",
    ),
    "go": (go_program, ["bt"], r"main\.inner .*\n(.*\n)?#\d+ .*main\.outer .*\n(.*\n)?#\d+ .*main\.main"),
    "java": (java_program, ["thread apply all bt 8"], r"readBytes"),
}


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_gdb_sees_the_same_as_in_a_core_of_gcore(tmp_path: Path, language: str) -> None:
    need("gdb", "gcore")
    prepare, commands, pattern = LANGUAGES[language]
    with stopped(prepare(tmp_path)) as pid:
        program = os.path.realpath(f"/proc/{pid}/exe")
        threads = {int(tid) for tid in os.listdir(f"/proc/{pid}/task")}
        # a stopped Go program can't be borrowed, so there is no tracker for --freeze final
        take(pid, tmp_path / "ours", freeze=Freeze.FULL)
        subprocess.run(["gcore", "-o", tmp_path / "theirs", str(pid)], check=True, capture_output=True)
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: "\tT" not in Path(f"/proc/{pid}/status").read_text(), "it runs again")
        result = take(pid, tmp_path / "running")
        assert result.image.statement.rounds
    ours = gdb(program, tmp_path / "ours", *commands)
    assert re.search(pattern, ours), ours
    assert re.search(pattern, gdb(program, tmp_path / "running", *commands))
    assert ours == gdb(program, tmp_path / f"theirs.{pid}", *commands)
    (tmp_path / f"theirs.{pid}").unlink()  # gigabytes
    listed = gdb(program, tmp_path / "ours", "info threads")
    assert {int(tid) for tid in re.findall(r"LWP (\d+)", listed)} == threads or len(threads) == 1


def go_script() -> str:
    """What makes gdb know goroutines."""
    root = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    script = Path(root) / "src/runtime/runtime-gdb.py"
    if not script.exists():
        pytest.skip("missing capability: info goroutines (Go's runtime-gdb.py)")
    return f"source {script.resolve()}"


REGISTERS = "info registers rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags fs_base"
"""Not those of AVX-512: gdb 13 takes them from a wrong place, and so does gcore (``linux/xstate.py``)."""


@pytest.mark.parametrize("language", list(LANGUAGES) if LONG else ["go"])
def test_gdb_sees_each_point_of_a_chain(tmp_path: Path, language: str) -> None:
    need("gdb", "gcore")
    prepare, commands, pattern = LANGUAGES[language]
    points = range(len(WORDS)) if LONG else [1]
    with started(prepare(tmp_path)) as process:
        if language == "go":
            commands = [go_script(), "info goroutines", *commands]
        commands = ["info threads", REGISTERS, *commands]
        program = os.path.realpath(f"/proc/{process.pid}/exe")
        for i in range(len(WORDS)):
            parent = str(tmp_path / str(i - 1)) if i else None
            take(process.pid, tmp_path / str(i), Format.SNAPSHOT, freeze=Freeze.FULL, parent=parent)
            if i in points:
                command = ["gcore", "-o", tmp_path / f"then{i}", str(process.pid)]
                subprocess.run(command, check=True, capture_output=True)
            if i + 1 < len(WORDS):
                os.kill(process.pid, signal.SIGCONT)
                process.stdin.write(b"\n")  # type: ignore[union-attr]  # a pipe
                stop(process)
    seen = set()
    for i in points:
        then = tmp_path / f"then{i}.{process.pid}"
        convert(str(tmp_path / str(i)), str(tmp_path / f"made{i}"))
        made = gdb(program, tmp_path / f"made{i}", *commands)
        assert re.search(pattern, made), made
        assert language != "go" or re.search(r"waiting +runtime\.gopark", made), made
        assert made == gdb(program, then, *commands)
        seen.add(made)
        if language == "java" and shutil.which("jhsdb"):
            stack = jhsdb("jstack", tmp_path / f"made{i}")
            assert re.search(r"Deep\.inner.*\n.*Deep\.outer.*\n.*Deep\.main", stack), stack
            assert stack == jhsdb("jstack", then)
        then.unlink()  # gigabytes
    assert len(seen) > 1 or not LONG, "the points differ"


def jhsdb(tool: str, core: Path) -> str:
    """What a tool of the JDK's serviceability agent says of a core, but for the core's name."""
    java = os.path.realpath(shutil.which("java") or "java")
    command = ["jhsdb", *tool.split(), "--exe", java, "--core", core]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    said = (done.stdout + done.stderr).replace(str(core), "CORE")
    return re.sub(r"took [\d.]+ seconds", "", said)


def resident(pid: int) -> int:
    return int(status(pid, "RssFile").split()[0]) << 10


TOOLS = ["jstack", *(["jstack --mixed", "jmap --histo", "jinfo"] if LONG else [])]


def test_jhsdb_reads_it_as_a_core_of_gcore(tmp_path: Path) -> None:
    """It takes each segment of a library in one piece; some of their pages have never been in memory."""
    need("jhsdb", "gcore")
    with stopped(java_program(tmp_path)) as pid:
        before = resident(pid)
        result = take(pid, tmp_path / "ours")
        assert resident(pid) < before + (1 << 20), "the process did not get what was read from files"
        subprocess.run(["gcore", "-o", tmp_path / "theirs", str(pid)], check=True, capture_output=True)
        if len(TOOLS) > 1:
            take(pid, tmp_path / "snapshot", Format.SNAPSHOT)
            convert(str(tmp_path / "snapshot"), str(tmp_path / "made"))
    assert result.image.statement.rounds
    for tool in TOOLS:
        ours = jhsdb(tool, tmp_path / "ours")
        assert "Can't attach" not in ours
        if tool == "jstack":
            assert re.search(r"Deep\.inner.*\n.*Deep\.outer.*\n.*Deep\.main", ours), ours
        assert ours == jhsdb(tool, tmp_path / f"theirs.{pid}"), tool
        if len(TOOLS) > 1:
            assert ours == jhsdb(tool, tmp_path / "made"), tool
    (tmp_path / f"theirs.{pid}").unlink()


def test_a_thread_that_a_signal_stopped(tmp_path: Path) -> None:
    """waitid(2) tells the same signal; signal masks and what is pending are those of proc_pid_status(5)."""
    with stopped(c_program(tmp_path)) as pid:
        told = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        assert told is not None
        take(pid, tmp_path / "core")
        again = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
        assert again is not None
        assert again.si_status == told.si_status == signal.SIGSTOP  # it still is
        core = Core(tmp_path / "core")
        threads = os.listdir(f"/proc/{pid}/task")
        for note in core.note(NT_PRSTATUS):
            tid = unpack_from("<i", note, 32)[0]
            words = dict(
                line.split(":\t", 1)
                for line in Path(f"/proc/{pid}/task/{tid}/status").read_text().splitlines()
            )
            assert unpack_from("<h", note, 12)[0] == told.si_status
            assert unpack_from("<QQ", note, 16) == (int(words["SigPnd"], 16), int(words["SigBlk"], 16))
        assert [unpack_from("<i", note)[0] for note in core.note(NT_SIGINFO)] == [told.si_status] * len(
            threads
        )
        core.close()
        if shutil.which("gdb"):
            said = gdb(str(tmp_path / "deep"), tmp_path / "core", "p $_siginfo.si_signo")
            assert re.search(rf"\$1 = {int(signal.SIGSTOP)}\n", said)


def test_a_thread_that_no_signal_stopped(tmp_path: Path) -> None:
    command = [*c_program(tmp_path), *WORDS]
    with spawned(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # type: ignore[union-attr]
        take(process.pid, tmp_path / "core")
        core = Core(tmp_path / "core")
        assert core.note(NT_SIGINFO) == []
        assert [unpack_from("<h", note, 12)[0] for note in core.note(NT_PRSTATUS)] == [0, 0]
        core.close()
