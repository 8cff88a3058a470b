"""Nothing that a target puts into a name reaches the terminal as anything but printable text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtop.model.names import LONGEST, clean, clean_text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"/usr/lib/libc.so.6", "/usr/lib/libc.so.6"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"\x1b]52;c;AAAA\x07", "\\x1b]52;c;AAAA\\x07"),
        (b"new\nline", "new\\x0aline"),
        (b"kernel\\012newline", "kernel\\012newline"),
        ("\x9b31m".encode(), "\\x9b31m"),
        ("a\u202eb".encode(), "a\\u202eb"),
        ("zero\u200bwidth".encode(), "zero\\u200bwidth"),
        ("e\u0301".encode(), "e\\u0301"),
        ("\u1100\u1161".encode(), "\u1100\\u1161"),
        ("a\u3164b".encode(), "a\\u3164b"),
        ("\U0001f44d\U0001f3fb".encode(), "\U0001f44d\\U0001f3fb"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"[bold]markup[/bold]", "[bold]markup[/bold]"),
        ("日本".encode(), "日本"),
        ("nb\u00a0sp".encode(), "nb\\xa0sp"),
    ],
)
def test_known_attacks(raw: bytes, shown: str) -> None:
    assert clean(raw) == shown


@given(st.binary(max_size=200))
def test_only_printable_text_comes_out(raw: bytes) -> None:
    text = clean(raw)
    assert text.isprintable()
    assert not any(unicodedata.combining(c) for c in text)
    text.encode("utf-8")


def test_a_long_name_is_cut_with_a_mark() -> None:
    text = clean(b"x" * 10000)
    assert len(text) == LONGEST
    assert text.endswith("…")


def test_text_that_python_decoded_with_surrogates() -> None:
    assert clean_text("\udcff") == "\\xff"
