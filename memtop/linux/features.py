"""What this kernel, this user and a process really allow, each with its reason and remedy.

Nothing is concluded from a version number: every feature is tried, those that would disturb anything in a
forked child (``memtop/native/probe.c``). What can't be tried is said to be unknown.
"""

from __future__ import annotations

import errno
import mmap
import os
from dataclasses import dataclass, fields
from functools import lru_cache

from memtop.linux import ptrace
from memtop.linux.access import is_filtered, readonly
from memtop.linux.errors import MemtopError
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import directory, explain, explain_memory, read_stat, read_status
from memtop.linux.threads import choose_thread
from memtop.model.layout import PAGE, Category
from memtop.native import ffi, lib

_REFUSED = (errno.EPERM, errno.EACCES)
_OUTSIDE = "run memtop outside of the sandbox"


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that works or does not.

    Attributes:
        works: None where it could not be tried.
        reason: why it does not, or what is to be known about it; may be empty where it works.
        remedy: what to do about it; may be empty.
    """

    name: str
    works: bool | None
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class _Features:
    def features(self) -> list[Feature]:
        """All of them, in the order in which they are worth reading."""
        return [value for f in fields(self) if isinstance(value := getattr(self, f.name), Feature)]


@dataclass(frozen=True, slots=True)
class KernelFeatures(_Features):
    """Of this kernel, for this user, in this sandbox.

    Attributes:
        release: as ``uname -r``.
        pagemap: /proc/PID/pagemap can be read at all.
        pagemap_scan: the PAGEMAP_SCAN ioctl.
        guard_bit, soft_dirty_bit: categories that not every kernel with PAGEMAP_SCAN knows.
        soft_dirty: the bits are really set.
        userfaultfd: memtop itself gets one; a target is another matter.
        wp_async: write protection that the kernel resolves, got and cleared by PAGEMAP_SCAN.
        ptrace: memtop may trace a child of its own.
        injection: the whole injection, tried on a child.
        pidfd: processes can be held against reuse of their pid.
        anon_names: anonymous mappings can be named (PR_SET_VMA_ANON_NAME).
    """

    release: str
    pagemap: Feature
    pagemap_scan: Feature
    guard_bit: Feature
    soft_dirty_bit: Feature
    soft_dirty: Feature
    userfaultfd: Feature
    wp_async: Feature
    ptrace: Feature
    injection: Feature
    pidfd: Feature
    anon_names: Feature


@dataclass(frozen=True, slots=True)
class TargetFeatures(_Features):
    """Of one process. Nothing of it was stopped or changed to find out.

    Attributes:
        maps, pagemap: can be read.
        clear_refs: can be opened for writing.
        attach: the kernel's access check says that memtop may trace it.
        refusal: whether anything else speaks against injecting into it.
        state: whether its thread can be stopped right now.
    """

    maps: Feature
    pagemap: Feature
    clear_refs: Feature
    attach: Feature
    refusal: Feature
    state: Feature


@lru_cache(maxsize=1)
def probe_kernel() -> KernelFeatures:
    """Tries everything once per run; takes some ten milliseconds. Raises nothing.

    With ``--readonly`` only what reading takes is tried: the rest traces or clears, if only memtop itself.
    """
    pagemap, codes = _probe_pagemap()
    if readonly():
        soft_dirty, userfaultfd, wp_async, tracing, injection = map(_untried, _ACTING)
    else:
        soft_dirty = _soft_dirty(lib.mt_probe_soft_dirty())
        userfaultfd = _userfaultfd(lib.mt_probe_userfaultfd())
        wp_async = _wp_async(lib.mt_probe_wp_async(), userfaultfd, codes)
        tracing, injection = _ptrace(lib.mt_probe_ptrace()), _injection()
    return KernelFeatures(
        release=os.uname().release,
        pagemap=pagemap,
        pagemap_scan=_pagemap_scan(pagemap, codes),
        guard_bit=_category("guard category", Category.GUARD, codes),
        soft_dirty_bit=_category("soft-dirty category", Category.SOFT_DIRTY, codes),
        soft_dirty=soft_dirty,
        userfaultfd=userfaultfd,
        wp_async=wp_async,
        ptrace=tracing,
        injection=injection,
        pidfd=_pidfd(),
        anon_names=_anon_names(),
    )


_ACTING = ("soft-dirty", "userfaultfd", "userfaultfd WP_ASYNC", "ptrace", "injection")


def _untried(name: str) -> Feature:
    return Feature(name, None, "not tried: memtop runs with --readonly", "start it without")


def probe_target(process: ProcessHandle) -> TargetFeatures:
    """What a process allows, without touching it.

    Raises:
        ProcessGone: it has ended.
    """
    pid, tid = process.pid, process.maps_tid()
    base = directory(pid, tid)
    thread, refusal = choose_thread(pid, lambda tid: ptrace.find_refusal(process, tid))
    error = -lib.mt_may_trace(thread)
    may = f"tracing process {pid}"
    attach = Feature("ptrace attach", True, "the kernel's access check passes")
    if error:
        attach = _from_error("ptrace attach", ptrace.refused_attach(pid, may, error, "process_vm_readv"))
    return TargetFeatures(
        maps=_opens("maps", f"{base}/maps", os.O_RDONLY, pid),
        pagemap=_opens("pagemap", f"{base}/pagemap", os.O_RDONLY, pid),
        clear_refs=_opens("clear_refs", f"/proc/{pid}/clear_refs", os.O_WRONLY, pid),
        attach=attach,
        refusal=_from_error("injection", refusal)
        if refusal and not error
        else Feature("injection", *_says(thread, error)),
        state=_state(thread),
    )


# ---- the kernel ------------------------------------------------------------------------------------


def _probe_pagemap() -> tuple[Feature, dict[int, int]]:
    """Opens memtop's own pagemap; errno of PAGEMAP_SCAN by category bits (0: known)."""
    name = "pagemap"
    try:
        fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _REFUSED:
            return Feature(name, False, "a sandbox refuses /proc/PID/pagemap", _OUTSIDE), {}
        remedy = "it takes CONFIG_PROC_PAGE_MONITOR and a sandbox that shows it"
        return Feature(name, False, "there is no /proc/PID/pagemap here", remedy), {}
    try:
        return Feature(name, True), {bit: -lib.mt_scan_probe(fd, bit) for bit in (0, *Category)}
    finally:
        os.close(fd)


