"""Where a sandbox gives less: what is left works, and the reason is said."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import PATIENCE, Outcome, Writer, memtop

TESTS = Path(__file__).parent
CONTAINER = ["userfaultfd", "ptrace", "process_vm_readv", "pidfd_getfd"]
LESS = [
    pytest.param(["userfaultfd"], "userfaultfd", id="userfaultfd"),
    pytest.param(["userfaultfd=ENOSYS"], "userfaultfd", id="userfaultfd-enosys"),
    pytest.param(["ptrace"], "ptrace", id="ptrace"),
    pytest.param(["ptrace=ENOSYS"], "ptrace", id="ptrace-enosys"),
    pytest.param(["process_vm_readv"], "process_vm_readv", id="process_vm_readv"),
    pytest.param(["pidfd_getfd=ENOSYS"], "pidfd_getfd", id="pidfd_getfd"),
    pytest.param(["pagemap"], "pagemap", id="pagemap"),
    pytest.param([*CONTAINER, "pagemap"], "pagemap", id="all"),
]


def run_in(command: list[str], timeout: float = PATIENCE) -> Outcome:
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


@pytest.mark.parametrize(("less", "name"), LESS)
def test_tracking_is_refused_with_the_reason(
    less: list[str], name: str, sandbox: Callable[..., list[str]], writer: Writer
) -> None:
    area = writer.map("area", "anon", 20)
    words = ("batch", "-p", str(writer.pid), "-n", "1", "--json", "--track", "write-protect")
    outcome = run_in(sandbox(less, memtop(*words)))
    if less == ["userfaultfd"] or less == ["userfaultfd=ENOSYS"]:
        # the filter is memtop's, not the target's: the call inside the target may well succeed
        assert outcome.code in (0, 4, 5), outcome
    else:
        assert outcome.code in (1, 4, 5), outcome
    if outcome.code:
        outcome.said(name)
    area.fill()


@pytest.mark.parametrize(("less", "name"), LESS)
def test_auto_goes_on_with_what_is_left(
    less: list[str], name: str, sandbox: Callable[..., list[str]], writer: Writer
) -> None:
    writer.map("area", "anon", 20).fill()
    words = ("batch", "-p", str(writer.pid), "-n", "2", "-d", "0.1", "--json", "--track", "auto")
    outcome = run_in(sandbox(less, memtop(*words)))
    assert outcome.code == 0, outcome
    assert "Traceback" not in outcome.err
    first, second = outcome.samples
    assert first["mappings"]
    tracker = second["tracker"]
    if tracker["name"] == "off":
        assert name in outcome.err + tracker["note"]
        assert all(mapping["written_pages"] is None for mapping in second["mappings"])
    if "pagemap" in less:
        assert all(not mapping["resident"] for mapping in second["mappings"])
        assert all(mapping["written_bytes_per_s"] is None for mapping in second["mappings"])


@pytest.mark.parametrize(("less", "name"), LESS)
def test_doctor_promises_no_more_than_there_is(
    less: list[str], name: str, sandbox: Callable[..., list[str]], writer: Writer
) -> None:
    pid = str(writer.pid)
    doctor = run_in(sandbox(less, memtop("doctor", "-p", pid)))
    assert doctor.code == 0, doctor
    assert "Traceback" not in doctor.err
    batch = run_in(sandbox(less, memtop("batch", "-p", pid, "-n", "1", "--track", "write-protect")))
    (usable,) = re.findall(r"^ write-protect +(\w+)", doctor.out.rsplit("Trackers", 1)[1], re.M)
    if batch.code:
        assert usable in ("no", "unknown"), doctor.out
        assert "sandbox" in doctor.out
    else:
        assert usable in ("yes", "unknown", "no"), doctor.out
    writer.map("area", "anon", 20).fill()


@pytest.mark.parametrize("less", [CONTAINER, ["pagemap"]], ids=["container", "pagemap"])
def test_the_tests_say_what_they_miss(
    less: list[str], sandbox: Callable[..., list[str]], tmp_path: Path
) -> None:
    """The suite's own skips, on its two files that need most."""
    files = [str(TESTS / name) for name in ("test_lifecycle.py", "test_states.py")]
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command = [*pytest_command, "--basetemp", str(tmp_path / "inner"), *files]
    outcome = run_in(sandbox(less, command), timeout=600)
    assert outcome.code == 0, outcome.out[-6000:]
    assert re.search(r"SKIPPED .* missing capability: \w+", outcome.out)
