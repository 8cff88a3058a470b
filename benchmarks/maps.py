"""30 000 mappings: the kernel's time to print /proc/PID/maps against memtop's to read and parse it."""

from __future__ import annotations

import time
from statistics import median

from _common import Helper, Report, milliseconds, options, programs, times

from memtop.linux.procfs import MapsReader

MAPPINGS = 30_000


def timed(reader: MapsReader) -> float:
    began = time.perf_counter()
    table = reader.read()
    took = time.perf_counter() - began
    assert len(table) > MAPPINGS
    return took


def main() -> None:
    chosen = options(__doc__, repeat=40)
    kernel: list[float] = []
    unchanged: list[float] = []
    changed: list[float] = []
    with (
        programs("target", "bare_scan") as (target_program, bare_program),
        Helper(target_program, "many", MAPPINGS) as target,
        Helper(bare_program, target.pid) as bare,
    ):
        target.answer()
        reader = MapsReader(target.pid)
        reader.read()
        for _ in range(chosen.repeat):
            kernel.append(int(bare.ask("maps").split()[0]) / 1e9)
            unchanged.append(timed(reader))
            target.ask("map")  # one mapping more or less: all is parsed anew
            changed.append(timed(reader))
        reader.close()
    report = Report(
        "maps",
        f"Reading {MAPPINGS:,} mappings".replace(",", " "),
        ["what", "ms", "to the kernel's own"],
        "The kernel's own: read(2) of the text in C, thrown away.",
    )
    report.add("the kernel prints the text", milliseconds(kernel), times(1.0))
    for what, seconds in (
        ("memtop, nothing changed", unchanged),
        ("memtop, one mapping changed: parsed, identified", changed),
    ):
        report.add(what, milliseconds(seconds), times(median(seconds) / median(kernel)))
    report.finish(chosen.write)


if __name__ == "__main__":
    main()
