"""``python -m harm``: injects into every target again and again, killing memtop or its injector on the way.

Each injection is one line in a file of results, so that a run may be ended at any time and goes on where it
was.  Exit code: 0 all done and nothing harmed, 1 something was harmed, 3 not all done yet.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from harm import table, trace
from harm.strike import Blow, Outcome, strike
from harm.targets import KINDS, Kind, Missing, Target
from memtop.linux.threads import rank_threads
from memtop.native import lib
from tools import marked

ROOT = Path(__file__).parent.parent
PIECE = 50  # injections before the next target has its turn
MOST_LEFT = 200  # inert userfaultfds in a target before it is started anew

TURNS = (  # who is killed, and when; every other blow falls at a system call of the injector
    ("injector", "step"), ("injector", "window"), ("injector", "step"), ("memtop", "step"),
    ("injector", "window"), ("both", "step"), ("injector", "step"), ("injector", "life"),
    ("both", "window"), ("injector", "step"), ("memtop", "life"), ("nobody", "life"),
)  # fmt: skip


class Bench:
    """One kind of target, started anew whenever it was harmed."""

    def __init__(self, kind: Kind, seed: int, built: Path) -> None:
        self.kind, self._seed, self._built = kind, seed, built
        self._target: Target | None = None
        self._scratch: Path | None = None
        self._points: list[str] = []
        self._life = self._stop = 0.001
        self._late = False  # the thread of the last one may come to run, and make its descriptor, only now

    def open(self) -> None:
        """Starts it, and measures an injection, once. Raises Missing."""
        self._fresh()
        if self._points:
            return
        tid = self._thread(None)
        stepped = [self._strike(tid, Blow("nobody", "step", -1)) for _ in range(3)]
        self._points = max((outcome.points for outcome in stepped), key=len)
        free = [self._strike(tid, Blow("nobody", "life", 0)) for _ in range(5)]
        self._life = median(outcome.life_s or 0.001 for outcome in free)
        self._stop = median(outcome.stop_s or 0.0003 for outcome in free)

    def _fresh(self) -> Target:
        if self._target is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="harm-"))
            self._target = self.kind.start(self._built, self._scratch)
        return self._target

    def _strike(self, tid: int, blow: Blow) -> Outcome:
        return strike(self._fresh().pid, tid, blow)

    def injection(self, number: int) -> dict[str, Any]:
        """The record of the ``number``-th injection into this kind of target."""
        chance = random.Random(f"{self._seed} {self.kind.name} {number}")
        target = self._fresh()
        tid = self._thread(chance if self.kind.any_thread and number % 2 else None)
        blow = self._blow(number, chance)
        masks = {t: target.mask(t) for t in {tid, target.pid}}
        record = {"target": self.kind.name, "number": number, "who": blow.who, "when": blow.when}
        before, interrupted = target.left, target.interrupted()
        try:
            outcome = self._strike(tid, blow)
        except (ProcessLookupError, TimeoutError) as error:
            outcome = Outcome(point=f"random in {blow.when}", words=f"harness: {error}")
        killed = outcome.fell and blow.who in ("injector", "both")
        harm = target.aftermath(killed + self._late, masks)
        if outcome.left:
            harm = harm or "the injector did not end"
        eintr = target.interrupted() - interrupted
        if eintr and not (eintr == 1 and killed and self._may_interrupt(outcome.points, blow)):
            harm = harm or f"{eintr} calls said EINTR"
        record.update(
            point=outcome.point, fell=outcome.fell, words=outcome.words, stop_s=outcome.stop_s, harm=harm
        )
        record["left"], record["eintr"] = target.left - before, eintr
        self._late = killed and record["left"] == 0
        if harm is not None or target.left > MOST_LEFT:
            self.close()
        return record

    def _thread(self, chance: random.Random | None) -> int:
        """The one that memtop takes, or any that it might."""
        ranked = rank_threads(self._fresh().pid)
        if self.kind.main_thread:
            return self._fresh().pid
        if chance is None:
            return ranked[0]
        patient = [t for t in ranked if lib.mt_thread_rank(self._fresh().pid, t) < lib.MT_RANK_NOTICES]
        return chance.choice(patient or ranked)

    def _blow(self, number: int, chance: random.Random) -> Blow:
        turn, place = divmod(number, len(TURNS))
        who, when = TURNS[place]
        if when == "step":
            same = [i for i, t in enumerate(TURNS) if t == (who, when)]
            nth = turn * len(same) + same.index(place)
            return Blow(who, when, nth * _stride(len(self._points)) % max(1, len(self._points)))
        return Blow(who, when, chance.random() * (self._life if when == "life" else self._stop))

    def _may_interrupt(self, points: list[str], blow: Blow) -> bool:
        """Whether the injector was killed between asking for the stop and undoing what that does.

        Where a program has no ``leave; ret`` and threads are borrowed at the entry of a call: any time then.
        """
        if blow.when != "step":
            return True  # at an instant that is not known
        undone = "after SETREGSET 1" in points and not self.kind.name.startswith("musl")
        return "after INTERRUPT 1" in points and not undone

    def close(self) -> None:
        """Ends the target."""
        if self._target is not None:
            self._target.end()
            self._target = None
            trace.reap_orphans()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None


def _stride(count: int) -> int:
    """About 0.6 of it, and prime to it: every point gets its turn, and neighbours not one after another."""
    stride = max(1, count * 5 // 8)
    while any(stride % p == 0 and count % p == 0 for p in range(2, stride + 1)):
        stride += 1
    return stride


def run(names: list[str], count: int, seed: int, results: Path, until: float) -> bool:
    """Goes on until each target had its share of ``count`` or the time is up; whether all is done."""
    done = Counter(record["target"] for record in table.read(results))
    share = -(-count // len(names))
    built = results.parent / "programs"
    built.mkdir(exist_ok=True)
    benches = {name: Bench(KINDS[name], seed, built) for name in names}
    with results.open("a", encoding="utf-8") as file:
        try:
            while left := [name for name in benches if done[name] < share]:
                for name in left:
                    bench = benches[name]
                    try:
                        bench.open()
                    except Missing as error:
                        _say(f"{name}: left out, for this machine lacks {error}")
                        del benches[name]
                        continue
                    for _ in range(min(PIECE, share - done[name])):
                        if time.monotonic() > until:
                            return False
                        record = bench.injection(done[name])
                        file.write(json.dumps(record) + "\n")
                        file.flush()
                        done[name] += 1
                        if record["harm"]:
                            _say(f"{name}: {record['who']} {record['point']}: {record['harm']}")
                    bench.close()
        finally:
            for bench in benches.values():
                bench.close()
    return True


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="harm", description=(__doc__ or "").split("\n")[0])
    p.add_argument(
        "--count",
        type=int,
        default=12_700,
        metavar="N",
        help="injections (default: 12700; five of six are killed)",
    )
    p.add_argument("--seed", type=int, default=1, metavar="N", help="of the random instants (default: 1)")
    p.add_argument("--minutes", type=float, default=0, metavar="M", help="stop after so long")
    p.add_argument("--targets", metavar="A;B", help="only those whose names contain one of these")
    p.add_argument("--results", type=Path, default=ROOT / "build" / "harm" / "results.jsonl", metavar="FILE")
    p.add_argument("--anew", action="store_true", help="forget the results so far")
    p.add_argument("--report", action="store_true", help="only show the table of the results so far")
    p.add_argument("--write", type=Path, metavar="FILE", help="put the table into this Markdown file")
    return p.parse_args()


def _chosen(words: str | None) -> Iterator[str]:
    for name in KINDS:
        if words is None or any(word.strip().lower() in name.lower() for word in words.split(";")):
            yield name


def main() -> int:
    """Runs it."""
    options = _options()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    if options.anew:
        options.results.unlink(missing_ok=True)
    names = list(_chosen(options.targets))
    if not names:
        raise SystemExit(f"no such target; there are: {'; '.join(KINDS)}")
    complete = True
    if not options.report:
        trace.become_subreaper()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        until = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
        complete = run(names, options.count, options.seed, options.results, until)
    records = [record for record in table.read(options.results) if record["target"] in names]
    text = table.render(records)
    print(text)
    if options.write is not None:
        marked.put(options.write, table.KEY, text)
    if any(record["harm"] for record in records):
        return 1
    if not complete:
        _say(f"{len(records)} of {options.count} done; run it again to go on")
        return 3
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
