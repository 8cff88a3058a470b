"""What a key sends is in proportion to what it changes: counted on a pty, the picture frozen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminal import Terminal

FAKE = Path(__file__).parent.parent / "ui" / "fake.py"
F2, ESCAPE = "\x1bOQ", "\x1b"

LIMITS = [
    ("/", "as before", ESCAPE, 3000),
    ("f", "as before", ESCAPE, 3000),
    (":", "help: all keys", ESCAPE, 20_000),
    ("?", "any other key closes", "x", 24_000),
    (F2, "on, off", "\r", 9000),
    ("w", "Track writes", ESCAPE, 5000),
]
"""What is opened, a text of it, what closes it, bytes for both."""


@pytest.fixture
def frozen() -> Iterator[Terminal]:
    with Terminal([sys.executable, str(FAKE)], 120, 40) as terminal:
        terminal.wait_for_text("● live", "redis-server 4711")
        terminal.send(" ")
        terminal.wait_for_text("‖ frozen", "go on")
        while terminal.read(0.3):  # the rest of this picture
            pass
        yield terminal


def test_what_is_opened_and_closed_sends_what_changes(frozen: Terminal) -> None:
    before = frozen.screen.text
    for key, text, back, most in LIMITS:
        sent = len(frozen.output)
        frozen.send(key)
        frozen.wait_for_text(text)
        frozen.send(back)
        frozen.wait_for(lambda screen: screen.text == before, f"the page again after {key!r}")
        assert len(frozen.output) - sent < most, key


def test_what_another_program_wrote_goes_with_ctrl_l(frozen: Terminal) -> None:
    before = frozen.screen.text
    frozen.screen.feed("\x1b[5;1HBroadcast message from root@host: the system goes down\x1b[12;60Hgarbage")
    assert "Broadcast" in frozen.screen.text
    frozen.send("\x0c")
    frozen.wait_for(lambda screen: screen.text == before, "the page as it was")
