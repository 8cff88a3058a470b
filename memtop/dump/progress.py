"""What a dump tells while it is made, and in the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from memtop.dump.image import Image, PageKind
from memtop.linux.errors import Failed
from memtop.model.layout import PAGE


@dataclass(slots=True)
class Progress:
    """For whoever watches.

    Attributes:
        round: 1 for the first pass; 0 before it.
        done, total: pages of this round.
        bytes_written: of the file so far.
        dirty: pages that were written during the round before.
        frozen: the process stands still.
        stop_s: seconds that it stood still, once it is over.
    """

    round: int = 0
    done: int = 0
    total: int = 0
    bytes_written: int = 0
    dirty: int = 0
    frozen: bool = False
    stop_s: float = 0.0


class Cancelled(Failed):
    """Whoever watches did not want it any more."""

    def __init__(self) -> None:
        super().__init__("the dump was cancelled", "", "nothing was left behind")


@dataclass(slots=True)
class Result:
    """A dump that is complete.

    Attributes:
        image: all but the contents.
        took: seconds.
        size: bytes of the file, with all that is not stored in it.
    """

    image: Image
    took: float
    size: int
    doubts: list[str] = field(default_factory=list)

    @property
    def stored(self) -> int:
        """Bytes of memory whose contents it has; written more than once, they count once."""
        return self.image.pages_of(PageKind.DATA) * PAGE
