"""The records of a snapshot file, as writer and reader share them; see docs/snapshot-format.md."""

from __future__ import annotations

from struct import Struct

from memtop.linux.errors import Failed
from memtop.model.names import clean_text

VERSION = 1
MAGIC, END_MAGIC = b"MEMTOPSN", b"MEMTOPEN"
HEADER_SIZE = 8192
ABOUT_AT = 256
COMPRESSED = 1
"""A bit of the header's flags: contents are zstd frames."""

HEADER = Struct("<8sIIII16s16s16sIIQQQ16s")
"""magic, version, header size, page size, flags, chain id, snapshot id, parent id, sequence, pid, start time
(clock
ticks since boot), time (nanoseconds since the epoch), length of the JSON text, boot id."""

HASH = Struct("<Q")

MAPPING = Struct("<IBBBxQQQQIIII")
"""tag (1 a mapping, 0 the end), perms, kind, wanted, start, end, offset, inode, major, minor, length of the
name, length
of the reason."""

CHUNK = Struct("<II")
"""runs, hashes; 0 runs end the mapping."""

RUN = Struct("<QQQQIIBB6x")
"""start, position (bytes in the file), length (bytes there), hash of a frame, pages, skip (pages at that
position that come before),
kind, errno."""

TRAILER = Struct("<8sIIQQQQQQQQQ8QQ")
"""magic, version, 0, file size, index at, index length, index hash, notes at, notes length, notes hash,
mappings, runs,
pages of each kind from 1 on, hash of all before."""

CHUNK_RUNS = 1024
KINDS = 8
FRAME_PAGES = 64
"""Pages of a zstd frame at most."""


class Damaged(Failed):
    """A snapshot that is not what was written.

    Attributes:
        offset: of the first bad byte, or of the smallest part that holds it.
    """

    def __init__(self, path: str, offset: int, why: str) -> None:
        self.path, self.offset = path, offset
        super().__init__(f"{clean_text(path)} is damaged at byte {offset}", why)


def padded(size: int) -> int:
    """Up to the next multiple of eight."""
    return -(-size // 8) * 8
