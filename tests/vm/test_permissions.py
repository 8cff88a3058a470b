"""What works for whom: real users, capabilities and settings. docs/permissions.md is made of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import identity
import pytest
from harness import Writer
from identity import OTHER, USER

from memtop.linux.errors import KernelCannot, MemtopError
from memtop.linux.features import KernelFeatures, TargetFeatures, probe_kernel, probe_target
from memtop.linux.process import ProcessHandle
from memtop.model.actions import Method
from memtop.model.sample import Sample
from memtop.sampler.target import Target, open_target

pytestmark = pytest.mark.usefixtures("needs_root")

Cell = dict[str, str]
"""``can``: yes, no, or kernel (it can't, whoever asks); ``says``: the sentence."""

READS, PAGES, EXACT, SOFT = "maps", "pages", "write-protect", "soft-dirty"
YES, NO = "yes", "no"


@dataclass(frozen=True)
class Case:
    """Somebody who looks at a process, and what they are allowed.

    Attributes:
        allowed: of READS, PAGES, EXACT, SOFT; None: by kernel.
        prepare: makes the looking process who it is.
        target: options of the process that is looked at; by default user 1000 runs it.
        settings: files under /proc/sys, and what is in them meanwhile.
        tell: a command for the target first.
        why: a word of the reason, where nothing is allowed.
    """

    who: str
    allowed: frozenset[str] | None
    prepare: Callable[[], None]
    target: tuple[tuple[str, Any], ...] = (("user", USER), ("group", USER), ("extra_groups", ()))
    settings: tuple[tuple[str, str], ...] = ()
    tell: str = ""
    why: str = ""


ALL = frozenset((READS, PAGES, EXACT, SOFT))
NONE: frozenset[str] = frozenset()
NO_TRACING = ALL - {EXACT}
YAMA, UFFD = "kernel/yama/ptrace_scope", "vm/unprivileged_userfaultfd"


def user(uid: int, *capabilities: int) -> Callable[[], None]:
    return lambda: identity.become(uid, capabilities)


def after(*steps: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        for step in steps:
            step()

    return run


def hidden() -> None:
    """Since Linux 5.8 each mount of /proc has options of its own."""
    identity.own_proc("hidepid=2")


ROOT, SAME, ANOTHER = user(0), user(USER), user(OTHER)
NAMESPACED = after(SAME, identity.root_of_user_namespace)
FREE = ((YAMA, "0"),)

CASES = (
    Case("root", ALL, ROOT, settings=FREE),
    Case("the same user", ALL, SAME, settings=FREE),
    Case("another user", NONE, ANOTHER, settings=FREE, why="belongs to user"),
    Case("another user with CAP_SYS_PTRACE", frozenset((READS,)), user(OTHER, identity.SYS_PTRACE)),
    Case("another user with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", ALL - {SOFT},
         user(OTHER, identity.SYS_PTRACE, identity.DAC_READ_SEARCH)),
    Case("another user with CAP_PERFMON", None, user(OTHER, identity.PERFMON)),
    Case("another user with CAP_CHECKPOINT_RESTORE", NONE, user(OTHER, identity.CHECKPOINT_RESTORE)),
    Case("the same user, ptrace_scope 1", NO_TRACING, SAME, settings=((YAMA, "1"),)),
    Case("the same user, ptrace_scope 2", NO_TRACING, SAME, settings=((YAMA, "2"),)),
    Case("root, ptrace_scope 2", ALL, ROOT, settings=((YAMA, "2"),)),
    Case("the same user, /proc with hidepid=2", ALL, after(hidden, SAME), settings=FREE),
    Case("another user, /proc with hidepid=2", NONE, after(hidden, ANOTHER), settings=FREE),
    Case("the same user, unprivileged_userfaultfd 0", ALL, SAME, settings=(*FREE, (UFFD, "0"))),
    Case("the same user, unprivileged_userfaultfd 1", ALL, SAME, settings=(*FREE, (UFFD, "1"))),
    Case("the same user, the process is not dumpable", NONE, SAME, settings=FREE, tell="nodump",
         why="non-dumpable"),
    Case("root, the process is not dumpable", ALL, ROOT, settings=FREE, tell="nodump"),
    Case("root, the process is in a pid namespace", ALL, ROOT, (("pid_namespace", True),), FREE),
    Case("the same user, the process is in a user namespace", ALL, SAME, (("user_namespace", True),), FREE),
    Case("root of a user namespace, the process is outside", NONE, NAMESPACED, settings=FREE),
    # Nothing but a reboot takes it back: conftest.py sees to it that these come last.
    Case("the same user, ptrace_scope 3", NO_TRACING, SAME, settings=((YAMA, "3"),)),
    Case("root, ptrace_scope 3", NO_TRACING, ROOT, settings=((YAMA, "3"),)),
)  # fmt: skip


# ---- one case -------------------------------------------------------------------------------------------


@contextmanager
def setting(name: str, value: str) -> Iterator[None]:
    path = Path("/proc/sys") / name
    if not path.exists() and (name, value) in FREE:
        yield  # without Yama nothing restricts either
        return
    if not path.exists():
        pytest.skip(f"missing capability: {name} (not in this kernel)")
    before = path.read_text()
    if before.strip() == value:
        yield
        return
    if "MEMTOP_GUEST" not in os.environ:
        pytest.skip("missing capability: a machine of its own (make test-kernels)")
    path.write_text(value)
    try:
        yield
    finally:
        if value != "3" or name != YAMA:
            path.write_text(before)


@pytest.fixture(scope="session")
def program(build: Callable[[str], Path]) -> Iterator[Path]:
    """The writer where every user may run it."""
    directory = Path(tempfile.mkdtemp(prefix="memtop-writer-"))
    directory.chmod(0o755)
    yield Path(shutil.copy(build("writer"), directory))
    shutil.rmtree(directory)


def in_namespace(pid_namespace: bool = False, user_namespace: bool = False) -> dict[str, Any]:
    """Options of a process that starts in a namespace of its own."""

    def enter() -> None:
        if user_namespace:
            identity.become(USER)
            identity.root_of_user_namespace()
        if pid_namespace:
            identity.unshare(identity.NEWPID)
            if child := os.fork():  # the first process in it
                os.closerange(3, 4096)  # Popen waits for them
                os.waitpid(child, 0)
                os._exit(0)

    return {"preexec_fn": enter}


@contextmanager
def running(program: Path, scratch: Path, options: dict[str, Any]) -> Iterator[Writer]:
    inside = "pid_namespace" in options
    if inside or "user_namespace" in options:
        options = in_namespace(**options)
    try:
        writer = Writer(program, scratch, **options)
    except subprocess.SubprocessError:  # what it says is lost in the child
        identity.skip_or_fail("namespaces of one's own")
        raise
    with writer:
        if inside:  # it says 1; from here it is the child of the one we started
            parent = writer._process.pid
            writer.pid = int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])
        yield writer


