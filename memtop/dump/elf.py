"""The records of an ELF core that memtop writes and reads: 64-bit, little-endian; elf(5)."""

from __future__ import annotations

from struct import Struct

EHDR = Struct("<16sHHIQQQIHHHHHH")
"""ident, type, machine, version, entry, phoff, shoff, flags, ehsize, phentsize, phnum, shentsize, shnum,
shstrndx."""

PHDR = Struct("<IIQQQQQQ")
"""type, flags, offset, vaddr, paddr, filesz, memsz, align."""

SHDR = Struct("<IIQQQQIIQQ")
"""name, type, flags, addr, offset, size, link, info, addralign, entsize."""

IDENT = b"\x7fELF\x02\x01"
"""How a file begins: the magic number, 64-bit, little-endian."""

INFO_AT = 44
"""Offset of ``info`` in a section header: the first one's is the count of segments, where they are too many
for the header of the file (``PN_XNUM``)."""

ET_CORE, PT_LOAD, PT_NOTE, PN_XNUM = 4, 1, 4, 0xFFFF
PF_X, PF_W, PF_R = 1, 2, 4
