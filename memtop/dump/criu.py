"""The CRIU sink: a directory of images that ``crit`` shows, with memory and nothing else.

CRIU's pages have no addresses of their own: they stand in pages-1.img in the order of the pagemap, which goes
by address. What comes into memory during the rounds would belong in between; so pages are put down where
there is room, and if that turned out not to be the order, they are moved in the end, within the file system.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from memtop.dump import criu_images as images
from memtop.dump.criu_about import Files, mark, memory, tree
from memtop.dump.extents import Extents
from memtop.dump.files import clear, data_ranges, write_at
from memtop.dump.image import Area, Image, PageKind
from memtop.dump.in_place import InPlaceSink
from memtop.dump.output_directory import OutputDirectory
from memtop.model.layout import PAGE, Perm

PAGES = "pages-1.img"
MARK = "memtop.json"
"""Says that these images are memory only, how they came about, and which pages are not known."""

_STEP = 64 << 20

Part = tuple[int, int, int]
"""start, end (byte addresses), offset in the file of before; -1: zeros."""


class CriuSink(InPlaceSink):
    """Writes CRIU images.

    Args:
        output: the directory; its main file is ``PAGES``.
    """

    whole_files = False

    def __init__(self, output: OutputDirectory) -> None:
        super().__init__(output, Extents(at=0))
        self._directory = output

    def finish(self, image: Image) -> None:
        """Puts the pages into order and writes all other files."""
        parts = [part for area in image.areas for part in self._parts(area)]
        self._arrange(parts)
        pid = image.origin.pid
        files = Files(image.areas)
        self._add("inventory.img", images.image(images.INVENTORY, [images.inventory()]))
        self._add("pstree.img", images.image(images.PSTREE, [tree(image)]))
        self._add("files.img", images.image(images.FILES, files.messages()))
        self._add(f"mm-{pid}.img", images.image(images.MM, [memory(image, files)]))
        entries = ((start, (end - start) // PAGE) for start, end, _ in _joined(parts))
        self._add(f"pagemap-{pid}.img", images.image(images.PAGEMAP, images.pagemap(entries, 1)))
        self._add(MARK, mark(image))

    def _add(self, name: str, data: bytes) -> None:
        write_at(self._directory.add(name), 0, data)

    # ---- pages ------------------------------------------------------------------------------------------

    def _parts(self, area: Area) -> Iterator[Part]:
        """What stands in the pages file: contents, and zeros where CRIU would assume something else."""
        backed = bool(area.inode or area.perms & Perm.SHARED)
        for run in area.runs:
            if run.kind is PageKind.DATA:
                yield from self._extents.within(run.start, run.end)
            elif run.kind is PageKind.ZERO:
                at = run.start
                for start, end, offset in self._extents.within(run.start, run.end):
                    if backed and at < start:
                        yield at, start, -1
                    yield start, end, offset  # a hole, which is in its place already
                    at = end
                if backed and at < run.end:
                    yield at, run.end, -1

    def _arrange(self, parts: list[Part]) -> None:
        total, sorted_already = 0, True
        for start, end, offset in parts:
            sorted_already &= offset == total
            total += end - start
        if not sorted_already:
            old = self._directory.replace_main()
            try:
                self._move(old, parts)
            finally:
                os.close(old)
        os.ftruncate(self._output.fd, total)

    def _move(self, old: int, parts: list[Part]) -> None:
        """The room of what was moved is given back at once, so that it takes no more of the disk."""
        at = 0
        for start, end, offset in parts:
            for low in range(0, end - start if offset >= 0 else 0, _STEP):
                size = min(_STEP, end - start - low)
                _transfer(old, offset + low, self._output.fd, at + low, size)
                clear(old, offset + low, size)
            at += end - start


def _transfer(source: int, offset: int, to: int, at: int, size: int) -> None:
    """Copies a part of a file into another one; its holes stay holes."""
    for low, high in data_ranges(source, offset, offset + size):
        os.lseek(to, at + low - offset, os.SEEK_SET)
        while low < high:
            low += os.sendfile(to, source, low, high - low)


def _joined(parts: list[Part]) -> Iterator[Part]:
    """Neighbours as one."""
    last: Part | None = None
    for part in parts:
        if last is not None and last[1] == part[0]:
            last = (last[0], part[1], last[2])
            continue
        if last is not None:
            yield last
        last = part
    if last is not None:
        yield last
