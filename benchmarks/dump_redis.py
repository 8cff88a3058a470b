"""What a caller of redis-server notices of dumps, one after another: memtop, gcore and redis' own BGSAVE."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from _common import Report, busy_note, options, programs, vm_kib
from dump import gcore, memtop
from redis import KEYS, VALUE, server

COLUMNS = ("p50", "p99", "p99.9", "largest")
Dump = Callable[[], None]


def background_save(socket: Path) -> None:
    """redis' own way: it forks, and its child writes."""

    def ask(*words: str) -> str:
        command = ["redis-cli", "-s", str(socket), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    ask("BGSAVE")
    while "rdb_bgsave_in_progress:1" in ask("INFO", "persistence"):
        time.sleep(0.01)


def ways_for(pid: int, socket: Path, directory: Path) -> dict[str, Dump | None]:
    """Each makes one dump, and leaves nothing."""

    def by(make: Callable[[int, Path], Path | None]) -> Dump:
        def once() -> None:
            path = make(pid, directory / "dump")
            if path is not None:
                path.unlink()

        return once

    return {
        "(no dump)": None,
        "memtop dump": by(memtop()),
        "memtop dump --format snapshot": by(memtop("--format", "snapshot")),
        "redis' BGSAVE": lambda: background_save(socket),
        "gcore": by(gcore),
    }


def main() -> None:
    chosen = options(__doc__, rounds=4, seconds=5, rate=10_000)
    missing = [name for name in ("redis-server", "gcore") if not shutil.which(name)]
    if missing:
        print(f"left out: {missing[0]} is not installed")
        return
    seen: dict[str, list[list[float]]] = {}
    dumps: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as name,
        programs("latency") as (latency,),
        server(Path(name)) as (pid, socket),
    ):
        words = [str(latency), str(socket), str(chosen.rate), str(chosen.seconds), str(KEYS), str(VALUE)]
        size = vm_kib(pid, "VmRSS") >> 10
        ways = ways_for(pid, socket, Path(name))
        for dump in ways.values():  # warms up
            if dump is not None:
                dump()
        for turn in range(chosen.rounds):
            order = list(ways.items())
            first = turn % len(order)  # no way is always the first
            for way, dump in order[first:] + order[:first]:
                with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as caller:
                    while dump is not None and caller.poll() is None:
                        began = time.monotonic()
                        dump()
                        dumps.setdefault(way, []).append(time.monotonic() - began)
                    text = caller.communicate()[0]
                seen.setdefault(way, []).append([float(word) for word in text.split()[1:]])
    report = Report(
        "dump-redis",
        f"Latency of redis-server with {size} MiB at {chosen.rate:,} requests/s, dumped over and over",
        ["dumped by", *(f"{c} µs" for c in COLUMNS), "p99, to alone", "dumps", "seconds each"],
        f"Half SET, half GET, {VALUE} B, {KEYS:,} keys, sent at fixed times and timed from when due: "
        f"a stop delays all that fall into it. {chosen.rounds} runs of {chosen.seconds} s each in turn, "
        f"medians of these.{busy_note()} `python benchmarks/dump_redis.py`",
    )
    for way in ways:
        columns = list(zip(*seen[way], strict=True))
        alone = [run[1] for run in seen["(no dump)"]]
        ratio = median(mine / base for mine, base in zip(columns[1], alone, strict=True))
        made = dumps.get(way, [])
        each = [f"{len(made)}", f"{median(made):.2f}"] if made else ["–", "–"]
        report.add(way, *(f"{median(c):,.0f}" for c in columns), f"{ratio:.2f} ×", *each)
    report.finish(chosen.write)


if __name__ == "__main__":
    main()
