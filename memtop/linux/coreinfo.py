"""What an ELF core says of a process besides its memory; see core(5) and proc(5)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from memtop.linux.errors import KernelCannot, MemtopError
from memtop.linux.procfs import TICKS, read_file
from memtop.model.names import clean

LAYOUT = {
    "start_code": 26, "end_code": 27, "start_stack": 28, "start_data": 45, "end_data": 46, "start_brk": 47,
    "arg_start": 48, "arg_end": 49, "env_start": 50, "env_end": 51,
}  # fmt: skip
"""Byte addresses, and which field of proc_pid_stat(5) each is."""


@dataclass(frozen=True, slots=True)
class ThreadFacts:
    """Of one thread: numbers of proc_pid_stat(5) and the signals pending for it."""

    tid: int
    state: str
    pending: int
    times: tuple[float, float, float, float]
    """User and system seconds, and those of waited-for children."""


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What NT_PRPSINFO, NT_AUXV and the header of a core hold; raw bytes as the process chose them.

    Attributes:
        machine: e_machine of its program, elf(5).
        layout: the values of LAYOUT; 0 where the kernel does not tell.
    """

    pid: int
    ppid: int
    pgrp: int
    sid: int
    uid: int
    gid: int
    state: str
    nice: int
    flags: int
    comm: bytes
    arguments: bytes
    auxv: bytes
    machine: int
    layout: tuple[int, ...]


def read_facts(pid: int, tid: int | None = None) -> ProcessFacts:
    """Reads them all.

    Raises:
        ProcessGone: it has ended.
        KernelCannot: a 32-bit program: its core has another format.
    """
    stat = read_file(pid, "stat", tid=tid)
    comm, fields = stat[stat.index(b"(") + 1 : stat.rindex(b")")], stat[stat.rindex(b")") + 2 :].split()
    status = read_file(pid, "status", tid=tid)
    header = _header(pid)
    if header[4:5] == b"\x01":
        raise KernelCannot(f"an ELF core of process {pid} is not possible", "it is a 32-bit program")
    return ProcessFacts(
        pid=pid,
        ppid=int(fields[1]),
        pgrp=int(fields[2]),
        sid=int(fields[3]),
        uid=_first(rb"^Uid:\s+(\d+)", status),
        gid=_first(rb"^Gid:\s+(\d+)", status),
        state=fields[0].decode("ascii", "replace"),
        nice=int(fields[16]),
        flags=int(fields[6]),
        comm=comm,
        arguments=read_file(pid, "cmdline", 4096, tid),
        auxv=read_file(pid, "auxv", tid=tid),
        machine=int.from_bytes(header[18:20], "little") or 62,
        layout=tuple(int(fields[number - 3]) for number in LAYOUT.values()),
    )


def read_thread(pid: int, tid: int) -> ThreadFacts:
    """Of one thread; zeros where it has ended meanwhile."""
    try:
        stat, status = read_file(pid, "stat", tid=tid), read_file(pid, "status", tid=tid)
    except MemtopError:
        return ThreadFacts(tid, "X", 0, (0.0, 0.0, 0.0, 0.0))
    fields = stat[stat.rindex(b")") + 2 :].split()
    user, system, children_user, children_system = (int(field) / TICKS for field in fields[11:15])
    return ThreadFacts(
        tid=tid,
        state=fields[0].decode("ascii", "replace"),
        pending=_first(rb"^SigPnd:\s+(\w+)", status, 16),
        times=(user, system, children_user, children_system),
    )


def program(pid: int) -> str:
    """Path of the program that the process runs, cleaned; empty where it may not be read."""
    try:
        return clean(os.readlink(os.fsencode(f"/proc/{pid}/exe")))
    except OSError:
        return ""


def coredump_filter(pid: int) -> int:
    """Which mappings the process wants in a core, core(5); the kernel's default where it does not say."""
    try:
        return int(read_file(pid, "coredump_filter") or b"33", 16)
    except (MemtopError, ValueError):
        return 0x33


def _header(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/exe", "rb") as file:
            return file.read(64)
    except OSError:
        return b""


def _first(pattern: bytes, text: bytes, base: int = 10) -> int:
    match = re.search(pattern, text, re.MULTILINE)
    return int(match[1], base) if match else 0
