"""The half of a sink that takes pages: each goes straight to its final place in the file, in any round."""

from __future__ import annotations

from memtop.dump.extents import Extents
from memtop.dump.files import clear_pieces
from memtop.dump.output import Output
from memtop.dump.source import PageSource
from memtop.linux.vmread import Copied
from memtop.model.runs import PageRuns


class InPlaceSink:
    """All of a ``PageSink`` but its end.

    Args:
        output: where to.
        extents: which place is whose; none has been given out yet.
    """

    def __init__(self, output: Output, extents: Extents) -> None:
        self._output, self._extents = output, extents

    def prepare(self, runs: PageRuns) -> None:
        """See ``PageSink``."""
        self._extents.cover(runs)
        self._output.reserve(self._extents.pieces(runs))

    def store(self, runs: PageRuns, source: PageSource, *, again: bool) -> Copied:
        """See ``PageSink``."""
        self._extents.cover(runs)
        return source.copy(self._extents.pieces(runs), self._output.out, hashed=False, overwrite=again)

    def drop(self, runs: PageRuns) -> None:
        """See ``PageSink``."""
        clear_pieces(self._output.fd, self._extents.pieces(runs).packed)

    def spare(self, runs: PageRuns) -> None:
        """See ``PageSink``."""
        self._output.unreserve(self._extents.pieces(runs))
