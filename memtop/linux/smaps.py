"""One mapping's entry of /proc/PID/smaps and numa_maps.

Neither file can be entered in the middle: the kernel prints, and walks the pages of, every mapping below
the wanted one (positions in them count bytes of output, not addresses, and PROCMAP_QUERY knows none of the
fields). So it is read up to there and no further, and only on request. Measured on 6.18: 45 ns a small or
huge page and 3 µs a mapping for smaps, 45 ns and 1 µs for numa_maps. A read(2) holds the mmap lock of the
process for reading, for some mappings at a time; a single large mapping is walked in one go.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from memtop.linux.errors import Failed
from memtop.linux.procfs import directory, explain_memory, read_file
from memtop.model.detail import Numa, Smaps
from memtop.model.names import clean

PAGE_S, MAPPING_S = 90e-9, 4e-6
"""Seconds that the two files together take, for each page (of whatever size) and each mapping below."""

_HEAD = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) [-r][-w][-x][-ps] ", re.MULTILINE)
_FIELD = re.compile(rb"^(\w+): +(\d+)( kB)?$", re.MULTILINE)
_FLAGS = re.compile(rb"^VmFlags: *([^\n]*)$", re.MULTILINE)
_SPANS_AND_FLAGS = re.compile(f"{_HEAD.pattern.decode()}|{_FLAGS.pattern.decode()}".encode(), re.MULTILINE)
_COUNT = re.compile(r"(\w+)=(\d+)$")
_CHUNK = 1 << 16


def read_smaps(pid: int, address: int, tid: int | None = None) -> Smaps | None:
    """The entry of the mapping that holds this byte address; None: there is none any more.

    Raises:
        ProcessGone: the process has ended.
        NotPermitted: its memory belongs to somebody else.
        KernelCannot: there is no such file here.
    """
    text = b""
    for chunk in _chunks(pid, "smaps", tid):
        text += chunk
        for head in _HEAD.finditer(text):
            if int(head[1], 16) > address:
                return None
            if address < int(head[2], 16):
                if (whole := _entry(text[head.start() :])) is not None:
                    return parse_smaps(whole)
                text = text[head.start() :]  # the rest of it comes with the next chunk
                break
        else:
            text = text[text.rfind(b"\n") + 1 :]  # a head may have been cut
    return parse_smaps(text) if _HEAD.match(text) else None


def _entry(text: bytes) -> bytes | None:
    """The entry at the beginning of the text, if all of it is there: the flags are its last line."""
    flags = _FLAGS.search(text)
    if flags is not None and flags.end() < len(text):
        return text[: flags.end()]
    following = _HEAD.search(text, 1)
    return text[: following.start()] if following is not None else None


def parse_smaps(text: bytes) -> Smaps:
    """One entry, with its head."""
    head, flags = _HEAD.match(text), _FLAGS.search(text)
    if head is None:
        raise Failed("reading smaps failed", "it has a form that memtop does not know")
    sizes, numbers = {}, {}
    for name, value, unit in _FIELD.findall(text):
        if unit:
            sizes[name.decode()] = int(value) * 1024
        else:
            numbers[name.decode()] = int(value)
    codes = clean(flags[1]).split() if flags is not None else ()
    return Smaps(int(head[1], 16), int(head[2], 16), sizes, numbers, tuple(codes))


def vm_flags(pid: int, tid: int | None = None) -> list[tuple[int, int, frozenset[bytes]]]:
    """VmFlags of all mappings: first byte, byte behind, flags.

    Nothing else tells of ``dd`` (do not dump), ``io`` (device memory), ``mg`` (to be merged). Expensive: the
    kernel counts every page meanwhile.

    Raises:
        MemtopError: as ``read_smaps``.
    """
    found, start, end = [], 0, 0
    for low, high, flags in _SPANS_AND_FLAGS.findall(read_file(pid, "smaps", tid=tid)):
        if low:
            start, end = int(low, 16), int(high, 16)
        else:
            found.append((start, end, frozenset(flags.split())))
    return found


def read_numa(pid: int, start: int, tid: int | None = None) -> Numa | None:
    """The line of the mapping that begins at this byte address; None: there is none any more.

    Raises:
        MemtopError: as ``read_smaps``; KernelCannot where the kernel was built without NUMA.
    """
    rest = b""
    for chunk in _chunks(pid, "numa_maps", tid):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            at = int(line.partition(b" ")[0], 16)
            if at == start:
                return parse_numa(clean(line))
            if at > start:
                return None
    return None


def parse_numa(line: str) -> Numa:
    """One line: address, policy, then fields; a policy may have a space in it (``prefer (many):0-1``)."""
    _, *words = line.split()
    policy: list[str] = []
    nodes: dict[int, int] = {}
    counts: dict[str, int] = {}
    for word in words:
        found = _COUNT.fullmatch(word)
        plain = word in ("heap", "stack", "huge") or word.startswith("file=")
        if not (found or plain or nodes or counts):
            policy.append(word)
        elif found and re.fullmatch(r"N\d+", found[1]):
            nodes[int(found[1][1:])] = int(found[2])
        elif found:
            counts[found[1]] = int(found[2])
    page = counts.pop("kernelpagesize_kB", 4) * 1024
    return Numa(" ".join(policy), nodes, page, counts)


def _chunks(pid: int, name: str, tid: int | None) -> Iterator[bytes]:
    """Pieces of at most what the kernel prints in one go (4 KiB of smaps), so that reading can end early."""
    try:
        fd = os.open(f"{directory(pid, tid)}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            while chunk := os.read(fd, _CHUNK):
                yield chunk
        finally:
            os.close(fd)
    except OSError as error:
        raise explain_memory(error, pid, f"reading {name} of process {pid}") from error
