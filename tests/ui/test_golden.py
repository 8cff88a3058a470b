"""Every view on a recorded run and every state, at every size, in every theme, beside what it should be.

The text is one for all themes, since no state shows by colour alone; the styles, in letters
(``recorded.LETTERS``), are one for dark and light, and one for mono. To add a view or a state, add it to its
list, run ``pytest -n 0 tests/ui/test_golden.py --update-golden``, and look at pictures before you commit it.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from recorded import View, compare, redressed, shown, styles
from states import STATES, State, in_state

from memtop.ui.app import MemtopApp
from memtop.ui.theme import DARK, LIGHT, MONO, Palette

SIZES = ((80, 24), (120, 40), (200, 60))
STATE_SIZES = ((60, 15), (80, 24), (120, 40))
THEMES = {"dark": DARK, "light": LIGHT, "mono": MONO}
VIEWS = (
    View("live"),
    View("frozen", keys=["space"]),
    View("back-in-time", keys=["space", "left", "left"]),
    View("marked", keys=["m"]),
    View("target-gone", at=1000),
    View("search", keys=["slash", *"lib"]),
    View("filter", keys=["f", *"kind", "colon", *"anon", "enter"]),
    View("groups", keys=["f5", "f5", "enter", "down"]),
    View("groups-closed", keys=["f5"]),
    View("columns", keys=["f2", "down"]),
    View("detail", keys=["down", "i"]),
    View("detail-scrolled", keys=["i", "enter", "down", "down", "down"]),
    View("map-of-pages", keys=["left_square_bracket"] * 6),
    View("map-cursor", keys=["enter", "right", "right", "down"]),
    View("map-of-all", keys=["right_square_bracket"] * 12),
    View("timeline", keys=["t"]),
    View("timeline-of-all", keys=["t", "t"]),
    View("processes", at=4, recording="several"),
    View("processes-one-ended", keys=["down", "down"], at=5, recording="several"),
    View("process-opened", keys=["down", "enter"], at=4, recording="several"),
    View("process-filter", keys=["f", *"lea"], at=4, recording="several"),
    View("replay", live=False),
    View("replay-detail", keys=["i"], live=False),
    View("replay-back", keys=["left", "left", "left"], live=False),
    View("replay-end", keys=["right"], at=7, samples=8, live=False),
    View("replay-asked-to-act", keys=["w"], live=False),
)
MADE_ONCE = ("help", "commands", "search", "columns", "process-filter", "help-after-refusal")
"""What is drawn when it is opened, and closed before the theme can be changed: opened anew for each."""

ELSEWHERE = ("dump-", "picker-")
"""Golden files of test_dump_golden.py and test_picker_golden.py."""

CASES = [
    *((view, size) for view in VIEWS for size in SIZES),
    *((state, size) for state in STATES for size in STATE_SIZES),
]


def case(
    view: View | State, size: tuple[int, int], palette: Palette, folder: Path
) -> AbstractAsyncContextManager[MemtopApp]:
    """The application as it is to be looked at."""
    return (
        shown(view, size, palette, folder)
        if isinstance(view, View)
        else in_state(view, size, palette, folder)
    )


def judge(app: MemtopApp, theme: str, name: str, update: bool, folder: Path) -> None:
    """Compares with the golden files, which the dark theme writes, but for mono's own."""
    picture = app.picture(app.live.view)
    kind = "mono" if theme == "mono" else "styles"
    compare(f"{name}.txt", app.text, update and theme == "dark", picture, folder)
    compare(f"{name}.{kind}", styles(app), update and theme != "light", picture, folder)


@pytest.mark.parametrize(
    ("view", "size"), CASES, ids=lambda x: f"{x[0]}x{x[1]}" if isinstance(x, tuple) else x.name
)
async def test_looks_as_it_should(
    view: View | State, size: tuple[int, int], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    update, name = request.config.getoption("--update-golden"), f"{view.name}-{size[0]}x{size[1]}"
    if view.name in MADE_ONCE:
        for theme, palette in THEMES.items():
            async with case(view, size, palette, tmp_path) as app:
                judge(app, theme, name, update, tmp_path)
        return
    async with case(view, size, DARK, tmp_path) as app:
        for theme, palette in THEMES.items():
            await redressed(app, palette)
            judge(app, theme, name, update, tmp_path)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
async def test_is_drawn_in_ascii_alone(view: View, tmp_path: Path) -> None:
    async with shown(view, (80, 24), MONO, tmp_path, ascii=True) as app:
        assert app.text.isascii()
        assert "?" not in app.text.replace("? help", "")  # nothing without a stand-in


def test_no_golden_file_is_left_over() -> None:
    wanted = {f"{view.name}-{w}x{h}{end}" for view, (w, h) in CASES for end in (".txt", ".styles", ".mono")}
    there = {path.name for path in (Path(__file__).parent / "golden").iterdir()}
    assert {name for name in there if not name.startswith(ELSEWHERE)} == wanted
