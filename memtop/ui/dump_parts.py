"""The lines of the dump dialog; apart from what they come to, which takes the whole of ``memtop.dump``."""

from __future__ import annotations

from enum import Enum


class Part(Enum):
    """What can be chosen."""

    FORMAT = "format"
    FILE = "file"
    RANGE = "range"
    PARENT = "parent"
    FREEZE = "freeze"


TYPED = (Part.FILE, Part.PARENT)
"""What is typed; of the others one of a few is chosen."""
