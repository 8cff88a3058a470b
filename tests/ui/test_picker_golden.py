"""Golden pictures of the picker: what can be chosen, what is typed, what is chosen, what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from recorded import compare, redrawn, styles

from memtop.linux.errors import NotPermitted
from memtop.linux.processes import Listed
from memtop.ui import picture
from memtop.ui.picker import PickerApp
from memtop.ui.theme import DARK, LIGHT, MONO, Palette

SIZES = ((60, 15), (80, 24), (120, 40), (200, 60))
THEMES = {"dark": DARK, "light": LIGHT, "mono": MONO}
VIEWS: dict[str, Sequence[str]] = {
    "picker-all": [],
    "picker-typed": [*"postgres"],
    "picker-chosen": ["down", "space", "down", "space", "f4"],
    "picker-refused": ["end", "enter"],
    "picker-none": [*"nobody"],
}
MIB = 1 << 20


def entry(
    pid: int, name: str, mib: float, command: str, parent: int = 1, user: str = "postgres", swap: int = 0
) -> Listed:
    """One that may be looked at, unless it is root's."""
    mine = user != "root"
    return Listed(
        pid, parent, name, user, mine, int(mib * MIB), swap * MIB, 1000, f"{name} {command}".strip(), mine
    )


PG = "-D /var/lib/postgresql/15/main -c config_file=/etc/postgresql/15/main/postgresql.conf"
ALL = [
    entry(1412, "postgres", 8230, PG, swap=12),
    entry(1431, "postgres", 8120, "postgres: 15/main: checkpointer", 1412),
    entry(1432, "postgres", 410, "postgres: 15/main: background writer", 1412),
    entry(20988, "postgres", 1890, "postgres: 15/main: app orders 10.2.0.7(51544) SELECT", 1412, swap=3),
    entry(21044, "postgres", 640, "postgres: 15/main: app orders 10.2.0.9(40112) idle", 1412),
    entry(4711, "redis-server", 6144, "*:6379", user="redis"),
    entry(
        1099344, "java", 15400, "-Xmx12g -XX:+UseSerialGC -jar /srv/orders/orders.jar", user="orders-service"
    ),
    entry(30112, "python3", 84, "/srv/bin/relay.py --to queue-2", user="app", swap=210),
    entry(811, "sshd", 9.5, "/usr/sbin/sshd -D", user="root"),
    entry(1, "systemd", 13, "", 0, user="root"),
]
RATES = {1412: 31.0, 1431: 2210.0, 1432: 96.0, 20988: 48_300.0, 21044: 0.0, 4711: 98_000.0, 1099344: 5.0}


@asynccontextmanager
async def picker(
    keys: Sequence[str], size: tuple[int, int], palette: Palette, monkeypatch: pytest.MonkeyPatch, ascii: bool
) -> AsyncIterator[PickerApp]:
    """The picker where the keys have led it."""
    monkeypatch.setattr("memtop.ui.picker.os.getuid", lambda: 1000)
    monkeypatch.setattr("memtop.ui.picker.REFRESH_S", 3600.0)  # nothing is read again, however slow this is
    refused = NotPermitted(
        "reading the memory map of process 811 is not permitted",
        "it belongs to user 0",
        "run memtop as that user or as root",
    )
    monkeypatch.setattr("memtop.ui.picker.why_not", lambda pid: refused)
    app = PickerApp(list_all=lambda: ALL, palette=palette, ascii=ascii)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        await app.reread()
        app._rates = RATES
        for key in keys:
            await pilot.press(key)
        app.show()
        await pilot.pause()
        yield app


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", VIEWS)
async def test_looks_as_it_should(
    name: str,
    size: tuple[int, int],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    update, said = request.config.getoption("--update-golden"), f"{name}-{size[0]}x{size[1]}"
    async with picker(VIEWS[name], size, DARK, monkeypatch, False) as app:
        for theme, palette in THEMES.items():
            await redrawn(app, palette)
            kind = "mono" if theme == "mono" else "styles"
            shown = picture.portable(app.export_screenshot(title="memtop"))
            text = "".join(s.text.rstrip() + "\n" for s in app.screen._compositor.render_strips())
            compare(f"{said}.txt", text, update and theme == "dark", shown, tmp_path)
            compare(f"{said}.{kind}", styles(app), update and theme != "light", shown, tmp_path)


@pytest.mark.parametrize("name", VIEWS)
async def test_is_drawn_in_ascii_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with picker(VIEWS[name], (80, 24), MONO, monkeypatch, True) as app:
        text = "\n".join(s.text for s in app.screen._compositor.render_strips())
        assert text.isascii()
        assert "?" not in text.replace("which process?", "")  # nothing without a stand-in
