"""What a user has settled: keys, columns, order, groups, theme, in ``memtop/config.toml`` (docs/keys.md).

The file is read at the start and written on request only, with its comments kept, in one step, and never over
something that could not be read.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from memtop.linux.errors import Misused
from memtop.model.names import clean_text
from memtop.ui import THEMES
from memtop.ui.columns import ABOUT, EVERY, Column
from memtop.ui.keymap import Key, defaults, key_names, remapped
from memtop.ui.rows import Grouping
from memtop.ui.settings_path import settings_path

_COLUMNS = {column.head: column for column in EVERY}


class SettingsError(Misused):
    """The file can't be used."""


@dataclass(frozen=True)
class Settings:
    """Each is None where the file says nothing of it.

    Attributes:
        columns: those that are shown, without NAME.
        sort, reverse, grouping: of the table.
        theme: a name of ``ui.theme.THEMES``.
        keys: action to the names of its keys.
    """

    columns: tuple[Column, ...] | None = None
    sort: Column | None = None
    reverse: bool | None = None
    grouping: Grouping | None = None
    theme: str | None = None
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def keymap(self) -> tuple[Key, ...]:
        """The table of keys with these changes."""
        return remapped(self.keys)


def load(file: Path | None = None) -> Settings:
    """The settings of a file; none where there is no such file.

    Raises:
        SettingsError: it can't be read, or says something that means nothing; with the line.
    """
    file = file or settings_path()
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{clean_text(str(file))} can't be read", why) from None
    return _Reader(file, text).settings()


class _Reader:
    """Checks one file."""

    def __init__(self, file: Path, text: str) -> None:
        self._file, self._text = clean_text(str(file)), text

    def settings(self) -> Settings:
        import tomlkit  # costs more than reading, so only where there is a file
        from tomlkit.exceptions import ParseError, TOMLKitError

        try:
            said = tomlkit.parse(self._text).unwrap()
        except ParseError as error:
            raise SettingsError(
                f"{self._file}:{error.line}: this is no TOML", clean_text(str(error))
            ) from None
        except TOMLKitError as error:
            raise SettingsError(f"{self._file}: this is no TOML", clean_text(str(error))) from None
        known = {"columns", "sort", "reverse", "group", "theme", "keys"}
        for name in said:
            if name not in known:
                raise self._error(
                    name, f"there is no setting {name!a}", f"settings are {', '.join(sorted(known))}"
                )
        columns, sort, reverse, group, theme = (
            said.get(name) for name in ("columns", "sort", "reverse", "group", "theme")
        )
        if columns is not None and not isinstance(columns, list):
            raise self._error("columns", "columns is a list of names")
        if not isinstance(reverse, bool | None):
            raise self._error("reverse", "reverse is true or false")
        groups = {grouping.value: grouping for grouping in Grouping}
        if group is not None and group not in groups:
            raise self._error("group", f"group is one of {', '.join(map(repr, groups))}")
        if theme is not None and theme not in THEMES:
            raise self._error("theme", f"theme is one of {', '.join(map(repr, THEMES))}")
        return Settings(
            None if columns is None else tuple(self._column("columns", name) for name in columns),
            None if sort is None else self._column("sort", sort),
            reverse,
            None if group is None else groups[group],
            theme,
            self._keys(said.get("keys", {})),
        )

    def _column(self, setting: str, name: object) -> Column:
        if not isinstance(name, str) or name not in _COLUMNS:
            raise self._error(setting, f"there is no column {name!a}", f"columns are {', '.join(_COLUMNS)}")
        return _COLUMNS[name]

    def _keys(self, said: object) -> dict[str, list[str]]:
        if not isinstance(said, dict):
            raise self._error("keys", "keys is a table: [keys]")
        actions = {key.action for key in defaults()}
        keys: dict[str, list[str]] = {}
        for action, value in said.items():
            names = [value] if isinstance(value, str) else value
            if action not in actions:
                raise self._error(action, f"there is no action {action!a}", "docs/keys.md lists them")
            if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
                raise self._error(action, f"the keys of {action} are a name or a list of names")
            try:
                keys[action] = key_names(names)
                remapped(keys)
            except ValueError as error:
                raise self._error(action, str(error)) from None
        return keys

    def _error(self, name: str, what: str, why: str = "") -> SettingsError:
        lines = self._text.splitlines()
        at = next((n for n, text in enumerate(lines, 1) if text.lstrip(" \t[\"'").startswith(name)), 0)
        return SettingsError(f"{self._file}:{at}: {what}" if at else f"{self._file}: {what}", why)


def save(settings: Settings, file: Path | None = None) -> Path:
    """Writes what is set into the file, which keeps its comments and its keys; in one step.

    Raises:
        SettingsError: what is there can't be read, so it is not touched; or it can't be written.
    """
    import tomlkit

    file = file or settings_path()
    load(file)  # never over what could not be read
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        document = tomlkit.parse(text) if text else tomlkit.document()
        columns = [c.head for c in settings.columns or () if c in ABOUT]
        values = {
            "columns": columns if settings.columns is not None else None,
            "sort": settings.sort.head if settings.sort is not None else None,
            "reverse": settings.reverse,
            "group": settings.grouping.value if settings.grouping is not None else None,
            "theme": settings.theme,
        }
        for name, value in values.items():
            if value is not None:
                document[name] = value
        _replace(file, tomlkit.dumps(document))
    except OSError as error:
        raise SettingsError(
            f"{clean_text(str(file))} can't be written", error.strerror or str(error)
        ) from None
    return file


def _replace(file: Path, text: str) -> None:
    target = file.resolve()  # a link stays one
    target.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=target.parent, prefix=".config-", suffix=".toml")
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o644 if not target.exists() else target.stat().st_mode & 0o777)
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
