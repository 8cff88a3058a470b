"""Vector registers of x86-64 (XSAVE; Intel SDM volume 1, chapter 13) as debuggers expect them in a core.

A processor may place the components of the state as it likes (CPUID leaf 0xd), and ptrace gives them so. A
core does not say where they are, and gdb takes them to be where Intel's first processors of each kind had
them.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from memtop.native import ffi, lib

_MASK = Struct("<Q")
_XCR0_AT = 464  # in the legacy region, where the kernel says which components are there
_LEGACY = 576  # x87, SSE and the header

PLACES = {
    2: (576, 256),
    3: (960, 64),
    4: (1024, 64),
    5: (1088, 64),
    6: (1152, 512),
    7: (1664, 1024),
    9: (2688, 8),
}
"""Offset and size of AVX, two of MPX, three of AVX-512, and PKRU, where gdb looks for them."""


def for_debuggers(state: bytes) -> bytes:
    """NT_X86_XSTATE as ptrace gives it, its components moved to where debuggers look; others are left out."""
    if len(state) < _LEGACY:
        return state
    (xcr0,) = _MASK.unpack_from(state, _XCR0_AT)
    present = [number for number in range(2, 63) if xcr0 >> number & 1]
    if all(number not in PLACES or PLACES[number][0] == _here(number) for number in present):
        return state
    known = [number for number in present if number in PLACES]
    moved = bytearray(max((sum(PLACES[number]) for number in known), default=_LEGACY))
    moved[:_LEGACY] = state[:_LEGACY]
    for number in known:
        at, size = PLACES[number]
        moved[at : at + size] = state[_here(number) : _here(number) + size].ljust(size, b"\0")
    kept = 3 | sum(1 << number for number in known)
    _MASK.pack_into(moved, _XCR0_AT, xcr0 & kept)
    _MASK.pack_into(moved, 512, _MASK.unpack_from(moved, 512)[0] & kept)  # XSTATE_BV
    return bytes(moved)


@lru_cache(maxsize=64)
def _here(number: int) -> int:
    """Offset on this processor; 0: it has none."""
    size, offset = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    return int(offset[0]) if lib.mt_xsave_component(number, size, offset) == 0 else 0
