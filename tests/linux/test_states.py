"""Every state a target can be in: a sentence, the right exit code, no traceback, no hang."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import (
    PATIENCE,
    Batch,
    Outcome,
    Writer,
    memtop,
    run,
    spawned,
    status,
    wait_for,
)

DONE, FAILED, USAGE, NO_PROCESS, NOT_PERMITTED, KERNEL_CANNOT = range(6)
TRACK = ("--track", "write-protect")


def once(pid: int, *words: str, **options: Any) -> Outcome:
    """One batch sample."""
    return run("batch", "-p", str(pid), "-n", "1", "--json", *words, **options)


def no_pid() -> int:
    """A process id that nobody has."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


@pytest.fixture
def nobody(needs_root: None) -> dict[str, Any]:
    """Options that run memtop as another, unprivileged user."""
    user = pwd.getpwnam("nobody")
    options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
    packages = [os.environ["PYTHONPATH"], *{sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}]
    env = {**os.environ, "PYTHONPATH": ":".join(packages), "PYTHONDONTWRITEBYTECODE": "1"}
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        words = [python, "-c", "import memtop.cli, memtop.native, psutil, rich"]
        with contextlib.suppress(PermissionError, FileNotFoundError):
            if (
                subprocess.run(words, env=env, stderr=subprocess.DEVNULL, check=False, **options).returncode
                == 0
            ):
                return {**options, "env": env, "python": python}
    pytest.skip("missing capability: a Python that user nobody can run")


@pytest.fixture
def nobodys(nobody: dict[str, Any], build: Callable[[str], Path]) -> Iterator[Writer]:
    """A target that belongs to that user. Its program lies where that user may run it."""
    directory = Path("/tmp") / f"memtop-tests-{os.getpid()}"
    directory.mkdir(mode=0o755)
    try:
        program = Path(shutil.copy(build("writer"), directory / "writer"))
        who = {key: nobody[key] for key in ("user", "group", "extra_groups")}
        os.chown(directory, who["user"], who["group"])
        with Writer(program, directory, **who) as writer:
            yield writer
    finally:
        shutil.rmtree(directory)


