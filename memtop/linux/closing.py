"""What is open, and closed at the end of a ``with``."""

from __future__ import annotations

from typing import TypeVar

_Itself = TypeVar("_Itself", bound="Closing")


class Closing:
    """Gives a class with ``close`` its ``with``."""

    def close(self) -> None:
        """Lets go of what is open. Idempotent."""
        raise NotImplementedError

    def __enter__(self: _Itself) -> _Itself:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
