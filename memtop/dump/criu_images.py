"""CRIU's image files, as far as memory goes: which messages there are, and how they are packed.

An image is magic numbers and then messages, each behind its length (criu/include/magic.h and
criu/protobuf.c of CRIU). Field numbers are those of CRIU's images/*.proto: seven
small messages, so memtop packs them itself and needs no protobuf library.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct

from memtop.dump.image import Area
from memtop.dump.plan import VDSO
from memtop.model.layout import PAGE, Kind, Perm

# criu/include/magic.h
COMMON = 0x54564319
INVENTORY, PSTREE, MM, PAGEMAP, FILES = 0x58313116, 0x50273030, 0x57492820, 0x56084025, 0x56303138
IMAGES_V1_1 = 2

# criu/include/pagemap.h
PE_PRESENT = 4

# criu/include/image.h
REGULAR, STACK, VSYSCALL, VDSO_AREA, HEAP = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5
FILE_PRIVATE, FILE_SHARED, ANON_SHARED, ANON_PRIVATE = 1 << 6, 1 << 7, 1 << 8, 1 << 9
SYSVIPC, VVAR, MEMFD = 1 << 10, 1 << 12, 1 << 14

# mmap(2)
MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS, MAP_GROWSDOWN = 1, 2, 0x20, 0x100

MOST_PAGES = (1 << 31) - 1
"""Pages in one entry at most: CRIU multiplies them as a 64-bit number, older ones as int."""

_MAGIC = Struct("<I")
LAYOUT = (
    "start_code", "end_code", "start_data", "end_data", "start_stack", "start_brk", "brk", "arg_start",
    "arg_end", "env_start", "env_end",
)  # fmt: skip
"""Fields 1 to 11 of mm_entry."""

Message = bytes


def message(*fields: tuple[int, int | bytes]) -> Message:
    """Packs numbers as varints and bytes behind their length, as protobuf does."""
    parts: list[bytes] = []
    for number, value in fields:
        if isinstance(value, int):
            parts += (_varint(number << 3), _varint(value))
        else:
            parts += (_varint(number << 3 | 2), _varint(len(value)), value)
    return b"".join(parts)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def image(magic: int, messages: Iterable[Message]) -> bytes:
    """A whole file. All but the inventory begin with the magic number of images 1.1."""
    head = _MAGIC.pack(magic) if magic == INVENTORY else _MAGIC.pack(COMMON) + _MAGIC.pack(magic)
    return head + b"".join(_MAGIC.pack(len(words)) + words for words in messages)


def inventory() -> Message:
    """inventory_entry: img_version, fdinfo_per_id, ns_per_id."""
    return message((1, IMAGES_V1_1), (2, 1), (4, 1))


def pstree(pid: int, pgid: int, sid: int, threads: Sequence[int]) -> Message:
    """pstree_entry of the root of a tree."""
    return message((1, pid), (2, 0), (3, pgid), (4, sid), *((5, tid) for tid in threads))


def pagemap(entries: Iterable[tuple[int, int]], pages_id: int) -> Iterable[Message]:
    """pagemap_head, and a pagemap_entry for each (address, pages), the order of pages-ID.img."""
    yield message((1, pages_id))
    for start, pages in entries:
        while pages:
            count = min(pages, MOST_PAGES)
            yield message((1, start), (2, count), (4, PE_PRESENT))
            start, pages = start + count * PAGE, pages - count


def mm(layout: Sequence[int], exe: int, auxv: Sequence[int], vmas: Iterable[Message]) -> Message:
    """mm_entry; ``layout`` are the values of LAYOUT."""
    return message(
        *enumerate(layout, 1), (12, exe), *((13, word) for word in auxv), *((14, vma) for vma in vmas)
    )


def vma(area: Area, shmid: int) -> Message:
    """vma_entry: start, end, pgoff, shmid, prot, flags, status, fd (-1 as a zigzag number)."""
    flags = MAP_SHARED if area.perms & Perm.SHARED else MAP_PRIVATE
    if not shmid or is_shared_memory(area):
        flags |= MAP_ANONYMOUS
    if area.kind is Kind.STACK:
        flags |= MAP_GROWSDOWN
    return message(
        (1, area.start), (2, area.end), (3, area.offset), (4, shmid), (5, area.perms & 7), (6, flags),
        (7, status(area)), (8, 1),
    )  # fmt: skip


def status(area: Area) -> int:
    """VMA_AREA_* of a mapping."""
    if area.name == b"[vsyscall]":
        return VSYSCALL
    shared = bool(area.perms & Perm.SHARED)
    if is_shared_memory(area):
        return REGULAR | ANON_SHARED | (SYSVIPC if area.name.startswith(b"/SYSV") else 0)
    if area.inode:
        memfd = MEMFD if area.name.startswith(b"/memfd:") else 0
        return REGULAR | (FILE_SHARED if shared else FILE_PRIVATE) | memfd
    special = {Kind.HEAP: HEAP, Kind.STACK: STACK}.get(area.kind, 0)
    if area.name == VDSO:
        special = VDSO_AREA
    elif area.name.startswith(b"[vvar"):
        special = VVAR
    return REGULAR | (ANON_SHARED if shared else ANON_PRIVATE) | special


def is_shared_memory(area: Area) -> bool:
    """Shared anonymous memory, which the kernel shows as an unlinked /dev/zero, or that of System V."""
    names = (b"/dev/zero (deleted)", b"/SYSV")
    return bool(area.perms & Perm.SHARED and area.inode and area.name.startswith(names))


def regular_file(number: int, name: bytes, writable: bool) -> Message:
    """file_entry of type REG with its reg_file_entry; owner fields are required there, and all 0 here."""
    owner = message(*((field, 0) for field in range(1, 6)))
    text = name.replace(b"\\012", b"\n").decode("utf-8", "backslashreplace").encode()
    flags = 2 if writable else 0
    words = message((1, number), (2, flags), (3, 0), (5, owner), (6, text))
    return message((1, 1), (2, number), (3, words))
