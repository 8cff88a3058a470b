"""Samples of a made-up process, one for each tick."""

from __future__ import annotations

import random
from array import array

from fake_world import TIME, FakeMapping

from memtop.model.actions import Method
from memtop.model.coverage import Coverage, Exactness
from memtop.model.layout import COUNT, MAPPING, PAGE, CountFlag
from memtop.model.mapping import MappingTable
from memtop.model.runs import PageRun, PageRuns
from memtop.model.sample import Cost, Faults, Life, Process, Sample, Totals, TrackerInfo, Watched


def runs_of(start: int, pages: set[int], huge: bool = False) -> list[PageRun]:
    """Neighbouring pages joined."""
    if not pages:
        return []
    ordered = sorted(pages)
    firsts = [i for i, page in enumerate(ordered) if not i or ordered[i - 1] != page - 1]
    return [
        PageRun(start + ordered[i] * PAGE, end - i, huge)
        for i, end in zip(firsts, [*firsts[1:], len(ordered)], strict=True)
    ]


def bits(pages: set[int], total: int) -> int:
    """The 64 cells of a mapping that hold one of these pages."""
    cell = -(-total // 64)
    return sum(1 << i for i in {page // cell for page in pages})


class FakeTarget:
    """One process and what was asked of it."""

    def __init__(self, who: Process, mappings: list[FakeMapping], seed: int = 1) -> None:
        self.process, self.mappings = who, mappings
        self.rng = random.Random(seed)
        self.method = Method.OFF
        self.baseline = self.still = False
        self.ticks = 0
        self.life = Life.RUNNING
        self.message = ""
        self.watch: tuple[int, int, int, int] | None = None
        self._next_id = 1
        self._maps: dict[int, tuple[int, int]] = {}
        self.time = TIME

    def _census(self, m: FakeMapping) -> tuple[int, int]:
        """Resident pages and their 64 cells; counted once, for every 16th page of large mappings."""
        if m.id not in self._maps:
            step = 16 if m.pages > 60000 else 1
            there = [p for p in range(0, m.pages, step) if m.resident(p)]
            self._maps[m.id] = len(there) * step, bits(set(there), m.pages)
        return self._maps[m.id]

    def sample(self, interval: float) -> Sample:
        packed, counts, names, coverage, all_runs = b"", b"", b"", [], []
        ids: array[int] = array("Q")
        written_total = resident_total = huge_total = armed = 0
        tracking = self.method is not Method.OFF
        for m in sorted(self.mappings, key=lambda m: m.start):
            if not m.id:
                m.id, self._next_id = self._next_id, self._next_id + 1
            state = m.coverage if tracking else Coverage.OFF
            if tracking and self.baseline and state.tracked:
                state = Coverage.BASELINE
            pages: set[int] = set()
            if state.tracked and not self.baseline and not self.still:
                pages = {p for p in m.write(self.rng, self.ticks) if p < m.pages and m.resident(p)}
            resident, resident_map = self._census(m)
            runs = runs_of(m.start, pages, bool(m.flags & CountFlag.WRITTEN_HUGE))
            counts += COUNT.pack(
                resident,
                int(resident * m.huge),
                0,
                0,
                0,
                len(pages),
                resident_map,
                bits(pages, m.pages),
                len(all_runs),
                len(runs),
                m.flags if pages else m.flags & CountFlag.SCANNED,
                0,
            )
            all_runs += runs
            packed += MAPPING.pack(
                m.start,
                m.start + m.pages * PAGE,
                0,
                m.inode,
                8 if m.inode else 0,
                1 if m.inode else 0,
                len(names),
                len(m.name),
                m.perms,
                m.kind,
            )
            names += m.name
            ids.append(m.id)
            coverage.append(state)
            written_total += len(pages)
            resident_total += resident
            huge_total += int(resident * m.huge)
            armed += tracking and state.tracked
        measured = interval * 1.004 if self.ticks else 0.0
        self.time += interval
        self.ticks += 1
        sample = Sample(
            time=self.time,
            interval=measured,
            process=self.process,
            tracker=TrackerInfo(
                "write-protect", Exactness.EXACT, "chosen because it is exact to the page", armed, len(ids)
            )
            if tracking
            else TrackerInfo("off", Exactness.NONE, "", 0, len(ids)),
            table=MappingTable(packed, names, ids),
            counts=counts,
            coverage=bytes(coverage),
            runs=PageRuns.of(all_runs),
            totals=Totals(
                0,
                resident_total * PAGE,
                huge_total * PAGE,
                None,
                written_total if tracking else None,
                written_total * PAGE / (measured or 1) if tracking else None,
            ),
            faults=Faults(0.0 if self.still else written_total + 310.0, 0.0) if self.ticks > 1 else Faults(),
            cost=Cost(0.0118, 0.003, written_total),
            life=self.life,
            baseline=self.baseline,
            message=self.message,
            watched=self._watched(),
        )
        self.baseline = False
        return sample

    def _watched(self) -> Watched | None:
        if self.watch is None:
            return None
        mapping_id, start, cell_pages, cells = self.watch
        m = next((m for m in self.mappings if m.id == mapping_id), None)
        if m is None:
            return None
        resident = array("I", bytes(4 * cells))
        for i in range(cells):
            first = (start - m.start) // PAGE + i * cell_pages
            last = min(first + cell_pages, m.pages)
            step = max(cell_pages // 8, 1)
            resident[i] = sum(step for p in range(max(first, 0), last, step) if m.resident(p))
        return Watched(mapping_id, start, cell_pages, resident.tobytes(), bytes(4 * cells))
