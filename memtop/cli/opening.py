"""What stands behind the live screen: little of it before its first picture, the rest when that stands.

To import what looks at processes, and to try what this kernel can, takes about as long as to start Textual.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from memtop.cli.options import care_of
from memtop.cli.several import complain_of, of_each
from memtop.linux.errors import MemtopError
from memtop.linux.process import ProcessHandle
from memtop.linux.procfs import MapsReader
from memtop.model.sample import Process

if TYPE_CHECKING:
    from memtop.dump.background import Dumps
    from memtop.sampler.loop import Sampler
    from memtop.sampler.target import Target


def find(pids: Sequence[int], refused: list[MemtopError]) -> list[Process]:
    """Who they are; whatever is to be said against looking at one is said before the terminal is taken.

    Args:
        refused: gets what is to be said of those that can't be looked at, as long as one can: the screen
            says it once more, since it lies over what was said before.

    Raises:
        MemtopError: of the first, when none can be looked at.
    """

    def refuse(error: MemtopError) -> None:
        complain_of(error)
        refused.append(error)

    return of_each(pids, _look, refuse)


def _look(pid: int) -> Process:
    with ProcessHandle.open(pid) as handle:
        MapsReader(pid, handle.maps_tid()).close()
        return handle.describe()


class Opening:
    """Opens, when the screen asks for it.

    Args:
        pids: what was asked for; their children are looked at, too, if the options say so.
        processes: what ``find`` has found of them.
        options: of the verb.
        refused: of ``find``.
    """

    def __init__(
        self,
        pids: Sequence[int],
        processes: Sequence[Process],
        options: argparse.Namespace,
        refused: Sequence[MemtopError] = (),
    ) -> None:
        self._refused = list(refused)
        self._pids, self._processes, self._options = pids, processes, options
        self._sampler: Sampler | None = None

    def source(self) -> Sampler:
        """Opens the processes.

        Raises:
            MemtopError: none of them can be opened any more.
        """
        from memtop.cli.targets import Children, open_targets
        from memtop.sampler.loop import Sampler

        options = self._options
        care, found = care_of(options), [process.pid for process in self._processes]
        refused = self._refused
        targets = open_targets(found, swap=options.swap, care=care, refused=refused.append)
        with_children = getattr(options, "children", False)
        children = Children(self._pids, swap=options.swap, care=care) if with_children else None

        def arrivals() -> Sequence[Target]:
            if refused:  # the screen says it: the terminal is taken
                raise refused.pop()
            return children() if children is not None else ()

        self._sampler = Sampler(targets, options.delay, arrivals)
        return self._sampler

    def dumps(self) -> Dumps:
        """Makes dumps of what is sampled; after ``source``."""
        from memtop.dump.background import Dumps

        assert self._sampler is not None
        return Dumps(self._sampler)
