"""Every view on a recorded run, at every size, in every theme, beside the picture that it should be.

To add a view or a theme, add it to its list, run ``pytest tests/ui/test_golden.py --update-golden``, and
look at what was written before you commit it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded import View, compare, shown, styles

from memtop.ui.theme import DARK, MONO, Palette

SIZES = ((80, 24), (120, 40), (200, 60))
THEMES = {"dark": DARK, "mono": MONO}
VIEWS = (
    View("live"),
    View("frozen", keys=["space"]),
    View("target-gone", at=1000),
    View("search", keys=["slash", *"lib"]),
    View("filter", keys=["f", *"kind", "colon", *"anon", "enter"]),
    View("groups", keys=["f5", "f5", "enter", "down"]),
    View("columns", keys=["f2", "down"]),
    View("detail", keys=["down", "i"]),
    View("detail-scrolled", keys=["i", "enter", "down", "down", "down"]),
    View("replay", live=False),
    View("replay-detail", keys=["i"], live=False),
    View("replay-back", keys=["left", "left", "left"], live=False),
    View("replay-end", keys=["right"], at=7, samples=8, live=False),
    View("replay-asked-to-act", keys=["w"], live=False),
)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
async def test_looks_as_it_should(
    view: View, size: tuple[int, int], theme: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    update = request.config.getoption("--update-golden")
    palette: Palette = THEMES[theme]
    async with shown(view, size, palette, tmp_path) as app:
        name = f"{view.name}-{size[0]}x{size[1]}"
        picture = app.picture(app.live.view)
        # One text for all themes: no state shows by colour alone.
        compare(f"{name}.txt", app.text, update and theme == next(iter(THEMES)), picture, tmp_path)
        compare(f"{name}.{theme}", styles(app), update, picture, tmp_path)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
async def test_is_drawn_in_ascii_alone(view: View, tmp_path: Path) -> None:
    async with shown(view, (80, 24), MONO, tmp_path, ascii=True) as app:
        assert app.text.isascii()
        assert "?" not in app.text.replace("? help", "")  # nothing without a stand-in
