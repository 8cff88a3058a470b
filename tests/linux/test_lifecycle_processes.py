"""What a tracked target does as a process: fork, exec, threads, its end; and who else tracks it."""

from __future__ import annotations

import os
import subprocess
import sys as interpreter
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from threading import Thread
from typing import Any

import life as sys
import pytest
from harness import Tracked, armed_mappings, run, status, wait_for
from life import Life, Span, Watch

from memtop.linux.clear_refs import clear
from memtop.linux.features import probe_kernel
from memtop.model.actions import ClearRefs, Method, Notice
from memtop.model.sample import Sample
from memtop.sampler.loop import Sampler
from memtop.sampler.target import Target, open_target

pytestmark = pytest.mark.usefixtures("needs_write_protect")

UFFDIO_API, UFFDIO_REGISTER = 0xC018AA3F, 0xC020AA00
QUADS = Struct("<QQQQ")


# ---- fork, vfork, threads --------------------------------------------------------------------------


def test_fork(life: Life, area: Span, watch: Watch) -> None:
    log = area.write(0, 4)
    child = life.ask("hold", area.start, area.pages)  # it writes a copy of its own of every page
    try:
        assert watch.told(area) == (log, {"exact"}), "not what the child wrote"
        assert armed_mappings(child) == 0
        watch.exact(area)
    finally:
        os.kill(child, 9)
    watch.exact(area)


def test_fork_of_huge_pages(life: Life, tracked: Callable[[int], Tracked]) -> None:
    area = life.map(1024, align=sys.HUGE)
    area.advise(sys.HUGEPAGE)
    area.write()
    watch = Watch(tracked, life)
    life.ask("fork", area.start, 600)
    assert watch.told(area) == ([], {"exact"})
    log = area.write(3, 2)
    assert watch.told(area) == (log, {"exact"})


def test_fork_between_two_ticks_over_and_over(life: Life, area: Span, watch: Watch) -> None:
    for turn in range(8):
        before = area.write(turn, 2)
        life.ask("fork", area.start, 32)
        after = area.write(turn + 2, 2)
        assert watch.told(area) == ([(before[0][0], 4)], {"exact"}), after


def test_vfork_writes_into_the_same_memory(life: Life, area: Span, watch: Watch) -> None:
    life.ask("vfork", area.at(8), 8)
    assert watch.told(area) == ([(area.at(8), 8)], {"exact"})
    watch.exact(area)


def test_ticks_while_a_vfork_parent_stands_still(life: Life, area: Span, watch: Watch) -> None:
    life.ask("vhold", area.at(8), 8)
    assert watch.told(area) == ([(area.at(8), 8)], {"exact"})
    assert watch.told(area) == ([], {"exact"})
    life.send("go")
    life.answer()
    watch.exact(area)


def test_threads_that_start_and_end(life: Life, area: Span, watch: Watch) -> None:
    for count in (1, 7, 32, 3):
        life.ask("threads", area.start, 60, count)
        assert watch.told(area) == ([(area.start, 60)], {"exact"})
    watch.exact(area)


# ---- exec, exit, the pid -----------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["exec", "texec"])
def test_exec(by: str, life: Life, area: Span, watch: Watch) -> None:
    """By the main thread, and by another one, which takes over its number."""
    tids = set(os.listdir(f"/proc/{life.pid}/task"))
    life.ask(by)
    assert set(os.listdir(f"/proc/{life.pid}/task")) == tids == {str(life.pid)}
    watch.told(area)
    sample = watch.sample
    assert (sample.life.value, sample.tracker.name, sample.totals.written_pages) == ("execed", "off", None)
    assert "exec" in sample.message
    assert sample.key == watch.tracker.target.key
    assert sample.totals.resident
    watch.tracker.target.arm(Method.WRITE_PROTECT)
    assert watch.tracker.tick().baseline
    fresh = life.map(16)
    watch.told(fresh)
    watch.exact(fresh)


@pytest.mark.parametrize("by", ["exec", "texec"])
def test_one_exec_after_another(by: str, life: Life, watch: Watch) -> None:
    """As a chain of wrappers does: whatever moment a tick meets, the process has not ended."""
    seen = set()
    for _ in range(60):
        life.send(by)
    answers = Thread(target=lambda: [life.answer() for _ in range(60)])
    answers.start()
    while answers.is_alive():
        seen.add(watch.tracker.tick().sample.life.value)
    watch.tracker.tick()
    seen.add(watch.tracker.tick().sample.life.value)
    assert seen == {"execed", "running"}


