"""Where the large map looks: its scale, its window, its cursor. No Textual here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from memtop.model.layout import PAGE
from memtop.model.mapping import Mapping
from memtop.ui.ages import Grid

STEP = 4
"""One zoom step makes cells so many times finer."""


@dataclass
class Viewport:
    """The state of the map of one mapping at a time.

    Attributes:
        whole: it shows the whole address space, and no mapping alone.
        cell_pages: pages a cell; None: as fine as the whole mapping fits.
        address: byte address of the page under the cursor; it stays when the scale changes.
        placed: somebody has moved the cursor in this mapping.
        fit_pages: pages a cell of the last grid, had it shown the whole mapping.
    """

    whole: bool = False
    cell_pages: int | None = None
    address: int = 0
    fit_pages: int = 1
    placed: bool = False
    _mapping: tuple[object, int] | None = None
    _tops: dict[int, int] = field(default_factory=dict)
    """Address of the first row at each scale, so that zooming out and in comes back to the same picture."""

    def look_at(self, owner: object, mapping: Mapping) -> None:
        """Goes to a mapping, if it is not there already; keeps the cursor within it.

        Args:
            owner: whose mapping it is: ids of two processes may be the same.
        """
        if self._mapping != (owner, mapping.id):
            self._mapping = owner, mapping.id
            self.cell_pages = None
            self.placed = False
            self._tops.clear()
            if not mapping.start <= self.address < mapping.end:
                self.address = mapping.start
        self.address = min(max(self.address, mapping.start), mapping.end - PAGE)

    def grid(self, mapping: Mapping, columns: int, rows: int, least_pages: int) -> Grid:
        """The cells to draw; the cursor is among them.

        Args:
            columns, rows: room on the screen.
            least_pages: pages a cell that the unzoomed map has at least.
        """
        fit = Grid.of(mapping, columns, rows, least_pages)
        self.fit_pages = fit.cell_pages
        if self.cell_pages is None or self.cell_pages >= fit.cell_pages:
            self.cell_pages = None
            return fit
        size = self.cell_pages * PAGE
        base, row_bytes = mapping.start // size * size, columns * size
        last = (mapping.end - 1 - base) // row_bytes
        here = (self.address - base) // row_bytes
        top = self._tops.get(self.cell_pages)
        first = here - rows // 2 if top is None else (top - base) // row_bytes
        first = min(max(first, here - rows + 1), here)
        first = max(min(first, last - rows + 1), 0)
        self._tops[self.cell_pages] = base + first * row_bytes
        return replace(fit, first=base + first * row_bytes, cell_pages=self.cell_pages)

    def zoom(self, step: int) -> None:
        """One step finer (above 0) or coarser; beyond the whole mapping lies the whole address space."""
        if self.whole:
            self.whole = step < 0
            return
        scales = [self.fit_pages]
        while scales[-1] > 1:
            scales.append(max(scales[-1] // STEP, 1))
        now = self.cell_pages or self.fit_pages
        if step > 0:
            finer = [scale for scale in scales if scale < now]
            self.cell_pages = finer[0] if finer else self.cell_pages
        else:
            coarser = [scale for scale in scales if scale > now]
            self.whole = not coarser
            self.cell_pages = coarser[-1] if len(coarser) > 1 else None

    def move(self, cells: int, grid: Grid) -> None:
        """Moves the cursor by so many cells, to the first page of one; it never leaves the mapping."""
        start = (self.address - grid.first) // grid.cell_bytes * grid.cell_bytes + grid.first
        wanted = start + cells * grid.cell_bytes
        if abs(cells) >= grid.columns:  # by rows: where there is none, it stays
            row_bytes = grid.columns * grid.cell_bytes
            reached = min(max(wanted, grid.start), grid.end - PAGE)
            if (reached - grid.first) // row_bytes == (start - grid.first) // row_bytes:
                return
            wanted = reached
        self.go(wanted, grid)

    def go(self, address: int, grid: Grid) -> None:
        """Moves the cursor to the cell of an address."""
        address = min(max(address, grid.start), grid.end - PAGE)
        cell = (address - grid.first) // grid.cell_bytes
        self.placed = True
        self.address = max(grid.first + cell * grid.cell_bytes, grid.start)
