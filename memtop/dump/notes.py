"""The notes of an ELF core: threads with their registers, the process, the files it had mapped.

Layouts of elf(5), <sys/procfs.h> and the kernel's fs/binfmt_elf.c, for 64-bit little-endian machines. memtop
adds a note of its own, named ``memtop``, with how the dump came about as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from struct import Struct, pack
from typing import Any

from memtop import __version__
from memtop.dump.image import Area, Statement
from memtop.linux.coreinfo import LAYOUT, ProcessFacts, ThreadFacts
from memtop.linux.standstill import Thread
from memtop.linux.xstate import for_debuggers
from memtop.model.layout import PAGE

NT_PRSTATUS, NT_PRFPREG, NT_PRPSINFO, NT_AUXV = 1, 2, 3, 6
NT_X86_XSTATE = 0x202
NT_SIGINFO = 0x53494749
NT_FILE = 0x46494C45
NT_MEMTOP = 0x4D544F50  # no type that a debugger could take for its own

_HEADER = Struct("<III")
# signo, code, errno, cursig, pad, sigpend, sighold, pid, ppid, pgrp, sid, four times (s, µs)
_PRSTATUS = Struct("<iiihHQQiiii8q")
# state, sname, zombie, nice, pad, flag, uid, gid, pid, ppid, pgrp, sid, fname, psargs
_PRPSINFO = Struct("<bcbb4xQIIiiii16s80s")
_STATES = "RSDTZW"


def note(name: bytes, kind: int, content: bytes) -> bytes:
    """One note: sizes, type, name and content, each padded to four bytes."""
    padded = name + b"\0"
    return (
        _HEADER.pack(len(padded), len(content), kind)
        + padded
        + bytes(-len(padded) % 4)
        + content
        + bytes(-len(content) % 4)
    )


def notes_of(notes: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each note; ends where they make no sense any more."""
    at = 0
    while at + _HEADER.size <= len(notes):
        name, size, kind = _HEADER.unpack_from(notes, at)
        at += _HEADER.size + name + -name % 4
        yield kind, notes[at : at + size]
        at += size + -size % 4


def layout_of(notes: bytes) -> dict[str, int]:
    """Where program, stack and arguments begin and end (``coreinfo.LAYOUT``), as memtop's own note has it."""
    told = told_by(notes).get("layout")
    if not isinstance(told, dict):
        return {}
    return {name: value for name, value in told.items() if isinstance(value, int) and 0 <= value < 1 << 64}


def told_by(notes: bytes) -> dict[str, Any]:
    """What memtop's own note says of how a dump came about; empty: there is none."""
    content = next((content for kind, content in notes_of(notes) if kind == NT_MEMTOP), b"")
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def build_notes(
    facts: ProcessFacts,
    threads: Sequence[tuple[Thread, ThreadFacts]],
    areas: Iterable[Area],
    statement: Statement,
) -> bytes:
    """All notes, in the kernel's order: the first thread, the process, the other threads.

    Args:
        threads: none, if the process was never stopped: then the core has memory only.
    """
    first, others = (threads[0], threads[1:]) if threads else (None, ())
    parts = []
    if first:
        parts.append(_status(facts, *first))
    parts.append(note(b"CORE", NT_PRPSINFO, _process(facts)))
    if first and first[0].siginfo:
        parts.append(note(b"CORE", NT_SIGINFO, first[0].siginfo))
    parts.append(note(b"CORE", NT_AUXV, facts.auxv))
    parts.append(note(b"CORE", NT_FILE, _files(areas)))
    if first:
        parts += _registers(first[0])
    for other in others:
        parts.append(_status(facts, *other))
        if other[0].siginfo:
            parts.append(note(b"CORE", NT_SIGINFO, other[0].siginfo))
        parts += _registers(other[0])
    parts.append(note(b"memtop", NT_MEMTOP, describe(statement, facts, not threads)))
    return b"".join(parts)


def describe(statement: Statement, facts: ProcessFacts, memory_only: bool) -> bytes:
    """memtop's own note: JSON."""
    words = {
        "memtop": __version__,
        "memory_only": memory_only,
        "says": statement.sentence,
        **asdict(statement),
        "layout": dict(zip(LAYOUT, facts.layout, strict=True)),
    }
    return json.dumps(words).encode() + b"\n"


def _status(facts: ProcessFacts, thread: Thread, more: ThreadFacts) -> bytes:
    signal = int.from_bytes(thread.siginfo[:4], "little") if thread.siginfo else 0
    times: list[int] = []
    for value in more.times:
        times += (int(value), int(value * 1e6) % 1000000)
    fixed = _PRSTATUS.pack(
        signal, 0, 0, signal, 0, more.pending, thread.blocked,
        thread.tid, facts.ppid, facts.pgrp, facts.sid, *times,
    )  # fmt: skip
    return note(b"CORE", NT_PRSTATUS, fixed + thread.general + pack("<iI", bool(thread.floating), 0))


def _registers(thread: Thread) -> list[bytes]:
    parts = []
    if thread.floating:
        parts.append(note(b"CORE", NT_PRFPREG, thread.floating))
    if thread.extended:
        parts.append(note(b"LINUX", NT_X86_XSTATE, for_debuggers(thread.extended)))
    return parts


def _process(facts: ProcessFacts) -> bytes:
    arguments = facts.arguments.rstrip(b"\0").replace(b"\0", b" ")
    return _PRPSINFO.pack(
        max(_STATES.find(facts.state), 0), facts.state.encode("ascii", "replace")[:1], facts.state == "Z",
        facts.nice, facts.flags, facts.uid, facts.gid, facts.pid, facts.ppid, facts.pgrp, facts.sid,
        facts.comm[:15], arguments[:79],
    )  # fmt: skip


def _files(areas: Iterable[Area]) -> bytes:
    """NT_FILE: count, page size, (start, end, offset in pages) of each, then the names."""
    mapped = [area for area in areas if area.inode and area.name.startswith(b"/")]
    ranges = b"".join(pack("<QQQ", a.start, a.end, a.offset // PAGE) for a in mapped)
    names = b"".join(_path(a.name) + b"\0" for a in mapped)
    return pack("<QQ", len(mapped), PAGE) + ranges + names


def _path(name: bytes) -> bytes:
    r"""As the process would open it: maps shows a newline as ``\012``."""
    return name.replace(b"\\012", b"\n")
