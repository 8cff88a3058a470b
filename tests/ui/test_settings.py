"""The user's file, the command palette, and docs/keys.md."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import keys_doc
import pytest
from fake import FakeSource
from screen import opened
from textual.command import CommandPalette

from memtop.cli.exits import ExitCode, code_of
from memtop.ui import keymap
from memtop.ui.columns import PERMS, RESIDENT, SIZE
from memtop.ui.keymap import KEYMAP, Mode
from memtop.ui.rows import Grouping
from memtop.ui.settings import Settings, SettingsError, load, save
from memtop.ui.settings_path import settings_path as path

EVERYTHING = """# mine
columns = ["ADDRESS", "PERM", "RSS"]
sort = "SIZE"
reverse = true
group = "by kind"

[keys]
search = ["ctrl+f", "/"]
freeze = "P"   # as elsewhere
"""


@pytest.fixture(autouse=True)
def _own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    yield
    keymap.use(keymap.defaults())


def written(text: str) -> Path:
    path().parent.mkdir(exist_ok=True)
    path().write_text(text)
    return path()


def test_no_two_actions_share_a_key() -> None:
    assert keymap.remapped({}) == keymap.defaults()


def test_a_file_says_what_it_says() -> None:
    assert load() == Settings()
    written(EVERYTHING)
    settings = load()
    assert settings.sort is SIZE
    assert settings.columns is not None
    assert PERMS in settings.columns
    assert settings.reverse is True
    assert settings.grouping is Grouping.KIND
    assert settings.keys == {"search": ["ctrl+f", "slash"], "freeze": ["P"]}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("sort = ", 1, "no TOML"),
        ("\ncolour = 'red'", 2, "there is no setting 'colour'"),
        ("columns = ['RSS', 'NOPE']", 1, "there is no column 'NOPE'"),
        ("sort = 7", 1, "there is no column 7"),
        ("reverse = 'yes'", 1, "true or false"),
        ("[keys]\nfly = 'f9'", 2, "there is no action 'fly'"),
        ("[keys]\nfreeze = 3", 2, "a name or a list"),
        ("[keys]\n\nfreeze = 'q'", 3, "q would be both"),
        ("[keys]\n'sort(1)' = '/'", 2, "would be both"),
        ("sort = 'a\x1b[31m'", 1, "no TOML"),
    ],
)
def test_what_means_nothing_is_named_with_its_line(text: str, line: int, says: str) -> None:
    written(text)
    with pytest.raises(SettingsError) as error:
        load()
    assert f"config.toml:{line}: " in error.value.sentence
    assert says in error.value.sentence
    assert error.value.sentence.isprintable()
    assert code_of(error.value) is ExitCode.USAGE


def test_saving_keeps_comments_and_keys_and_is_read_again() -> None:
    file = written(EVERYTHING)
    file.chmod(0o600)
    assert save(Settings((SIZE, RESIDENT), RESIDENT, False, Grouping.NONE)) == file
    text = file.read_text()
    assert "# mine" in text
    assert 'freeze = "P"   # as elsewhere' in text
    settings = load()
    assert (settings.sort, settings.reverse, settings.grouping) == (RESIDENT, False, Grouping.NONE)
    assert settings.columns is not None
    assert set(settings.columns) == {SIZE, RESIDENT}
    assert settings.keys["freeze"] == ["P"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(file.parent) == ["config.toml"]


def test_what_could_not_be_read_is_not_written_over() -> None:
    file = written("this is = = no toml")
    with pytest.raises(SettingsError):
        save(Settings(sort=RESIDENT))
    assert file.read_text() == "this is = = no toml"


async def test_other_keys_work_and_are_what_footer_and_help_show() -> None:
    settings = Settings(keys={"freeze": ["P"], "search": ["ctrl+f"]}, grouping=Grouping.KIND, sort=SIZE)
    async with opened(settings=settings) as screen:
        assert "NAME by kind" in screen.text
        assert "SIZE▼" in screen.text
        await screen.press("space")
        assert not screen.live.frozen
        await screen.press("P")
        assert screen.live.frozen
        assert "P go on" in screen.text
        await screen.press("slash")
        assert screen.live.mode is Mode.TABLE
        await screen.press("ctrl+f")
        assert screen.live.mode is Mode.TYPE


async def test_sentences_name_the_users_own_keys() -> None:
    settings = Settings(keys={"arm": ["W"], "confirm": ["y"], "close": ["x"], "help": ["h"], "freeze": []})
    async with opened(settings=settings, arm=False) as screen:
        assert "W tracks them" in screen.text
        await screen.press("W")
        assert screen.lines[-1].split()[:3] == ["y", "does", "it"]
        assert "x leaves" in screen.lines[-1]
        await screen.press("x")
        screen.source.notice("what failed " * 20, "error")
        await screen.pilot.pause()
        assert "h says all" in screen.text
        await screen.press("left")
        assert "frozen (: freeze)" in screen.text  # it has no key: the palette has it
        await screen.press("h")
        assert "Said last" in screen.text


async def test_settings_are_saved_on_request_only() -> None:
    async with opened() as screen:
        await screen.press("f5", "r")
        assert not path().exists()
        await screen.live.run_action("save_settings")
        await screen.pilot.pause()
        assert "saved in" in screen.text
        assert load().grouping is Grouping.FILE
        assert load().reverse is True


async def test_the_palette_finds_actions_by_their_phrase() -> None:
    async with opened(size=(120, 50)) as screen:
        await screen.press("colon")
        assert isinstance(screen.app.screen, CommandPalette)
        await screen.press(*"freeze the")
        await screen.app.workers.wait_for_complete()
        await screen.press("enter", "enter")
        await screen.pilot.pause()
        assert screen.live.frozen
        await screen.press("ctrl+p")
        assert isinstance(screen.app.screen, CommandPalette)
        await screen.press("escape")
        assert screen.app.screen is screen.live


async def test_the_palette_does_not_offer_what_readonly_refuses() -> None:
    async with opened(FakeSource(readonly=True)) as screen:
        from memtop.ui.palette import Commands

        offered = {key.action for _, key in Commands(screen.live)._commands()}
        assert "freeze" in offered
        assert not offered & {key.action for key in KEYMAP if key.acts}


def test_the_document_lists_the_keys_as_they_are() -> None:
    assert keys_doc.FILE.read_text() == keys_doc.document(), "python tests/ui/keys_doc.py writes it anew"
