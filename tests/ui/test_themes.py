"""Every theme can be read, in its colours and without any; T and the settings change it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from rich.style import Style
from screen import Driver, opened

from memtop import ui
from memtop.cli.live import parser
from memtop.ui import settings
from memtop.ui.ages import Age
from memtop.ui.glyphs import CELLS
from memtop.ui.settings import SettingsError
from memtop.ui.theme import ANSI, CONTRAST, DARK, LIGHT, MONO, THEMES, Palette, named

TRUECOLOR = (DARK, LIGHT, CONTRAST)
TEXT = ("text", "dim", "faint", "strong", "accent", "good", "warn", "trouble", "rate", "spark")
WRITTEN = (Age.EARLIER, Age.MINUTE, Age.SECONDS, Age.NOW)

# Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB.
VISION = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deutan": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritan": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def linear(style: Style, ground: bool = False) -> tuple[float, ...]:
    """Linear RGB of a style's text, or of what is behind it (IEC 61966-2-1)."""
    colour = style.bgcolor if ground else style.color
    assert colour is not None
    assert colour.triplet is not None
    parts = [part / 255 for part in colour.triplet]
    return tuple(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)


def luminance(rgb: tuple[float, ...]) -> float:
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]


def contrast(style: Style) -> float:
    """WCAG 2.2, "contrast ratio"."""
    high, low = sorted((luminance(linear(style)), luminance(linear(style, ground=True))), reverse=True)
    return (high + 0.05) / (low + 0.05)


def lightness(rgb: tuple[float, ...], seen_by: str) -> float:
    """CIE L* as somebody with this vision sees it."""
    y = luminance(tuple(sum(a * b for a, b in zip(row, rgb, strict=True)) for row in VISION[seen_by]))
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def test_the_measures_know_black_white_and_a_published_pair() -> None:
    assert contrast(Style.parse("#ffffff on #000000")) == pytest.approx(21)
    assert contrast(Style.parse("#777777 on #ffffff")) == pytest.approx(4.48, abs=0.01)
    assert lightness((1.0, 1.0, 1.0), "all") == pytest.approx(100, abs=0.01)
    assert lightness((1.0, 1.0, 1.0), "deutan") == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("palette", TRUECOLOR, ids=lambda p: p.name)
def test_all_text_has_contrast(palette: Palette) -> None:
    least = 7.0 if palette is CONTRAST else 4.5
    styles = {name: getattr(palette, name) for name in TEXT}
    styles |= {f"kind {i}": style for i, style in enumerate(palette.kinds)}
    for name, style in styles.items():
        for layer in (Style(), palette.selected, palette.raised):
            assert contrast(style + layer) >= least, (name, str(style + layer))
    assert contrast(palette.cursor) >= 7


@pytest.mark.parametrize("palette", TRUECOLOR, ids=lambda p: p.name)
def test_cells_of_maps_have_contrast(palette: Palette) -> None:
    assert contrast(palette.ages[Age.ABSENT]) >= 4.5  # blank in maps; in their legend a word
    for age in (Age.RESIDENT, *WRITTEN):
        for layer in (Style(), palette.selected):
            assert contrast(palette.ages[age] + layer) >= 3, age.name


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("palette", TRUECOLOR, ids=lambda p: p.name)
def test_ages_keep_their_order_for_every_kind_of_colour_vision(palette: Palette, vision: str) -> None:
    steps = [lightness(linear(palette.ages[age]), vision) for age in WRITTEN]
    ground = lightness(linear(palette.text, ground=True), vision)
    # The newer, the further from the ground: by steps that can be told apart at a glance.
    away = [abs(step - ground) for step in steps]
    assert all(later - earlier >= 8 for earlier, later in pairwise(away)), away


def test_ages_and_states_have_signs_of_their_own() -> None:
    assert len(set(CELLS)) == len(Age)


def test_mono_and_ansi_leave_the_ground_to_the_terminal() -> None:
    for palette in (MONO, ANSI):
        for name in TEXT:
            background = getattr(palette, name).bgcolor
            assert background is None or background.is_default
    for style in (*(getattr(MONO, name) for name in TEXT), *MONO.ages, *MONO.kinds):
        assert style.color is None or style.color.is_default
    for style in (*(getattr(ANSI, name) for name in TEXT), *ANSI.ages, *ANSI.kinds):
        assert style.color is None or style.color.is_default or (style.color.number or 0) < 16


def test_the_names_of_themes_are_one_list() -> None:
    assert tuple(palette.name for palette in THEMES) == ui.THEMES
    assert [named(name) for name in ui.THEMES] == list(THEMES)
    assert parser().parse_args(["--theme", "light"]).theme == "light"


def colours(screen: Driver) -> set[str]:
    """Colours on screen; of text that can be seen."""
    found = set()
    for strip in screen.app.screen._compositor.render_strips():
        for _, style, *_ in strip:
            for colour in (style.color, style.bgcolor) if style is not None else ():
                if colour is not None and not colour.is_default:
                    found.add(colour.name)
    return found


async def test_t_goes_through_all_themes_and_comes_back() -> None:
    async with opened(ticks=5) as screen:
        text, first = screen.text, colours(screen)
        seen = []
        for palette in (*THEMES[1:], THEMES[0]):
            await screen.press("T")
            assert f"theme {palette.name}" in screen.text
            await screen.press("escape")
            assert screen.text == text  # no state shows by colour alone
            seen.append(colours(screen))
            if palette is MONO:
                assert not seen[-1]
            elif palette is not ANSI:
                assert "#0d1117" not in seen[-1] or palette is DARK
        assert seen[-1] == first
        assert len({frozenset(each) for each in seen}) == len(THEMES)


@pytest.mark.parametrize("key", ["question_mark", "colon"])
async def test_help_and_palette_wear_it_too(key: str) -> None:
    async with opened(ticks=3) as screen:
        await screen.press("T", key)
        await screen.pilot.pause(0.3)
        assert "#ffffff" in colours(screen)
        assert DARK.text.bgcolor is not None
        assert DARK.text.bgcolor.name not in colours(screen)


async def test_the_command_palette_is_drawn_in_ascii_alone() -> None:
    async with opened(ticks=3, ascii=True, size=(60, 20)) as screen:
        await screen.press("colon")
        await screen.pilot.pause(0.3)
        assert screen.text.isascii()
        assert "?" not in screen.text.replace("(?)", "").replace("? help", "")


async def test_no_color_is_kept_for_the_next_screen_and_yields_to_a_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    for _ in range(2):
        async with opened(palette=None) as screen:
            assert screen.app.look.palette is MONO
            assert not colours(screen)
    async with opened(palette=LIGHT) as screen:
        assert "#ffffff" in colours(screen)


async def test_an_empty_no_color_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    async with opened(palette=None) as screen:
        assert screen.app.look.palette is not MONO


async def test_the_theme_is_saved_on_request_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "memtop" / "config.toml"
    async with opened(palette=None) as screen:
        await screen.app.live.run_action("save_settings")
        assert "theme" not in file.read_text()  # nobody chose one
        await screen.press("T")
        assert "theme" not in file.read_text()
        chosen = screen.app.look.palette.name
        await screen.app.live.run_action("save_settings")
    assert settings.load().theme == chosen


def test_a_theme_that_there_is_not_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("reverse = true\ntheme = 'pink'\n")
    with pytest.raises(SettingsError, match=r"config.toml:2: theme is one of 'dark', 'light'"):
        settings.load(file)