def trial(pid: int) -> dict[str, Any]:
    """What this process gets to see and do, and what doctor says of it."""
    kernel = probe_kernel()
    try:
        target = open_target(pid, kernel)
    except MemtopError as error:
        refused = dict.fromkeys((READS, PAGES, EXACT, SOFT), _no(error))
        return {"cells": refused, "auto": "", "doctor": None}
    try:
        cells = {READS: {"can": YES, "says": ""}}
        try:
            sample = target.tick()
            cells[PAGES] = _pages(sample)
        except MemtopError as error:
            cells = {READS: _no(error), PAGES: _no(error)}
        for name, method in ((EXACT, Method.WRITE_PROTECT), (SOFT, Method.SOFT_DIRTY)):
            cells[name] = _arms(target, method)
        auto = _arms(target, Method.AUTO)
        chosen = target.tracker_info.name if auto["can"] == YES else auto["says"]
    finally:
        target.close()
    with ProcessHandle.open(pid) as handle:
        doctor = _doctor(kernel, probe_target(handle))
    return {"cells": cells, "auto": chosen, "doctor": doctor}


def _no(error: MemtopError) -> Cell:
    return {"can": "kernel" if isinstance(error, KernelCannot) else NO, "says": error.sentence}


def _pages(sample: Sample) -> Cell:
    seen = any(row.resident for row in sample.mappings)
    return {"can": YES if seen else NO, "says": "" if seen else sample.tracker.note}


def _arms(target: Target, method: Method) -> Cell:
    try:
        target.arm(method)
        assert target.tick().baseline or method is Method.AUTO
        target.tick()
    except MemtopError as error:
        return _no(error)
    return {"can": YES, "says": target.tracker_info.note}


def _doctor(kernel: KernelFeatures, target: TargetFeatures) -> dict[str, bool]:
    """The verdicts of ``memtop doctor``, from the same features in the same way."""
    reading = [target.maps.works, target.pagemap.works, kernel.pagemap.works]
    exact = [
        kernel.pagemap_scan,
        kernel.wp_async,
        kernel.ptrace,
        kernel.injection,
        target.attach,
        target.refusal,
    ]
    return {
        READS: bool(target.maps.works),
        PAGES: all(reading),
        EXACT: all(reading) and all(feature.works is not False for feature in exact),
        SOFT: all(reading) and bool(kernel.soft_dirty.works) and bool(target.clear_refs.works),
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.who)
def test_what_works_for_whom(
    case: Case, program: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with ExitStack() as stack:
        for name, value in case.settings:
            stack.enter_context(setting(name, value))
        writer = stack.enter_context(running(program, tmp_path / "scratch", dict(case.target)))
        writer.map("area", "anon", 16).fill()
        if case.tell:
            writer.ask(case.tell)
        told = identity.answer_of(case.prepare, lambda: trial(writer.pid))
        writer.ask("map after anon 1")  # it lives, and does as it is told
    cells: dict[str, Cell] = told["cells"]
    for cell in cells.values():
        cell["says"] = re.sub(r"\b\d{2,}\b", "N", cell["says"])
    record_property("permission", json.dumps({"who": case.who, "cells": cells, "auto": told["auto"]}))
    for name, cell in cells.items():
        assert cell["can"] == YES or cell["says"], f"{name}: no reason is given"
        assert case.why in cell["says"], name
        if case.allowed is not None and cell["can"] != "kernel":
            assert (cell["can"] == YES) == (name in case.allowed), (name, cell)
        if told["doctor"] is not None:
            assert (cell["can"] == YES) == told["doctor"][name], f"doctor says otherwise of {name}: {cell}"
    best = next((name for name in (EXACT, SOFT) if cells[name]["can"] == YES), "off")
    assert told["auto"] == best or cells[READS]["can"] == NO
