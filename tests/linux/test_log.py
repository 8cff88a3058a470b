"""``--log FILE``: what was done to a process and verified, in a file that nobody else reads or redirects."""

from __future__ import annotations

import logging
import os
import re
import resource
import signal
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import life as sys
import pytest
from harness import Batch, Outcome, Writer, run
from life import Life

from memtop.cli.log import logged
from memtop.linux.clear_refs import clear
from memtop.linux.footprint import take_footprint, verify
from memtop.linux.process import ProcessHandle
from memtop.linux.ptrace import create_userfaultfd
from memtop.model.actions import ClearRefs

LINE = re.compile(r"(\S+) memtop\[(\d+)\] (.*)")
TRACK = ("--track", "write-protect")


def batch(writer: Writer, log: Path, *words: str, n: int = 1) -> Outcome:
    return run("batch", "-p", str(writer.pid), "-n", str(n), "-d", "0.1", "--log", str(log), *words)


def sentences(log: Path) -> list[str]:
    """Without time and sender, which are checked."""
    found = []
    for line in log.read_text(encoding="utf-8").splitlines():
        match = LINE.fullmatch(line)
        assert match, line
        age = datetime.now(timezone.utc) - datetime.fromisoformat(match[1])
        assert 0 <= age.total_seconds() < 120
        found.append(match[3])
    return found


def in_order(said: list[str], *parts: str) -> None:
    left = iter(said)
    for part in parts:
        assert any(part in sentence for sentence in left), (part, said)


# ---- what it says --------------------------------------------------------------------------------


@pytest.mark.usefixtures("needs_write_protect")
def test_what_was_done_and_verified(writer: Writer, tmp_path: Path) -> None:
    log, pid = tmp_path / "log", writer.pid
    writer.map("area", "anon", 10).fill()
    assert batch(writer, log, *TRACK).code == 0
    said = sentences(log)
    in_order(
        said,
        "starts as user",
        f"{pid}: looks at writer",
        f"{pid}: tracking of writes by write-protect is asked for",
        f"{pid}: going to run userfaultfd() and close()",
        f"{pid}: thread {pid} stood still for",
        f"{pid}: verified: the registers and the signal mask of thread {pid} were as before",
        f"{pid}: verified: thread {pid} is not traced any more",
        f"{pid}: verified: its {len(os.listdir(f'/proc/{pid}/fd'))} descriptors are as before",
        "mappings are as before",
        f"{pid}: tracker in charge: write-protect",
        f"{pid}: write-protects",
        f"{pid}: closed its userfaultfd",
        "memtop ends",
    )
    assert not any(word in sentence for sentence in said for word in ("NOT AS BEFORE", "not verified"))


