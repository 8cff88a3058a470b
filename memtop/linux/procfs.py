"""The text files of /proc/PID: maps, stat, status, cmdline, smaps; see proc(5) and proc_pid_maps(5).

Every function takes a pid of memtop's own pid namespace. What the target chose (comm, arguments,
mapping names) leaves this module as cleaned text or as raw bytes inside a ``MappingTable``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass

from memtop.linux.closing import Closing
from memtop.linux.errors import Failed, KernelCannot, MemtopError, NotPermitted, ProcessGone
from memtop.model.layout import MAPPING
from memtop.model.mapping import MappingTable
from memtop.model.names import clean
from memtop.native import ffi, lib

TICKS = os.sysconf("SC_CLK_TCK")
"""Clock ticks in a second (USER_HZ), the unit of start times and processor times in stat files."""

_KERNEL_THREAD = 0x00200000  # PF_KTHREAD, include/linux/sched.h
_LONGEST_CMDLINE = 1 << 16
_SMAPS = re.compile(rb"^([0-9a-f]+)-[0-9a-f]+ [-r][-w][-x][-ps] |^Swap: +(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Stat:
    """/proc/PID/stat, as far as memtop needs it.

    Attributes:
        comm: cleaned name, up to 15 bytes of the target's choice.
        state: one letter, proc_pid_stat(5).
        flags: PF_* bits of the main thread.
        minflt, majflt: page faults of all threads since the start, without and with I/O.
        utime_s, stime_s: CPU seconds in user and kernel mode.
        num_threads: live threads.
        start_time: clock ticks since boot.
    """

    comm: str
    state: str
    flags: int
    minflt: int
    majflt: int
    utime_s: float
    stime_s: float
    num_threads: int
    start_time: int

    @property
    def kernel_thread(self) -> bool:
        """It has no address space of its own."""
        return bool(self.flags & _KERNEL_THREAD)


@dataclass(frozen=True, slots=True)
class Memory:
    """Sums that the kernel keeps for the whole address space; bytes.

    Attributes:
        size: mapped address space (VmSize).
        resident: VmRSS; the kernel batches it per thread, so it may lag by some pages a thread.
        swapped: VmSwap: anonymous swap without shmem; None where the kernel does not say.
        pinned: VmPin: held in place for devices or io_uring, which write it without a trace.
        merged: pages that KSM has merged with same ones, of this process or another, or with the zero page;
            before Linux 6.4 those of the whole host.
    """

    size: int
    resident: int
    swapped: int | None
    pinned: int = 0
    merged: int = 0


def directory(pid: int, tid: int | None = None) -> str:
    """/proc/PID, or that of one thread: once the main thread has ended, its own files are empty."""
    return f"/proc/{pid}" if tid is None else f"/proc/{pid}/task/{tid}"


def explain(error: OSError, pid: int, what: str) -> MemtopError:
    """The sentence for a file of /proc/PID that could not be opened or read.

    Args:
        error: what the kernel answered.
        pid: the process.
        what: what memtop wanted, e.g. ``reading the memory map of process 42``.
    """
    if error.errno in (errno.EACCES, errno.EPERM):
        return NotPermitted(f"{what} is not permitted", *_why_refused(pid))
    place = os.path.dirname(error.filename) if error.filename else f"/proc/{pid}"  # or that of a thread
    if error.errno == errno.ENOENT and os.path.exists(place):
        return KernelCannot(f"{what} is not possible", "this kernel or sandbox does not offer the file")
    if error.errno in (errno.ENOENT, errno.ESRCH):
        return _why_absent(pid)
    return Failed(f"{what} failed", os.strerror(error.errno or 0))


def _why_refused(pid: int) -> tuple[str, str]:
    """Why, and what to do: the checks of ptrace(2), "Ptrace access mode checking"."""
    if os.geteuid() == 0:
        return "a security module, user namespace or sandbox refuses it even to root", ""
    remedy = "run memtop as root"
    try:
        # The files, not the directory, are root's while the process is non-dumpable; status tells who it is.
        owner = os.stat(f"/proc/{pid}/maps").st_uid
        with open(f"/proc/{pid}/status", "rb") as file:
            uids = re.search(rb"^Uid:\s+(\d+)\s+(\d+)", file.read(), re.MULTILINE)
    except OSError:
        return "this system hides processes from other users", remedy
    if uids is None:
        return "a sandbox refuses it", remedy
    real, effective = int(uids[1]), int(uids[2])
    if os.geteuid() not in (real, effective):
        return f"it belongs to user {real}", "run memtop as that user or as root"
    if owner != effective:
        return "it is non-dumpable (set-user-id, or it holds secrets)", remedy
    return "a security module or sandbox refuses it", remedy


def _why_absent(pid: int) -> MemtopError:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return NotPermitted(f"process {pid} is hidden", "/proc is mounted with hidepid", "run memtop as root")
    except (OSError, OverflowError):
        return ProcessGone(f"there is no process {pid}")
    return ProcessGone(f"the address space of process {pid} has ended")


def explain_memory(error: OSError, pid: int, what: str) -> MemtopError:
    """The same for maps, smaps and pagemap, which answer ESRCH for a process without an address space."""
    if error.errno != errno.ESRCH:
        return explain(error, pid, what)
    try:
        stat = read_stat(pid)
    except MemtopError as absent:
        return absent
    if stat.kernel_thread:
        return KernelCannot(f"process {pid} ({stat.comm}) is a kernel thread", "it has no memory of its own")
    if stat.state in "ZX":
        return ProcessGone(f"process {pid} ({stat.comm}) has ended", "only its exit status is left")
    return ProcessGone(f"the address space of process {pid} ({stat.comm}) has ended")


def read_file(pid: int, name: str, limit: int = -1, tid: int | None = None) -> bytes:
    """Up to ``limit`` bytes of a file of /proc/PID, all of them where it is -1.

    Raises:
        MemtopError: it is gone, or this may not be read.
    """
    try:
        with open(f"{directory(pid, tid)}/{name}", "rb") as file:
            return file.read(limit)
    except OSError as error:
        words = explain_memory if name == "smaps" else explain
        raise words(error, pid, f"reading {name} of process {pid}") from error


def read_stat(pid: int) -> Stat:
    """Identity and counters of a process.

    Raises:
        ProcessGone: there is none.
    """
    return parse_stat(pid, read_file(pid, "stat"))


def parse_stat(pid: int, text: bytes) -> Stat:
    """The text of /proc/PID/stat.

    Raises:
        ProcessGone: it is empty.
    """
    # comm is in parentheses and may hold any byte: spaces, newlines, parentheses. No later field does.
    head, _, tail = text.rpartition(b")")
    fields = tail.split()
    if len(fields) < 20:
        raise ProcessGone(f"there is no process {pid}")
    return Stat(
        comm=clean(head.partition(b"(")[2]),
        state=fields[0].decode("ascii", "replace"),
        flags=int(fields[6]),
        minflt=int(fields[7]),
        majflt=int(fields[9]),
        utime_s=int(fields[11]) / TICKS,
        stime_s=int(fields[12]) / TICKS,
        num_threads=int(fields[17]),
        start_time=int(fields[19]),
    )


def read_status(pid: int, tid: int | None = None) -> dict[str, str]:
    """/proc/PID/status, or that of a thread: field name to its cleaned text, e.g. ``{"VmRSS": "1234 kB"}``.

    Tabs, which stand between the numbers of one field (``Uid``), become blanks.

    Raises:
        ProcessGone: there is no such process.
    """
    lines = (line.partition(b":") for line in read_file(pid, "status", tid=tid).split(b"\n"))
    return {
        name.decode("ascii", "replace"): clean(text.strip().replace(b"\t", b" "))
        for name, colon, text in lines
        if colon
    }


def read_cmdline(pid: int) -> str:
    """Arguments joined by spaces, cleaned; empty for kernel threads and zombies.

    Raises:
        ProcessGone: there is no such process.
    """
    raw = read_file(pid, "cmdline", _LONGEST_CMDLINE)
    return clean(raw.rstrip(b"\0").replace(b"\0", b" "))


def boot_id() -> str:
    """Identity of this boot, random(4); empty where a sandbox hides it."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def max_map_count() -> int:
    """How many mappings a process may have (vm.max_map_count); the kernel's default where it is hidden."""
    try:
        with open("/proc/sys/vm/max_map_count", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 65530


def live_thread(pid: int) -> int | None:
    """A thread that still runs in a process whose main thread has ended, or None.

    The files of such a process are empty under /proc/PID, but not under /proc/PID/task/TID.
    """
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(f"/proc/{pid}/task"), key=int):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/task/{name}/stat", "rb") as file:
                    state = file.read().rpartition(b")")[2].split()[:1]
                if state and state[0] not in (b"Z", b"X"):
                    return int(name)
    return None