def _pagemap_scan(pagemap: Feature, codes: dict[int, int]) -> Feature:
    name = "PAGEMAP_SCAN"
    if not pagemap.works:
        return Feature(name, pagemap.works, pagemap.reason, pagemap.remedy)
    late = (Category.GUARD, Category.SOFT_DIRTY)
    error = next((codes[bit] for bit in (0, *Category) if bit not in late and codes[bit]), 0)
    if error == 0:
        return Feature(name, True)
    if error == errno.ENOTTY:
        return Feature(
            name, False, "this kernel does not know it; pagemap is read instead", "Linux 6.7 or later has it"
        )
    return Feature(name, False, f"it is refused: {os.strerror(error)}; pagemap is read instead", _OUTSIDE)


def _category(name: str, bit: Category, codes: dict[int, int]) -> Feature:
    error = codes.get(bit)
    if error == 0:
        return Feature(name, True)
    if error == errno.EINVAL:
        return Feature(
            name, False, "this kernel's PAGEMAP_SCAN does not know this category", "a newer kernel does"
        )
    return Feature(name, False, "it takes PAGEMAP_SCAN", "see there")


def _soft_dirty(answer: int) -> Feature:
    name = "soft-dirty"
    if answer == 1:
        return Feature(name, True)
    if answer == 0:
        return Feature(
            name,
            False,
            "this kernel never sets the bits (clear_refs accepts the command all the same)",
            "a kernel with CONFIG_MEM_SOFT_DIRTY, as most distributions build for x86-64",
        )
    return Feature(
        name, None, f"it could not be tried: {os.strerror(-answer)} on pagemap or clear_refs", _OUTSIDE
    )


def _userfaultfd(answer: int) -> Feature:
    name = "userfaultfd"
    if answer == 1:
        return Feature(name, True)
    if answer == -errno.ENOSYS:
        sandbox = ", or a sandbox hides it" if is_filtered() else ""
        return Feature(name, False, f"this kernel has none{sandbox}", "it takes CONFIG_USERFAULTFD")
    if -answer in _REFUSED:
        by = "a sandbox (seccomp)" if is_filtered() else "a security module"
        return Feature(name, False, f"{by} refuses it to memtop and what runs beside it", _OUTSIDE)
    return Feature(name, False, os.strerror(-answer), "it takes Linux 5.11 for unprivileged use")


def _wp_async(answer: int, userfaultfd: Feature, codes: dict[int, int]) -> Feature:
    name = "userfaultfd WP_ASYNC"
    if answer == 1:
        return Feature(name, True)
    if not userfaultfd.works:
        reason = f"it could not be tried, for userfaultfd does not work here: {userfaultfd.reason}"
        return Feature(name, None, reason, userfaultfd.remedy)
    if answer == 0 or codes.get(0) == errno.ENOTTY:
        reason = "this kernel can't resolve write protection by itself"
        return Feature(name, False, reason, "Linux 6.7 or later on x86-64, arm64 or riscv64 can")
    return Feature(name, None, f"it could not be tried: {os.strerror(-answer)}", _OUTSIDE)