def test_exec_while_tracking_starts(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample that tells it says all; no notice says that nothing can be tracked here."""
    target = open_target(life.pid, probe_kernel())
    samples: list[Sample] = []
    notices: list[Notice] = []

    def late(*asked: Any) -> None:
        life.ask("exec")
        Target.arm(target, *asked)

    monkeypatch.setattr(target, "arm", late)
    sampler = Sampler([target], 60)
    sampler.start(samples.append, notices.append)
    try:
        sampler.arm(target.key, Method.WRITE_PROTECT)
        wait_for(lambda: samples and samples[-1].life.value == "execed", "the sample that tells it")
        monkeypatch.undo()
        sampler.arm(target.key, Method.WRITE_PROTECT)
        wait_for(lambda: notices, "a notice")
        assert "tracking writes by write-protect" in notices[0].text
    finally:
        sampler.stop()


def test_exit(life: Life, area: Span, watch: Watch) -> None:
    watch.told(area)
    picture = watch.sample
    life.process.kill()
    wait_for(lambda: status(life.pid, "State").startswith("Z"), "a zombie")
    for _ in range(2):
        watch.told(area)
        assert watch.sample.life.value == "ended"
        assert watch.sample.table is picture.table
        assert "ended" in watch.sample.message


def test_the_main_thread_ends_and_others_live_on(life: Life, area: Span, watch: Watch) -> None:
    watch.told(area)
    size = watch.sample.totals.size
    life.ask("vanish")
    wait_for(lambda: status(life.pid, "State").startswith("Z"), "a zombie leader")
    watch.exact(area)
    assert watch.sample.life.value == "running"
    assert watch.sample.totals.size >= size, "of the threads that live on, not of the main thread"
    assert watch.sample.totals.resident >= area.bytes


def test_tracking_starts_after_the_main_thread_has_ended(
    life: Life, area: Span, tracked: Callable[[int], Tracked]
) -> None:
    life.ask("vanish")
    wait_for(lambda: status(life.pid, "State").startswith("Z"), "a zombie leader")
    Watch(tracked, life).exact(area)


def test_what_else_is_asked_of_a_process_without_its_main_thread(life: Life, area: Span) -> None:
    """/proc/PID/status, smaps and clear_refs of it are empty or without effect; a thread's are not."""
    gone = life.map(1024)
    gone.write()
    gone.unmap()
    life.ask("vanish")
    wait_for(lambda: status(life.pid, "State").startswith("Z"), "a zombie leader")
    (tid,) = (tid for tid in os.listdir(f"/proc/{life.pid}/task") if tid != str(life.pid))
    target = open_target(life.pid, probe_kernel(), swap=True)
    try:
        sample = target.tick()
        assert sample.life.value == "running"
        assert sample.swapped is not None
        peak = peak_kilobytes(life.pid, tid)
        clear(life.pid, ClearRefs.PEAK)
        assert peak_kilobytes(life.pid, tid) < peak - 3000
    finally:
        target.close()


def peak_kilobytes(pid: int, tid: str) -> int:
    text = Path(f"/proc/{pid}/task/{tid}/status").read_text(encoding="utf-8")
    return int(text.partition("VmHWM:")[2].split()[0])


REUSE = """
import os, signal, subprocess, sys
from memtop.linux.features import probe_kernel
from memtop.sampler.target import open_target

def start(pid=None):
    if pid:
        with open("/proc/sys/kernel/ns_last_pid", "w") as last:
            last.write(str(pid - 1))
    process = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process

old = start()
target = open_target(old.pid, probe_kernel())
key = target.tick().key
old.kill()
old.wait()
new = start(old.pid)
assert new.pid == old.pid, "missing: the number was not given again"
sample = target.tick()
print(sample.life.value, sample.key == key, sample.message)
target.close()
print(open_target(new.pid, probe_kernel()).key != key)
new.kill()
"""


def test_a_reused_pid_is_another_process(build: Callable[[str], Path], needs_root: None) -> None:
    if not Path("/proc/sys/kernel/ns_last_pid").exists():
        pytest.skip("missing capability: ns_last_pid (CONFIG_CHECKPOINT_RESTORE)")
    words = ["unshare", "--pid", "--fork", "--mount-proc", interpreter.executable, "-c", REUSE, build("life")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if done.stderr.startswith("unshare: ") or "ns_last_pid" in done.stderr:
        pytest.skip(f"missing capability: a pid namespace of its own ({done.stderr.splitlines()[-1]})")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("ended True")
    assert "ended" in first.split(maxsplit=2)[2]
    assert second == "True"


# ---- who else has a userfaultfd --------------------------------------------------------------------------


def own_userfaultfd(life: Life, span: Span) -> int:
    """The target registers pages of its own, for missing pages as a live migration does."""
    fd = life.sys(sys.USERFAULTFD, 1)  # UFFD_USER_MODE_ONLY
    room = life.map(1)
    life.put(room.start, QUADS.pack(0xAA, 0, 0, 0))
    life.sys(sys.IOCTL, fd, UFFDIO_API, room.start)
    life.put(room.start, QUADS.pack(span.start, span.bytes, 1, 0))
    life.sys(sys.IOCTL, fd, UFFDIO_REGISTER, room.start)
    return fd


def test_a_target_with_a_userfaultfd_of_its_own(
    life: Life, area: Span, tracked: Callable[[int], Tracked]
) -> None:
    other = life.map(32)
    other.write()
    fd = own_userfaultfd(life, area)
    watch = Watch(tracked, life)
    area.write(3, 2)
    assert watch.told(area) == ([], {"none"}), "not known is not clean"
    assert watch.coverage(area) == {"BUSY"}
    watch.exact(other)
    life.sys(sys.CLOSE, fd)
    told, said = watch.told(area)  # it is free now: taken at the next tick
    assert said == {"approximate"}
    assert told == [(area.start, area.pages)]
    watch.exact(area)


def test_a_second_memtop_says_that_the_first_has_it(
    life: Life, area: Span, tracked: Callable[[int], Tracked]
) -> None:
    first = Watch(tracked, life)
    second = Watch(tracked, life)
    log = area.write(3, 2)
    assert second.told(area) == ([], {"none"})
    info = second.sample.tracker
    assert info.armed == 0
    assert "another memtop" in info.note
    assert first.told(area) == (log, {"exact"}), "undisturbed"
    assert "another memtop" not in first.sample.tracker.note
    first.tracker.close()
    second.told(area)
    assert second.sample.tracker.armed > 0, "it takes over"
    assert "another memtop" not in second.sample.tracker.note
    second.exact(area)


def test_a_second_memtop_on_the_command_line(
    life: Life, area: Span, tracked: Callable[[int], Tracked]
) -> None:
    Watch(tracked, life)
    outcome = run("batch", "-p", str(life.pid), "-n", "1", "--track", "write-protect", "--json")
    assert outcome.code == 0
    assert "another memtop" in outcome.samples[0]["tracker"]["note"]