def read_swap(pid: int, table: MappingTable, tid: int | None = None) -> dict[int, int]:
    """Swapped bytes per mapping id, from smaps; mappings that are new since ``table`` are left out.

    Expensive, only on request: the kernel walks every page of the process, and the target's own mmap
    calls wait meanwhile (seconds, for hundreds of gigabytes).

    Args:
        pid: the process.
        table: its mappings.
        tid: a live thread of it, where the main thread has ended.

    Raises:
        MemtopError: it is gone, or smaps may not be read.
    """
    starts = array("Q", (record[0] for record in MAPPING.iter_unpack(table.packed)))
    swapped = dict.fromkeys(table.ids, 0)
    index = -1
    for match in _SMAPS.finditer(read_file(pid, "smaps", tid=tid)):
        if match[1] is not None:
            start = int(match[1], 16)
            index = bisect_right(starts, start) - 1
            if index >= 0 and table.range_of(index)[1] <= start:
                index = -1
        elif index >= 0:
            swapped[table.ids[index]] += int(match[2]) * 1024
    return swapped


class MapsReader(Closing):
    """Reads the mappings of one address space, tick after tick.

    The open file stays bound to the address space of its opening: after an exec it reads empty
    (``ProcessGone``) and the caller opens a new reader.

    Args:
        pid: the process.
        tid: a live thread of it, where the main thread has ended (``live_thread``).

    Raises:
        ProcessGone: there is no such process.
        NotPermitted: another user's process, or a sandbox.
        KernelCannot: a kernel thread.
    """

    def __init__(self, pid: int, tid: int | None = None) -> None:
        self._pid = pid
        self._what = f"reading the memory map of process {pid}"
        self._next_id = ffi.new("uint64_t *", 1)
        self._maps = ffi.gc(lib.mt_maps_new(), lib.mt_maps_free)
        self._table = MappingTable()
        self._fd = -1
        try:
            self._fd = os.open(f"{directory(pid, tid)}/maps", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise explain_memory(error, pid, self._what) from error

    def read(self) -> MappingTable:
        """All mappings now; the same object again as long as nothing changed.

        Ids stay with their mappings over growth, split, merge and move.

        Raises:
            ProcessGone: the address space ended (exit or exec).
            NotPermitted: the process changed its credentials.
        """
        result = lib.mt_maps_read(self._maps, self._fd)
        if result < 0:
            raise explain_memory(OSError(-result, os.strerror(-result)), self._pid, self._what)
        if result == 0:
            self._table = self._identified()
        return self._table

    def _identified(self) -> MappingTable:
        count = lib.mt_maps_count(self._maps)
        items = lib.mt_maps_items(self._maps)
        packed = bytes(ffi.buffer(items, count * MAPPING.size))
        names = bytes(ffi.buffer(lib.mt_maps_names(self._maps), lib.mt_maps_names_length(self._maps)))
        ids = array("Q", bytes(8 * count))
        old = self._table
        made = lib.mt_identify(
            ffi.from_buffer("mt_mapping[]", old.packed),
            ffi.from_buffer(old.names),
            ffi.from_buffer("uint64_t[]", old.ids),
            len(old),
            items,
            lib.mt_maps_names(self._maps),
            ffi.from_buffer("uint64_t[]", ids),
            count,
            self._next_id,
        )
        if made < 0:
            raise Failed(self._what + " failed", os.strerror(-made))
        return MappingTable(packed, names, ids)

    def close(self) -> None:
        """Lets go of the address space. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
