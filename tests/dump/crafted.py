"""Snapshots as an adversary writes them: any numbers, and all hashes right. By docs/snapshot-format.md."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

PAGE, HEADER = 4096, 8192
DATA, ZERO, HOLE, PARENT, UNREADABLE, SWAPPED, ABSENT, LEFT_OUT = range(1, 9)


def xxh64(data: bytes) -> int:
    return xxhash.xxh64_intdigest(data)


@dataclass
class Run:
    """A record of the index; ``hashes`` are those of its pages."""

    start: int
    pages: int
    kind: int = DATA
    position: int = 0
    length: int = 0
    check: int = 0
    skip: int = 0
    error: int = 0
    hashes: list[int] = field(default_factory=list)

    def pack(self) -> bytes:
        return struct.pack(
            "<QQQQIIBB6x", self.start, self.position, self.length, self.check, self.pages, self.skip,
            self.kind, self.error,
        )  # fmt: skip


@dataclass
class Mapping:
    start: int
    end: int
    runs: list[Run]
    tag: int = 1
    perms: int = 3
    kind: int = 0
    wanted: int = 1
    offset: int = 0
    inode: int = 0
    major: int = 0
    minor: int = 0
    name: bytes = b""
    why: bytes = b""

    def pack(self) -> bytes:
        words = self.name + self.why
        out = struct.pack(
            "<IBBBxQQQQIIII", self.tag, self.perms, self.kind, self.wanted, self.start, self.end,
            self.offset, self.inode, self.major, self.minor, len(self.name), len(self.why),
        )  # fmt: skip
        out += words.ljust(-(-len(words) // 8) * 8, b"\0")
        for first in range(0, len(self.runs), 1024):
            part = self.runs[first : first + 1024]
            hashes = [value for run in part for value in run.hashes]
            out += struct.pack("<II", len(part), len(hashes)) + b"".join(run.pack() for run in part)
            out += struct.pack(f"<{len(hashes)}Q", *hashes)
        return out + bytes(8)


@dataclass
class Snapshot:
    """What ``pack`` makes a file of; what it says of lengths and totals is right unless said in ``wrong``."""

    mappings: list[Mapping]
    contents: bytes = b""
    notes: bytes = b""
    about: dict[str, Any] = field(default_factory=dict)
    id: bytes = b"full".ljust(16, b".")
    parent: bytes = bytes(16)
    chain: bytes = b"full".ljust(16, b".")
    sequence: int = 0
    flags: int = 0
    pid: int = 1
    start_time: int = 1
    time: int = 1
    wrong: dict[str, int] = field(default_factory=dict)

    def pack(self) -> bytes:
        wrong, text = self.wrong, json.dumps(self.about).encode()
        fixed = struct.pack(
            "<8sIIII16s16s16sIIQQQ16s", b"MEMTOPSN", wrong.get("version", 1), wrong.get("header", HEADER),
            wrong.get("page", PAGE), self.flags, self.chain, self.id, self.parent, self.sequence, self.pid,
            self.start_time, self.time, wrong.get("text", len(text)), b"boot".ljust(16, b"."),
        )  # fmt: skip
        header = (fixed.ljust(256, b"\0") + text).ljust(HEADER - 8, b"\0")
        header += struct.pack("<Q", xxh64(header))
        index = b"".join(mapping.pack() for mapping in self.mappings) + bytes(56)
        index_at = HEADER + len(self.contents)
        notes_at = index_at + len(index)
        end = -(-(notes_at + len(self.notes)) // 8) * 8
        runs = [run for mapping in self.mappings for run in mapping.runs]
        totals = [sum(run.pages for run in runs if run.kind == kind) for kind in range(1, 9)]
        fields = {
            "size": end + 160, "index_at": index_at, "index_length": len(index), "index_hash": xxh64(index),
            "notes_at": notes_at, "notes_length": len(self.notes), "notes_hash": xxh64(self.notes),
            "mappings": len(self.mappings), "runs": len(runs),
        }  # fmt: skip
        numbers = [wrong.get(name, value) for name, value in fields.items()]
        numbers += [wrong.get(f"total{i}", total) for i, total in enumerate(totals)]
        trailer = struct.pack("<8sII17Q", b"MEMTOPEN", 1, 0, *(n % (1 << 64) for n in numbers))
        trailer += struct.pack("<Q", xxh64(trailer))
        return header + self.contents + (index + self.notes).ljust(end - index_at, b"\0") + trailer

    def write(self, path: Path) -> str:
        path.write_bytes(self.pack())
        return str(path)


def child_of(parent: Snapshot, name: str, mappings: list[Mapping], **more: Any) -> Snapshot:
    """An increment on top of a snapshot whose file has this name."""
    number = parent.sequence + 1
    return Snapshot(
        mappings, about={"parent": name}, id=f"child {number}".encode().ljust(16, b"."), parent=parent.id,
        chain=parent.chain, sequence=number, **more,
    )  # fmt: skip


def page(fill: int) -> bytes:
    return fill.to_bytes(8, "little") * (PAGE // 8)


def stored(start: int, position: int, pages: list[bytes]) -> Run:
    """A run of plain contents."""
    hashes = [xxh64(p) for p in pages]
    return Run(start, len(pages), DATA, position, len(pages) * PAGE, hashes=hashes)


EHDR, PHDR = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")


def core(
    path: Path, headers: list[tuple[int, ...]], *, count: int | None = None, size: int = 0, mib: int = 8
) -> str:
    """An ELF core with these program headers, and so much of contents at 1 MiB."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    many = count is not None
    ehdr = EHDR.pack(
        ident, 4, 62, 1, 0, 4096, 64 if many else 0, 0, 64, 56, 0xFFFF if many else len(headers), 64, 1, 0
    )
    section = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, count or 0, 0, 0)
    with path.open("wb") as file:
        file.write((ehdr + section).ljust(4096, b"\0") + b"".join(PHDR.pack(*h) for h in headers))
        file.seek(1 << 20)
        file.write(os.urandom(mib << 20))
        file.truncate(max(size, file.tell()))
    return str(path)
