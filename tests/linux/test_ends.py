"""memtop's own end, however it comes, and what doctor says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import (
    PATIENCE,
    PROMPT,
    Batch,
    Writer,
    armed_mappings,
    memtop,
    memtops_on,
    run,
    spawned,
    wait_for,
)

TRACK = ("--track", "write-protect")


@pytest.mark.usefixtures("needs_write_protect")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_ended_by_a_signal(number: signal.Signals, writer: Writer) -> None:
    with Batch(writer.pid, "-d", "0.1", *TRACK) as batch:
        batch.sample()
        assert armed_mappings(writer.pid)
        batch.process.send_signal(number)
        outcome = batch.end()
    assert outcome.code == (-number if number is signal.SIGKILL else 128 + number), outcome
    assert "Traceback" not in outcome.err
    wait_for(lambda: armed_mappings(writer.pid) == 0, "the target unprotected", PROMPT)
    wait_for(lambda: not memtops_on(writer.pid), "no helper left")
    writer.map("area", "anon", 10).fill()


EATS = """
import sys, threading
from memtop.cli import main

def eat():
    sys.stdin.readline()
    eaten = bytearray(1 << 30)

threading.Thread(target=eat, daemon=True).start()
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def small(needs_root: None) -> Iterator[Path]:
    """A memory control group of 256 MiB."""
    parent = Path("/sys/fs/cgroup")
    first = (parent / "memory", "memory.limit_in_bytes"), (parent, "memory.max")
    base, limit = next(((b, f) for b, f in first if (b / "cgroup.procs").exists()), (None, ""))
    if base is None:
        pytest.skip("missing capability: memory control groups")
    group = base / f"memtop-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(256 << 20))
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"missing capability: a memory control group ({error.strerror})")
    yield group
    wait_for(lambda: not (group / "cgroup.procs").read_text(), "an empty group")
    group.rmdir()


def oom_kills(group: Path) -> int:
    names = [group / "memory.oom_control", group / "memory.events"]
    text = next(name for name in names if name.exists()).read_text()
    return int(dict(line.split() for line in text.splitlines())["oom_kill"])


@pytest.mark.usefixtures("needs_write_protect")
def test_out_of_memory(small: Path, writer: Writer) -> None:
    """The kernel's OOM killer takes memtop, not the target."""
    area = writer.map("area", "anon", 1000)
    area.fill()
    words = ["batch", "-p", str(writer.pid), "-d", "0.1", "--json", *TRACK]
    with spawned(
        [sys.executable, "-c", EATS, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        (small / "cgroup.procs").write_text(str(process.pid))
        process.stdout.readline()
        wait_for(lambda: armed_mappings(writer.pid), "armed mappings")
        process.stdin.write(b"eat\n")
        process.stdin.flush()
        assert process.wait(PATIENCE) == -signal.SIGKILL
        assert oom_kills(small) == 1
        wait_for(lambda: armed_mappings(writer.pid) == 0, "the target unprotected", PROMPT)
    wait_for(lambda: not memtops_on(writer.pid), "no helper left")
    area.fill()


@pytest.mark.usefixtures("needs_pagemap")
@pytest.mark.parametrize("form", [["--json"], []], ids=["json", "table"])
def test_reader_closes_the_pipe(form: list[str], writer: Writer) -> None:
    command = memtop("batch", "-p", str(writer.pid), "-d", "0.1", "--max-cost", "0", *form)
    with spawned(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""


def test_full_disk(writer: Writer) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("missing capability: /dev/full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            memtop("batch", "-p", str(writer.pid), "-n", "1", "--json"),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert "space" in done.stderr.lower()


# ---- doctor --------------------------------------------------------------------------------------


def test_doctor_answers_without_a_process() -> None:
    outcome = run("doctor")
    assert outcome.code == 0, outcome
    for word in ("write-protect", "soft-dirty"):
        assert word in outcome.out.lower()
    assert "Traceback" not in outcome.err


def test_doctor_looks_at_a_process_and_leaves_it_alone(writer: Writer) -> None:
    outcome = run("doctor", "-p", str(writer.pid))
    assert outcome.code == 0, outcome
    assert str(writer.pid) in outcome.out
    assert armed_mappings(writer.pid) == 0
    writer.map("area", "anon", 1).fill()


def test_version_and_help_import_no_textual() -> None:
    for word in ("--version", "--help"):
        code = (
            f"import sys; from memtop.cli import main; main(['{word}']); assert 'textual' not in sys.modules"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["doctor"], ["batch", "-n", "1", "-p"]])
@pytest.mark.parametrize(("where", "code"), [(">/dev/full", 1), (">&-", 0), ("<&- >&- 2>&-", 0)])
def test_a_stdout_that_takes_nothing(writer: Writer, words: list[str], where: str, code: int) -> None:
    """Not even at the very end, when the interpreter flushes it once more."""
    command = memtop(*words, *([str(writer.pid)] if words[-1] == "-p" else []))
    done = subprocess.run(
        ["sh", "-c", f'"$@" {where}', "sh", *command],
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == code, done
    assert done.stderr == ("memtop: output: No space left on device\n" if code else "")


def test_no_file_takes_the_place_of_a_closed_stdout(writer: Writer, tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    command = memtop(
        "record", "-p", str(writer.pid), "-d", "0.1", "--log", str(tmp_path / "log"), "-o", str(out)
    )
    with spawned(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *command]) as process:
        wait_for(lambda: out.exists() and out.read_text().count("\n") > 2, "samples")
        standard = {os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in range(3)}
        process.terminate()
        process.wait(PATIENCE)
    assert standard == {os.devnull}
