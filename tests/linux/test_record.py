"""``memtop record``, ``replay`` and ``shot`` on real processes, as a user starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import PATIENCE, Writer, armed_mappings, memtop, merged, run, spawned, wait_for

from memtop.stream.recording import open_recording


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.usefixtures("needs_write_protect")
def test_the_pages_of_a_recording_are_those_that_were_written(writer: Writer, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    area = writer.map("area", "anon", 600)
    area.fill()
    truth = []
    command = memtop("record", "-p", str(writer.pid), "-o", str(path), "-d", "0.1", "--max-cost", "0")
    with spawned([*command, "--track", "write-protect"], stderr=subprocess.PIPE) as process:
        wait_for(lambda: lines_of(path) >= 3, "the baseline")
        for seed in range(5):
            truth += area.write("random", 40, seed=seed)
            before = lines_of(path)
            wait_for(lambda b=before: lines_of(path) > b + 1, "two more samples")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    recording = open_recording(str(path))
    (who,) = recording.processes()
    assert who.pid == writer.pid
    assert who.cmdline.startswith(str(writer._process.args[0]))  # type: ignore[index]
    wait_for(lambda: recording.closed, "its end")
    seen = []
    for index in range(len(recording.entries)):
        for row in recording.sample(index).mappings:
            if row.mapping.start <= area.start < row.mapping.end:
                seen += [(run_.start, run_.pages) for run_ in row.written]
    seen = [(max(s, area.start), n) for s, n in seen if area.start <= s < area.end]
    assert merged(seen) == merged(truth)
    assert not recording.problem
    assert {entry.whole for entry in recording.entries[1:]} == {False}


@pytest.mark.usefixtures("needs_pagemap")
def test_a_killed_recorder_leaves_what_it_had_written(writer: Writer, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    command = memtop("record", "-p", str(writer.pid), "-o", str(path), "-d", "0.1")
    with spawned(command, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: lines_of(path) >= 4, "samples")
        process.kill()
        process.wait()
    kept = lines_of(path)
    with path.open("ab") as file:  # as if the kill had come in the middle of a line
        file.write(b'{"type":"delta","version":1,"ti')
    done = run("shot", "--replay", str(path), "-o", "-", "--size", "100x20")
    assert done.code == 0, done
    assert f"■ replay end {kept - 1}/{kept - 1}" in done.out


@pytest.mark.usefixtures("needs_pagemap")
def test_a_recording_ends_with_the_process(writer: Writer, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    command = memtop("record", "-p", str(writer.pid), "-o", str(path), "-d", "0.1")
    with spawned(command, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: lines_of(path) >= 2, "samples")
        writer.__exit__()
        assert process.wait(PATIENCE) == 0
        assert "ended at" in process.stderr.read()
    last = json.loads(path.read_bytes().splitlines()[-1])
    assert last["state"] == "ended"
    picture = tmp_path / "last.txt"
    assert run("shot", "--replay", str(path), "-o", str(picture)).code == 0
    assert "this is its last picture" in picture.read_text()


@pytest.mark.parametrize("verb", ["record", "shot"])
def test_no_file_is_written_over(verb: str, writer: Writer, tmp_path: Path) -> None:
    taken, link, victim = tmp_path / "taken.txt", tmp_path / "link.txt", tmp_path / "victim"
    taken.write_text("mine")
    link.symlink_to(victim)
    for path in (taken, link):
        done = run(verb, "-p", str(writer.pid), "-o", str(path), "--track", "auto")
        assert done.code == 1, done
        assert done.err == f"memtop: {path} exists already: memtop writes over no file (name another)\n"
    assert taken.read_text() == "mine"
    assert not victim.exists()
    assert armed_mappings(writer.pid) == 0


@pytest.mark.parametrize("verb", ["record", "shot"])
def test_of_what_can_not_be_looked_at_no_file_stays(verb: str, tmp_path: Path) -> None:
    path = tmp_path / "none.txt"
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert run(verb, "-p", str(child.pid), "-o", str(path)).code == 3
    assert not path.exists()


@pytest.mark.usefixtures("needs_pagemap")
def test_files_are_for_their_owner_alone(writer: Writer, tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        path = tmp_path / "run.jsonl"
        assert run("record", "-p", str(writer.pid), "-o", str(path), "-n", "1").code == 0
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("needs_pagemap")
def test_shot_of_a_process(writer: Writer, tmp_path: Path) -> None:
    path = tmp_path / "now.svg"
    command = ["shot", "-p", str(writer.pid), "-o", str(path), "--size", "80x24", "--after", "0.5"]
    assert run(*command).code == 0
    svg = path.read_text()
    assert svg.startswith("<svg")
    assert str(writer.pid) in svg


@pytest.mark.parametrize(
    "words",
    [
        ["-o", "x.png", "-p", "1"],
        ["-o", "-", "-p", "1", "--at", "3"],
        ["-o", "-"],
        ["-o", "-", "-p", "1", "--replay", "x"],
        ["-o", "-", "-p", "1", "--size", "1x1"],
        ["-o", "-", "-p", "1", "--after", "nan"],
    ],
)
def test_shot_refuses_what_makes_no_sense(words: list[str]) -> None:
    assert run("shot", *words).code == 2