def _ptrace(answer: int) -> Feature:
    name = "ptrace"
    if answer == 1:
        return Feature(name, True)
    if ptrace.yama_scope() == 3:
        return Feature(
            name, False, "kernel.yama.ptrace_scope is 3: nobody may trace", "it stays so until a reboot"
        )
    by = "a sandbox (seccomp)" if is_filtered() else "a security module or sandbox"
    return Feature(name, False, f"{by} refuses it: {os.strerror(-answer)}", _OUTSIDE)


def _injection() -> Feature:
    name = "injection"
    for call, error in (("process_vm_readv", lib.mt_may_trace(os.getpid())), ("pidfd_getfd", _may_fetch())):
        if error:
            return Feature(name, False, f"{call} does not work: {os.strerror(-error)}", _OUTSIDE)
    out = ffi.new("mt_injection *")
    stage = ptrace.Stage(lib.mt_probe_inject(out))
    if stage is ptrace.Stage.OK:
        return Feature(name, True, f"one thread of a test process stopped for {out.stop_ns / 1000:.0f} µs")
    if stage is ptrace.Stage.ARCH:
        return Feature(name, False, ptrace.NOT_PROVEN.format(os.uname().machine), "a machine of that kind")
    if stage is ptrace.Stage.SECCOMP:
        reason = "memtop runs under a seccomp filter, and so did the test process"
        return Feature(name, None, reason, _OUTSIDE)
    why = os.strerror(out.error) if out.error else "failed"
    return Feature(name, False, f"{_TRIED.get(stage, stage.name.lower())}: {why}", _OUTSIDE)


_TRIED = {
    ptrace.Stage.SEIZE: "PTRACE_SEIZE",
    ptrace.Stage.CALL: "userfaultfd in the test process",
    ptrace.Stage.FETCH: "handing over the descriptor",
}


def _may_fetch() -> int:
    try:
        pidfd = os.pidfd_open(os.getpid())
    except (OSError, AttributeError):
        return -errno.ENOSYS
    try:
        return int(lib.mt_may_fetch(pidfd))
    finally:
        os.close(pidfd)


def _pidfd() -> Feature:
    name = "pidfd"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError) as error:
        why = os.strerror(error.errno or 0) if isinstance(error, OSError) else "the C library lacks it"
        return Feature(
            name, False, f"{why}: only its start time tells a reused pid", "Linux 5.3 or later has it"
        )
    return Feature(name, True)


def _anon_names() -> Feature:
    name = "names of anonymous mappings"
    with mmap.mmap(-1, PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        view = ffi.from_buffer(page)
        error = -lib.mt_name_anonymous(int(ffi.cast("uintptr_t", view)), PAGE, b"memtop")
        ffi.release(view)
    if error == 0:
        return Feature(name, True)
    return Feature(
        name,
        False,
        f"prctl(PR_SET_VMA): {os.strerror(error)}",
        "it takes CONFIG_ANON_VMA_NAME and Linux 5.17",
    )


# ---- one process -----------------------------------------------------------------------------------


def _opens(name: str, path: str, flags: int, pid: int) -> Feature:
    what = f"opening {name} of process {pid}"
    try:
        fd = os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        return _from_error(name, explain(error, pid, what))
    try:
        if name == "maps":
            os.read(fd, 1)
    except OSError as error:
        return _from_error(name, explain_memory(error, pid, what))
    finally:
        os.close(fd)
    return Feature(name, True)


def _from_error(name: str, error: MemtopError) -> Feature:
    return Feature(name, False, error.why or error.what, error.remedy)


def _says(tid: int, error: int) -> tuple[bool | None, str]:
    """Nothing speaks against an injection, as far as that shows from outside."""
    if error:
        return False, "memtop may not trace it"
    if read_status(tid).get("Seccomp", "0") != "0":
        return True, "its seccomp filter will be suspended for the call"
    return True, "nothing speaks against it"


def _state(tid: int) -> Feature:
    state = read_stat(tid).state
    if state == "D":
        return Feature("state", None, "it waits in the kernel, where nothing can stop it", "try again later")
    if state in "Tt":
        return Feature("state", True, "it is stopped, and stays so")
    return Feature("state", True, "it runs" if state == "R" else "it sleeps, and can be stopped")
