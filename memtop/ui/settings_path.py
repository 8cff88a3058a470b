"""Where the user's settings are; apart from reading them, which most users have no file for."""

from __future__ import annotations

import os
from pathlib import Path


def settings_path() -> Path:
    """The file, whether or not it is there (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    return home / "memtop" / "config.toml"
