"""One whole tick of memtop, Sample included, against what it stands on and what people use instead."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from _common import Helper, Report, milliseconds, options, programs, times, vm_kib

from memtop.linux.features import probe_kernel
from memtop.model.actions import Method
from memtop.sampler.target import Target, open_target

GIB = 1 << 30
PART = 64 * GIB
"""bare_scan reads only so much of a larger mapping through pagemap."""

Seconds = dict[str, list[float]]


@dataclass(frozen=True)
class Case:
    """A target.

    Attributes:
        writes: pages written before each tick of its third row; 0: no such row.
        off, armed: how the bare loop looks at it: the cheapest way for memory of this shape.
    """

    name: str
    shape: str
    size: int
    writes: int = 0
    off: str = "census"
    armed: str = "armed"

    @property
    def sparse(self) -> bool:
        return self.shape == "sparse"


CASES = [
    Case("4 GiB in 4 KiB pages", "small", 4 * GIB, 10_000, "rest", "armed-rest"),
    Case("4 GiB in huge pages", "huge", 4 * GIB, 0, "census-huge", "armed-huge"),
    Case("30 000 mappings", "many", 30_000, 1_000),
    Case("16 TiB with 1000 pages", "sparse", 16 << 40, 100),
]

NOTE = (
    "bare: a C loop of PAGEMAP_SCAN ioctls with the same masks over mappings that it knows already, told how "
    "their pages lie. "
    "bare + maps: with reading the text of maps, as every tick must. smaps: its text read and thrown away. "
    "pagemap: read in pieces of 64 KiB, bits counted in C (of 16 TiB: taken from the first 64 GiB)."
)
COLUMNS = [
    "target", "tracking", "memtop ms", "bare ms", "memtop / bare", "bare + maps ms", "memtop / that",
    "smaps ms", "smaps / memtop", "pagemap ms", "pagemap / memtop",
]  # fmt: skip


class Bench:
    """memtop and the bare loop on one target."""

    def __init__(self, case: Case, target: Target, helper: Helper, bare: Helper, repeat: int) -> None:
        self.case, self.target, self.helper, self.bare, self.repeat = case, target, helper, bare, repeat

    def ask(self, word: str) -> tuple[float, int, int]:
        """Seconds, present pages, bytes of address space."""
        nanoseconds, pages, size = map(int, self.bare.ask(word).split())
        return nanoseconds / 1e9, pages, size

    def measure(self, scan: str, writes: int = 0) -> Seconds:
        """All ways in turn, so that a busy moment of the machine meets them alike."""
        seconds: Seconds = defaultdict(list)
        self.bare.ask("list")
        for turn in range(self.repeat + 1):
            one = self._turn(scan, writes)
            for name in one if turn else ():  # the first warms up
                seconds[name].append(one[name])
        return seconds

    def _turn(self, scan: str, writes: int) -> dict[str, float]:
        if writes:
            self.helper.ask(writes)
        began = time.perf_counter()
        sample = self.target.tick()
        one = {"memtop": time.perf_counter() - began}
        if writes and sample.runs.pages < writes:
            raise SystemExit(f"{self.case.name}: {sample.runs.pages} pages seen of {writes} written")
        if writes:
            self.helper.ask(writes)
        one["bare"], pages, _ = self.ask(scan)
        resident = sample.totals.resident
        if abs(pages * 4096 - resident) > 0.02 * resident + (8 << 20):
            raise SystemExit(f"{self.case.name}: memtop {resident}, bare {pages * 4096} bytes resident")
        one["bare + maps"] = one["bare"] + self.ask("maps")[0]
        one["smaps"] = self.ask("smaps")[0]
        one["pagemap"], _, size = self.ask("pagemap")
        if self.case.sparse:
            one["pagemap"] *= self.case.size / min(size, PART)
        return one


def row(report: Report, case: Case, tracking: str, seconds: Seconds) -> None:
    own = median(seconds["memtop"])
    cells = [milliseconds(seconds["memtop"])]
    for other in ("bare", "bare + maps"):
        cells += [milliseconds(seconds[other]), times(own / median(seconds[other]))]
    for other in ("smaps", "pagemap"):
        cells += [milliseconds(seconds[other]), times(median(seconds[other]) / own)]
    report.add(case.name, tracking, *cells)


def main() -> None:
    chosen = options(__doc__, repeat=15)
    report = Report("tick", "One tick of memtop beside its alternatives", COLUMNS, NOTE)
    kernel = probe_kernel()
    with programs("target", "bare_scan") as (target_program, bare_program):
        for case in CASES:
            with Helper(target_program, case.shape, case.size) as helper:
                helper.answer()
                tables = vm_kib(helper.pid, "VmPTE")
                target = open_target(helper.pid, kernel)
                with Helper(bare_program, helper.pid) as bare:
                    bench = Bench(case, target, helper, bare, chosen.repeat)
                    row(report, case, "off", bench.measure(case.off))
                    target.arm(Method.WRITE_PROTECT)
                    target.tick()
                    row(report, case, "armed, idle", bench.measure(case.armed))
                    if case.writes:
                        label = f"armed, {case.writes} written"
                        row(report, case, label, bench.measure(case.armed, case.writes))
                target.close()
                if case.sparse:
                    after = vm_kib(helper.pid, "VmPTE")
                    report.note += (
                        f" Page tables of the 16 TiB target: {tables} KiB before, {after} KiB after."
                    )
    report.finish(chosen.write)


if __name__ == "__main__":
    main()
