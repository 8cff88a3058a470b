"""A look at some pages that somebody asked for by a key: what they are, and the contents of one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PageFlags:
    """How many pages of a range are what; None is "this kernel does not say".

    Attributes:
        pages: in the range.
        present: mapped to memory now; zero pages are among them.
        swapped: not in memory; a page given back looks the same where ``tracked`` is not 0.
        written: since the last sample, where writes are tracked.
        tracked: known to a write-protecting tracker.
        huge: mapped by a huge page.
        file: of the page cache or shared memory.
        zero: the zero page: only read so far.
        guard: whoever touches it gets a signal.
        first_present: byte address of the first one, or None.
    """

    pages: int
    present: int
    swapped: int
    written: int | None = None
    tracked: int | None = None
    huge: int | None = None
    file: int | None = None
    zero: int | None = None
    guard: int | None = None
    first_present: int | None = None


@dataclass(frozen=True, slots=True)
class Peek:
    """The answer to ``Source.peek``.

    Attributes:
        address: byte address of the range, or of the page whose contents these are.
        time: unix seconds when it was looked at.
        flags: of the range, or of that page; None: it could not be looked at.
        contents: of one page; None: not asked for, or not read.
        why: why not, or what there is to say about them, in one sentence.
    """

    address: int
    time: float
    flags: PageFlags | None = None
    contents: bytes | None = None
    why: str = ""
