"""Any point of a snapshot chain as a dump of another format, or as a snapshot that needs no parents."""

from __future__ import annotations

from memtop.dump.chain import Chain
from memtop.dump.image import Image, PageKind
from memtop.dump.job import Format, make_sink, open_output
from memtop.dump.output import explain_output
from memtop.linux.runsets import chop
from memtop.model.layout import PAGE

CHUNK = 16384


def convert(path: str, out: str, format: Format = Format.CORE, *, compress: bool = False) -> Image:
    """Writes the memory and the registers of a snapshot.

    Raises:
        Failed: a file of the chain is missing or damaged, or the new one could not be written.
    """
    with Chain(path) as chain, open_output(out, format) as output:
        image = chain.image()
        sink = make_sink(format, output, compress=compress)
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
