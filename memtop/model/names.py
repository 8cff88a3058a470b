r"""Cleaning of names that the target chose.

Mapping names, file paths, comm and command lines belong to the target, and memtop may run as root
in somebody's terminal: an escape sequence in a file name must never reach it. A name becomes ``str``
only here. Everything that could move a cursor, change a colour, reorder the line or hide itself is
shown as an escape (``\x1b``, ``\u202e``), so nothing is lost and two different names stay different.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

LONGEST = 4096
"""Characters of a cleaned name at most (PATH_MAX): what is longer ends in ``…``."""

# Control, format (bidi, zero width), surrogate, private use, unassigned; combining marks and line
# separators, because terminals disagree about their width.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me", "Mc", "Zl", "Zp"})
# Letters and signs without a cell of their own: Hangul vowels and finals, its fillers, skin tones.
_JOINING = tuple(
    range(first, last + 1)
    for first, last in (
        (0x115F, 0x11FF), (0x3164, 0x3164), (0xD7B0, 0xD7FF), (0xFFA0, 0xFFA0), (0x1F3FB, 0x1F3FF)
    )
)  # fmt: skip


def _safe(character: str) -> bool:
    if unicodedata.category(character) in _UNSAFE or any(ord(character) in each for each in _JOINING):
        return False
    return character == " " or not character.isspace()


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8 (surrogateescape)
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@lru_cache(maxsize=65536)
def clean(raw: bytes) -> str:
    """The name as text that is safe to print.

    Args:
        raw: bytes as the kernel gives them, any content.

    Returns:
        Printable text without control, format, combining or invalid characters. A backslash of the
        name itself is doubled only where it would look like one of these escapes; the kernel's own
        escapes of a newline (``\\012``) stay as they are.
    """
    text = raw.decode("utf-8", "surrogateescape")
    if text.isascii() and text.isprintable():
        safe = text
    else:
        safe = "".join(c if _safe(c) else _escape(c) for c in text)
    return safe if len(safe) <= LONGEST else safe[: LONGEST - 1] + "…"


def clean_text(text: str) -> str:
    """The same for text that Python has decoded already (with surrogateescape; JSON may hold others)."""
    try:
        return clean(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return clean(text.encode("utf-8", "backslashreplace"))
