"""An ELF core of any point of a snapshot chain."""

from __future__ import annotations

from memtop.dump.chain import Chain
from memtop.dump.core import CoreSink
from memtop.dump.image import Image, PageKind
from memtop.dump.output import Output, explain_output
from memtop.linux.runsets import chop
from memtop.model.layout import PAGE

CHUNK = 16384


def core_from(path: str, out: str) -> Image:
    """Writes a core with the memory and the registers of a snapshot.

    Raises:
        Failed: a file of the chain is missing or damaged, or the core could not be written.
    """
    with Chain(path) as chain, Output(out) as output:
        image = chain.image()
        sink = CoreSink(output)
        data = image.runs_of(PageKind.DATA)
        try:
            output.require(data.pages * PAGE)
            for part in chop(data, CHUNK):
                sink.store(part, chain, again=False)
            sink.finish(image)
        except OSError as error:
            raise explain_output(error, out) from error
        output.commit()
        return image
