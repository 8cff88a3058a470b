"""Methods that hold their object's lock while they run."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])


def locked(method: Method) -> Method:
    """Runs the method with ``self.lock`` held; a lock that its holder may take again (``RLock``)."""

    @wraps(method)
    def holding(self: Any, *args: Any, **options: Any) -> Any:
        with self.lock:
            return method(self, *args, **options)

    return holding  # type: ignore[return-value]
