"""What the tests of ``memtop scan`` share."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from harness import (
    PAGE,
    Area,
    Runs,
    Writer,
    clipped,
    memtop,
    merged,
    run,
)

from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.model.filter import parse
from memtop.tracking.rounds import Rounds


def records(out: str, kind: str = "match") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in out.splitlines()]
    return [line for line in lines if line["type"] == kind]


def pages_of(found: list[dict[str, Any]], area: Area) -> Runs:
    """Matches, merged and cut to the area."""
    return clipped(((int(m["start"], 16), m["pages"]) for m in found), area.start, area.end)


def looked(pid: int, expression: str) -> Runs:
    """The same without a process of its own."""
    with ProcessHandle.open(pid) as handle, Rounds(handle, probe_kernel(), parse(expression)) as rounds:
        return [(found.match.start, found.match.pages) for found in rounds.find()]


def scan(writer: Writer, expression: str, *words: str) -> list[dict[str, Any]]:
    done = run("scan", "-p", str(writer.pid), "--match", expression, "--json", *words)
    assert done.code == 0, done.err
    return records(done.out)


class Scan:
    """A running ``memtop scan --protect --json``: one round after the other, as the process writes."""

    def __init__(self, pid: int, expression: str, *words: str) -> None:
        self.process = subprocess.Popen(
            memtop("scan", "-p", str(pid), "--match", expression, "--protect", "--json", "-d", "0.2", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Scan:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def round(self) -> list[dict[str, Any]]:
        """The matches of the round that ends next."""
        found = []
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            record = json.loads(line)
            if record["type"] == "match":
                found.append(record)
            if record["type"] == "scan-end":
                return found
        raise AssertionError(f"no more rounds: {self.process.communicate()[1]}")

    def until(self, area: Area, wanted: Runs) -> None:
        """Rounds together tell exactly these pages of the area, each once."""
        wanted = merged(wanted)
        told: Runs = []
        for _ in range(50):
            new = pages_of(self.round(), area)
            assert not set(addresses(new)) & set(addresses(told)), "told twice"
            told = merged([*told, *new])
            if told == wanted:
                return
        assert told == wanted


def addresses(runs: Runs) -> Iterator[int]:
    return (start + i * PAGE for start, pages in runs for i in range(pages))
