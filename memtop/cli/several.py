"""Several processes at once: what can't be had of one is said, as long as there is another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from memtop.cli.exits import complain
from memtop.linux.errors import MemtopError

T = TypeVar("T")


def complain_of(error: MemtopError) -> None:
    """Its sentence, on stderr."""
    complain(error.sentence)


def of_each(
    pids: Sequence[int],
    get: Callable[[int], T],
    refused: Callable[[MemtopError], None] = complain_of,
) -> list[T]:
    """What ``get`` makes of these processes.

    Args:
        refused: is told of those of which it raised a MemtopError.

    Raises:
        MemtopError: of the first, when there is none of any.
    """
    found: list[T] = []
    errors: list[MemtopError] = []
    for pid in pids:
        try:
            found.append(get(pid))
        except MemtopError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    for refusal in errors:
        refused(refusal)
    return found