@contextmanager
def traced(pid: int, build: Callable[[str], Path]) -> Iterator[None]:
    """The process has a tracer, as under a debugger."""
    with spawned([build("tracer"), str(pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tracer:
        assert tracer.stdout.readline() == b"ok\n"
        yield


# ---- usage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["batch"],
        ["batch", "-p", "abc"],
        ["batch", "-p", "0"],
        ["batch", "-p", "-1"],
        ["batch", "-p", "1,,2"],
        ["batch", "-p", str(2**40)],
        ["batch", "-p", "1", "-n", "0"],
        ["batch", "-p", "1", "-n", "many"],
        ["batch", "-p", "1", "-d", "0"],
        ["batch", "-p", "1", "-d", "0.01"],
        ["batch", "-p", "1", "-d", "3601"],
        ["batch", "-p", "1", "-d", "nan"],
        ["batch", "-p", "1", "--track", "magic"],
        ["batch", "-p", "1", "--pages"],
        ["frobnicate"],
        ["--frobnicate"],
        ["doctor", "-p", "x"],
    ],
    ids=" ".join,
)
def test_bad_usage(words: list[str]) -> None:
    outcome = run(*words)
    assert outcome.code == USAGE, outcome
    outcome.said("usage")
    assert outcome.out == ""


# ---- gone, exec'd, zombie ------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [["batch", "-n", "1"], ["doctor"]], ids=["batch", "doctor"])
def test_no_such_process(verb: list[str]) -> None:
    pid = no_pid()
    outcome = run(*verb, "-p", str(pid))
    assert outcome.code == NO_PROCESS, outcome
    assert str(pid) in outcome.err + outcome.out
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("track", [(), TRACK], ids=["off", "write-protect"])
def test_target_ends_while_sampled(
    track: tuple[str, ...], writer: Writer, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("needs_write_protect" if track else "needs_pagemap")
    with Batch(writer.pid, "-n", "1000", "-d", "0.1", *track) as batch:
        batch.sample()
        writer.kill()
        outcome = batch.end()
    assert outcome.code == NO_PROCESS, outcome
    outcome.said(str(writer.pid), "ended")


@pytest.mark.usefixtures("needs_pagemap")
def test_target_becomes_a_zombie_while_sampled(writer: Writer) -> None:
    with Batch(writer.pid, "-n", "1000", "-d", "0.1") as batch:
        batch.sample()
        writer.kill_unreaped()
        outcome = batch.end()
    assert outcome.code == NO_PROCESS, outcome
    outcome.said(str(writer.pid), "ended")


@pytest.mark.parametrize("track", [(), TRACK], ids=["off", "write-protect"])
def test_zombie(track: tuple[str, ...], writer: Writer) -> None:
    writer.kill_unreaped()
    outcome = once(writer.pid, *track)
    assert outcome.code == NO_PROCESS, outcome
    outcome.said(str(writer.pid), "ended")


@pytest.mark.parametrize("track", [(), TRACK], ids=["off", "write-protect"])
def test_target_execs_while_sampled(
    track: tuple[str, ...], writer: Writer, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("needs_write_protect" if track else "needs_pagemap")
    old = writer.map("old", "anon", 64)
    old.fill()
    with Batch(writer.pid, "-n", "1000", "-d", "0.1", *track) as batch:
        batch.sample()
        writer.ask("exec")
        new = writer.map("new", "anon", 4321)

        def new_memory() -> bool:
            mappings = batch.sample()["mappings"]
            return any(int(m["start"], 16) <= new.start < int(m["end"], 16) for m in mappings)

        wait_for(new_memory, "the memory after the exec")
        batch.process.send_signal(signal.SIGTERM)
        outcome = batch.end()
    assert outcome.code == 128 + signal.SIGTERM
    outcome.said(str(writer.pid), "exec")


@pytest.mark.usefixtures("needs_pagemap")
@pytest.mark.parametrize("track", [(), TRACK], ids=["off", "write-protect"])
def test_leader_is_a_zombie_but_threads_live(
    track: tuple[str, ...], writer: Writer, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("needs_write_protect" if track else "needs_pagemap")
    area = writer.map("area", "anon", 321)
    area.fill()
    writer.ask("vanish")
    wait_for(lambda: status(writer.pid, "State").startswith("Z"), "a zombie leader")
    outcome = once(writer.pid, *track)
    assert outcome.code == DONE, outcome
    (mapping,) = [m for m in outcome.samples[0]["mappings"] if int(m["start"], 16) == area.start]
    assert mapping["resident"] == 321 * 4096
    area.poke(0)


def test_kernel_thread() -> None:
    if not Path("/proc/2/status").exists() or status(2, "Kthread") != "1":
        pytest.skip("missing capability: seeing kernel threads (another pid namespace)")
    for words in ((), TRACK):
        outcome = once(2, *words)
        assert outcome.code in (KERNEL_CANNOT, FAILED), outcome
        outcome.said("kernel thread")


# ---- not permitted -------------------------------------------------------------------------------


def test_another_users_process(nobody: dict[str, Any], writer: Writer) -> None:
    for words in ((), TRACK):
        outcome = once(writer.pid, *words, **nobody)
        assert outcome.code == NOT_PERMITTED, outcome
        outcome.said(str(writer.pid))
    outcome = run("doctor", "-p", str(writer.pid), **nobody)
    assert "Traceback" not in outcome.err
    assert outcome.code in (DONE, NOT_PERMITTED), outcome


@pytest.mark.usefixtures("needs_write_protect")
def test_ones_own_process_needs_no_root(nobody: dict[str, Any], nobodys: Writer) -> None:
    area = nobodys.map("area", "anon", 50)
    area.fill()
    outcome = once(nobodys.pid, *TRACK, **nobody)
    assert outcome.code == DONE, outcome
    assert outcome.samples[0]["tracker"]["name"] == "write-protect"
    area.fill()


def test_process_that_may_not_be_dumped(nobody: dict[str, Any], nobodys: Writer) -> None:
    nobodys.ask("nodump")
    outcome = once(nobodys.pid, **nobody)
    assert outcome.code == NOT_PERMITTED, outcome
    outcome.said(str(nobodys.pid))


@pytest.mark.usefixtures("needs_root")
def test_root_without_the_right_to_trace(writer: Writer) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("missing capability: setpriv (util-linux)")
    drop = "-sys_ptrace,-sys_admin,-perfmon"
    command = [setpriv, "--inh-caps", drop, "--bounding-set", drop]
    done = subprocess.run(
        command + memtop("batch", "-p", str(writer.pid), "-n", "1", "--json", *TRACK),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    outcome = Outcome(done.returncode, done.stdout, done.stderr, 0)
    assert outcome.code == NOT_PERMITTED, outcome
    outcome.said(str(writer.pid))
    writer.map("area", "anon", 1).fill()


# ---- injection refused ---------------------------------------------------------------------------


@pytest.mark.usefixtures("needs_write_protect")
def test_seccomp_filter_is_suspended_where_root_may(needs_root: None, writer: Writer) -> None:
    area = writer.map("area", "anon", 10)
    writer.ask("seccomp")
    outcome = once(writer.pid, *TRACK)
    assert outcome.code in (DONE, NOT_PERMITTED, KERNEL_CANNOT), outcome
    if outcome.code:
        outcome.said("seccomp")
    area.fill()  # alive, whatever was decided


@pytest.mark.usefixtures("needs_write_protect")
def test_seccomp_filter_without_the_right_to_suspend_it(nobody: dict[str, Any], nobodys: Writer) -> None:
    area = nobodys.map("area", "anon", 10)
    nobodys.ask("seccomp")
    outcome = once(nobodys.pid, *TRACK, **nobody)
    assert outcome.code in (NOT_PERMITTED, KERNEL_CANNOT), outcome
    outcome.said("seccomp", str(nobodys.pid))
    area.fill()
    assert once(nobodys.pid, "--track", "auto", **nobody).code == DONE, "auto goes on with what is left"
    area.fill()


@pytest.mark.usefixtures("needs_write_protect")
def test_already_traced(writer: Writer, build: Callable[[str], Path]) -> None:
    area = writer.map("area", "anon", 10)
    with traced(writer.pid, build):
        outcome = once(writer.pid, *TRACK)
        assert outcome.code in (FAILED, NOT_PERMITTED), outcome
        outcome.said("traced")
        outcome = once(writer.pid)
        assert outcome.code == DONE, "looking goes on"
        area.fill()
    assert once(writer.pid, *TRACK).code == DONE, "and tracking, once the tracer is gone"


@pytest.mark.usefixtures("needs_write_protect")
def test_under_gdb(writer: Writer) -> None:
    gdb = shutil.which("gdb")
    if gdb is None:
        pytest.skip("missing capability: gdb")
    command = [gdb, "-q", "-nx", "-p", str(writer.pid)]
    with spawned(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        wait_for(lambda: status(writer.pid, "State").startswith("t"), "stopped by gdb")
        outcome = once(writer.pid, *TRACK)
        assert outcome.code in (FAILED, NOT_PERMITTED), outcome
        outcome.said("traced")
        assert once(writer.pid).code == DONE
    writer.map("area", "anon", 10).fill()


@pytest.mark.usefixtures("needs_write_protect")
def test_a_stopped_target_stays_stopped(writer: Writer) -> None:
    area = writer.map("area", "anon", 10)
    os.kill(writer.pid, signal.SIGSTOP)
    wait_for(lambda: status(writer.pid, "State").startswith("T"), "stopped")
    outcome = once(writer.pid, *TRACK)
    assert outcome.code == DONE, outcome
    assert status(writer.pid, "State").startswith("T")
    os.kill(writer.pid, signal.SIGCONT)
    area.fill()


@pytest.mark.usefixtures("needs_write_protect")
def test_two_memtops_on_one_target(writer: Writer) -> None:
    area = writer.map("area", "anon", 10)
    area.fill()
    with Batch(writer.pid, "-n", "1000", "-d", "0.1", *TRACK) as first:
        first.sample()
        outcome = once(writer.pid, *TRACK)
        assert "Traceback" not in outcome.err
        if outcome.code == DONE:
            (mapping,) = [m for m in outcome.samples[0]["mappings"] if int(m["start"], 16) == area.start]
            assert mapping["exactness"] == "none"
            assert mapping["written_pages"] is None
        log = area.poke(3)
        found: list[Any] = []
        # the second left no trace: the first still sees all
        wait_for(lambda: found.append(mapping_of(first.sample(), area.start)) or found[-1], "the write")
        assert log


def mapping_of(sample: dict[str, Any], start: int) -> int:
    (mapping,) = [m for m in sample["mappings"] if int(m["start"], 16) == start]
    return int(mapping["written_pages"])