@pytest.mark.usefixtures("needs_pagemap")
def test_only_looking_does_nothing(writer: Writer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert batch(writer, log, "--max-cost", "0", n=3).code == 0
    assert sentences(log)[1:-1] == [f"{writer.pid}: looks at writer of user root"]


@pytest.mark.usefixtures("needs_write_protect")
def test_kill_9_loses_no_line(writer: Writer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Batch(writer.pid, "-d", "0.1", "--log", str(log), *TRACK) as running:
        running.sample()
        running.process.kill()
        running.end()
    in_order(sentences(log), "stood still", "write-protects")


@pytest.mark.usefixtures("needs_write_protect")
def test_a_refusal_and_an_end_by_signal(writer: Writer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    pid = str(os.getpid())
    assert run("batch", "-p", pid, "-n", "1", "--log", str(log), *TRACK).code == 1
    in_order(sentences(log), f"{pid}: refused: tracking writes of", "memtop ends: tracking writes of")
    with Batch(writer.pid, "-d", "0.1", "--log", str(log)) as running:
        running.sample()
        running.process.send_signal(signal.SIGTERM)
        running.end()
    assert sentences(log)[-1] == "memtop ends: signal 15"


@pytest.mark.usefixtures("needs_write_protect")
def test_budget_and_refused_mappings(life: Life, tmp_path: Path) -> None:
    """A mapping that the target's own userfaultfd has is refused once, not once a tick."""
    own = life.map(4)
    uffd = life.sys(sys.USERFAULTFD, 1 | os.O_CLOEXEC)
    room = life.map(1)
    life.put(room.start, (0xAA).to_bytes(8, "little") + bytes(16))
    life.sys(sys.IOCTL, uffd, 0xC018AA3F, room.start)  # UFFDIO_API
    life.put(room.start, b"".join(n.to_bytes(8, "little") for n in (own.start, own.bytes, 1, 0)))
    life.sys(sys.IOCTL, uffd, 0xC020AA00, room.start)  # UFFDIO_REGISTER, missing pages
    log = tmp_path / "log"
    outcome = run(
        *(
            "batch",
            "-p",
            str(life.pid),
            "-n",
            "4",
            "-d",
            "0.1",
            "--max-cost",
            "0.5",
            "--log",
            str(log),
            *TRACK,
        )
    )
    assert outcome.code == 0, outcome
    said = sentences(log)
    refused = [sentence for sentence in said if "the kernel refused the mapping" in sentence]
    assert refused == [
        f"{life.pid}: the kernel refused the mapping {own.start:x}-{own.end:x}: Device or resource busy"
    ]
    in_order(said, "samples come every")


@pytest.mark.usefixtures("needs_pagemap")
def test_clear_refs(writer: Writer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "memtop"):
        clear(writer.pid, ClearRefs.PEAK)
    assert caplog.messages == [f"{writer.pid}: wrote 5 to clear_refs: cleared the peak resident size (VmHWM)"]


# ---- the verification can convict ------------------------------------------------------------------


@pytest.mark.usefixtures("needs_write_protect")
@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda life: life.sys(sys.USERFAULTFD, 1), "NOT AS BEFORE: it has a userfaultfd more"),
        (lambda life: life.memfd(1), "no userfaultfd is left in it; other descriptors have changed (new "),
        (lambda life: life.sys(sys.CLOSE, 3), "have changed (closed 3)"),
        (lambda life: life.map(1), "lines of maps are new"),
        (lambda life: None, None),
    ],
    ids=["userfaultfd", "descriptor", "closed", "mapping", "nothing"],
)
def test_what_has_changed_is_said(change: Callable[[Life], object], word: str | None, life: Life) -> None:
    assert life.memfd(1) == 3
    before = take_footprint(life.pid, life.pid)
    change(life)
    said = list(verify(life.pid, life.pid, before))
    if word is None:
        assert all(sentence.startswith("verified") for sentence in said), said
    else:
        assert sum(word in sentence for sentence in said) == 1, said


@pytest.mark.usefixtures("needs_write_protect")
def test_the_injector_reads_registers_back(life: Life) -> None:
    with ProcessHandle.open(life.pid) as process:
        injection = create_userfaultfd(process)
    os.close(injection.fd)
    assert injection.verified


# ---- the file --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("needs_pagemap")
def test_appends_to_a_file_of_ones_own_only(writer: Writer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for times in (1, 2):
        assert batch(writer, log).code == 0
        assert log.stat().st_mode & 0o777 == 0o600
        assert sum("starts as user" in sentence for sentence in sentences(log)) == times


def test_follows_no_symbolic_link(writer: Writer, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    link = tmp_path / "log"
    link.symlink_to(victim)
    outcome = batch(writer, link, *TRACK)
    assert outcome.code == 1
    outcome.said(str(link), "symbolic link")
    assert victim.read_text() == "as it was"


@pytest.mark.parametrize("kind", ["fifo", "directory", "device", "missing", "another's"])
def test_no_file_of_ones_own(kind: str, writer: Writer, tmp_path: Path) -> None:
    log, word = tmp_path / "log", "no plain file"
    if kind == "fifo":
        os.mkfifo(log)
    elif kind == "directory":
        log.mkdir()
        word = "directory"
    elif kind == "device":
        log = Path("/dev/null")
    elif kind == "missing":
        log, word = tmp_path / "no" / "log", "no such file"
    else:
        if os.geteuid():
            pytest.skip("missing capability: root (the test gives a file to another user)")
        log.touch()
        os.chown(log, 65534, 65534)
        word = "another user"
    outcome = batch(writer, log)
    assert outcome.code == 1
    assert outcome.out == ""
    outcome.said(str(log), word)


@pytest.mark.usefixtures("needs_pagemap")
def test_a_full_disk_is_said_at_the_end(writer: Writer, tmp_path: Path) -> None:
    log = tmp_path / "log"
    limit = (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1])  # as full; Python ignores SIGXFSZ
    outcome = run(
        *("batch", "-p", str(writer.pid), "-n", "2", "-d", "0.1", "--log", str(log)),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert outcome.code == 0, "a log is no reason to leave"
    outcome.said("lines are missing in", str(log), "too large")


def test_a_name_of_the_target_stays_on_its_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with logged(str(log)):
        logging.getLogger("memtop.test").info("evil\x1b[2J\nname")
    assert sentences(log)[1:] == ["evil\\x1b[2J\\x0aname", "memtop ends"]
