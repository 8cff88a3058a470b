"""``memtop scan``: the pages of a process that an expression matches, once or round after round."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import count

from memtop.cli.exits import ExitCode, complain
from memtop.cli.explain import explain
from memtop.cli.log import logged
from memtop.cli.options import Parser, add_log, address_range, interval, percent, positive
from memtop.linux import access
from memtop.linux.errors import MemtopError, ProcessGone
from memtop.linux.features import probe_kernel
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import read_stat
from memtop.linux.userfaultfd import fault_seconds
from memtop.model.actions import Arm, Care
from memtop.model.filter import CATEGORIES, FilterError, Tree, parse
from memtop.model.layout import HIGHEST, Category
from memtop.model.names import clean_text
from memtop.model.sample import Life, Process
from memtop.sampler.budget import FAULT_S, Budget
from memtop.stream.matches import JsonWriter, Round, TextWriter, Writer
from memtop.tracking.rounds import Rounds


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = Parser(prog="memtop scan", description="Prints the pages of a process that an expression matches.")
    p.add_argument("-p", "--pid", type=positive, metavar="PID", help="the process to look at")
    p.add_argument(
        "--match",
        required=True,
        metavar="EXPR",
        help=f"{', '.join(CATEGORIES)}; kind:heap, perms:rw, name~TEXT; & | ! ( )",
    )
    p.add_argument(
        "--range", type=address_range, default=(0, HIGHEST), metavar="A-B", help="addresses, hexadecimal"
    )
    p.add_argument("--explain", action="store_true", help="print the masks of the scans instead of scanning")
    p.add_argument(
        "--protect",
        action="store_true",
        help="track the process: each round prints what matches, and write-protects it in the same call",
    )
    p.add_argument(
        "--arm",
        type=Arm,
        choices=list(Arm),
        default=Arm.ANON,
        metavar="|".join(a.value for a in Arm),
        help="with --protect, which mappings: anonymous and private ones (default), files, or all",
    )
    p.add_argument(
        "-n", type=positive, metavar="N", help="how many rounds (default: 1; with --protect until it ends)"
    )
    p.add_argument("-d", "--delay", type=interval, default=1.0, metavar="SECONDS", help="between rounds")
    p.add_argument(
        "--max-cost",
        type=percent,
        default=0.02,
        metavar="PERCENT",
        help="of a processor, for write faults; rounds wait to stay below it (default: 2; 0: no bound)",
    )
    p.add_argument("--json", action="store_true", help="one JSON object a line: docs/filter.md")
    add_log(p)
    p.add_argument("--readonly", action="store_true", help="make --protect impossible")
    return p


def run(argv: Sequence[str]) -> int:
    """Runs the verb; returns the exit code."""
    p = parser()
    options = p.parse_args(argv)
    try:
        tree = parse(options.match)
    except FilterError as error:
        complain(f"--match: {error}")
        print("".join(c if c.isprintable() or c == "\n" else "?" for c in error.picture), file=sys.stderr)
        return ExitCode.USAGE
    if options.explain:
        print("\n".join(map(clean_text, explain(tree, protect=options.protect).split("\n"))), end="")
        return ExitCode.DONE
    if options.pid is None:
        p.error("-p PID is missing")
    access.set_readonly(options.readonly)
    access.drop_capabilities()
    if options.protect:
        access.require_action(f"write-protecting process {options.pid}")
    with (
        logged(options.log, ["scan", *argv]),
        ProcessHandle.open(options.pid) as handle,
        _opened(handle, options, tree) as rounds,
    ):
        _say(rounds, options)
        process = handle.describe()
        if not options.protect:
            return _look(process, rounds, options)
        try:
            return _follow(process, rounds, options)
        except ProcessGone:
            how = (
                "has ended" if handle.life() is Life.ENDED else "ran exec: tracking ended with its old memory"
            )
            complain(f"process {process.pid} ({process.comm}) {how}")
            return ExitCode.DONE if options.n is None else ExitCode.NO_PROCESS


@contextmanager
def _opened(handle: ProcessHandle, options: argparse.Namespace, tree: Tree) -> Iterator[Rounds]:
    with Rounds(handle, probe_kernel(), tree, options.range) as rounds:
        if options.protect:
            care, process = Care(arm=options.arm, max_cost=options.max_cost), handle.describe()
            complain(f"{process.comm} {process.pid}: going to {rounds.cost(care).sentence}")
            rounds.track(care)
        yield rounds


def _say(rounds: Rounds, options: argparse.Namespace) -> None:
    """What a reader of the answer must know before."""
    notes = list(rounds.notes)
    for text in rounds.strangers():
        like = get_close_matches(text, CATEGORIES, 1)
        notes.append(f"no mapping's name has {text!r}" + (f"; did you mean {like[0]}?" if like else ""))
    notes.append("" if options.protect else rounds.untracked())
    for note in filter(None, notes):
        complain(note)


def _look(process: Process, rounds: Rounds, options: argparse.Namespace) -> int:
    """Rounds that change nothing."""
    writer = _writer(options)
    for number in range(1, (options.n or 1) + 1):
        began = time.monotonic()
        _round(rounds, Round(process, options.match, number, time.time(), 0.0, False), writer)
        if number < (options.n or 1):
            time.sleep(max(began + options.delay - time.monotonic(), 0.0))
    return ExitCode.DONE


def _follow(process: Process, rounds: Rounds, options: argparse.Namespace) -> int:
    """Rounds that protect what they find, as soon as the faults of the one before are paid for."""
    writer = _writer(options)
    budget = Budget(options.max_cost, fault_seconds() or FAULT_S)
    before, cpu = time.monotonic(), time.thread_time()
    budget.spend(before, read_stat(process.pid).minflt, None, 0.0)
    for number in count(1):
        _wait(process.pid, budget, before + options.delay)
        began = time.monotonic()
        now = Round(process, options.match, number, time.time(), began - before, True)
        written = _round(rounds, now, writer)
        if number == options.n:
            break
        spent = time.thread_time() - cpu
        budget.spend(began, read_stat(process.pid).minflt, written, spent, sys.maxsize)
        before, cpu = began, cpu + spent
    return ExitCode.DONE


def _writer(options: argparse.Namespace) -> Writer:
    return JsonWriter() if options.json else TextWriter()


def _round(rounds: Rounds, now: Round, writer: Writer) -> int:
    """Prints one; returns how many written pages it found."""
    sys.stdout.write(writer.begin(now))
    runs = pages = written = 0
    for found in rounds.find(protect=now.protect):
        sys.stdout.write(writer.found(found))
        runs += 1
        pages += found.match.pages
        written += found.match.pages if found.match.categories & Category.WRITTEN else 0
    sys.stdout.write(writer.end(now, runs, pages))
    sys.stdout.flush()
    return written


def _wait(pid: int, budget: Budget, due: float) -> None:
    """Until the next round is due and its faults are paid for."""
    time.sleep(max(due - time.monotonic(), 0.0))
    while True:
        try:
            wait = budget.wait(time.monotonic(), read_stat(pid).minflt)
        except MemtopError:  # it ended: the round says so
            return
        if wait <= 0:
            return
        time.sleep(min(wait, 1.0))
