"""The processes that descend from some, cheaply enough to ask every second.

/proc/PID/task/TID/children (proc_pid_task(5)) lists those of one thread: a handful of small files, while a
look through all of /proc costs as much as there are processes on the machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def descendants(pids: Iterable[int]) -> list[int]:
    """All that descend from these processes, without these; none where the kernel lists no children.

    A child whose parent ended meanwhile belongs to another one by then, and is not found any more.
    """
    found: dict[int, None] = {}
    waiting = list(pids)
    known = set(waiting)
    while waiting:
        for child in _children(waiting.pop()):
            if child not in known:
                known.add(child)
                found[child] = None
                waiting.append(child)
    return list(found)


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with suppress(OSError):  # it has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                children += map(int, (task / "children").read_text(encoding="ascii").split())
    return children
