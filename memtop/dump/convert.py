"""Any point of a snapshot chain as a dump of another format, or as a snapshot that needs no parents."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

from memtop.dump.chain import Chain
from memtop.dump.image import Image, PageKind
from memtop.dump.job import Format, make_sink, open_output
from memtop.dump.notes import NT_MEMTOP, note
from memtop.dump.output import explain_output
from memtop.dump.snapshot_files import unchanged_files, with_data
from memtop.dump.source import PageSink
from memtop.linux.runsets import chop, runs_intersect, runs_subtract, runs_union, state_runs
from memtop.linux.vmread import DATA, Pieces
from memtop.model.layout import PAGE
from memtop.model.runs import PageRuns
from memtop.model.units import size

CHUNK = 16384


def convert(path: str, out: str, format: Format = Format.CORE, *, compress: bool = False) -> Image:
    """Writes the memory and the registers of a snapshot; into a core also what it lacks of program and
    libraries, if their files are here and are what they were.

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
            if sink.whole_files:
                image = _fill(chain, image, sink)
            sink.finish(image)
        except OSError as error:
            raise explain_output(error, output.place) from error
        output.commit()
        return image


def _fill(chain: Chain, image: Image, sink: PageSink) -> Image:
    """With the pages of files, and words on where they are from."""
    files = unchanged_files(chain, image)
    filled = PageRuns()
    with closing(files.source):
        for part in chop(runs_intersect(image.runs_of(PageKind.ABSENT), files.source.runs), CHUNK):
            copied = sink.store(part, files.source, again=True)
            read = state_runs(Pieces.of_runs(part), copied.states, DATA)
            filled = runs_union(filled, read)
            sink.drop(runs_subtract(part, read))
    said = []
    if len(filled):
        said.append(
            f"{size(filled.pages * PAGE)} of program and libraries are from their files, unchanged since"
        )
    if files.refused:
        said.append(f"not of {', '.join(files.refused)}: not here, or changed since")
    if not said:
        return image
    statement = replace(image.statement, doubts=[*image.statement.doubts, *said])
    words = json.dumps({"from_files": said}).encode() + b"\n"
    areas = tuple(replace(area, runs=with_data(area, filled)) for area in image.areas)
    return replace(
        image, areas=areas, statement=statement, notes=image.notes + note(b"memtop", NT_MEMTOP, words)
    )
