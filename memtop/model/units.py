"""Numbers for people: three digits and a unit, the same width from tick to tick."""

from __future__ import annotations

from time import gmtime, strftime

DASH = "–"
"""What is not known."""

_UNITS = ("B", "K", "M", "G", "T", "P", "E")
_COUNTS = ("", "k", "M", "G", "T", "P", "E")


SHORTEST, LONGEST = 0.1, 3600.0
"""Bounds of the interval between two samples, seconds."""


def size(value: float | None) -> str:
    """Bytes as at most three digits and a binary unit: ``0``, ``512B``, ``4.0K``, ``380M``, ``1.5G``."""
    if value is None:
        return DASH
    if value < 0.5:
        return "0"
    unit = 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1024
        unit += 1
    return f"{value:.1f}{_UNITS[unit]}" if unit and value < 9.95 else f"{value:.0f}{_UNITS[unit]}"


def rate(value: float | None) -> str:
    """Bytes a second, as ``size`` with ``/s``."""
    text = size(value)
    return text if text in (DASH, "0") else f"{text}/s"


def count(value: float | None) -> str:
    """A count as three digits and a decimal unit: ``42``, ``1.2k``, ``98k``, ``3.1M``."""
    if value is None:
        return DASH
    unit = 0
    while abs(value) >= 999.5 and unit < len(_COUNTS) - 1:
        value /= 1000
        unit += 1
    return f"{value:.1f}{_COUNTS[unit]}" if unit and abs(value) < 9.95 else f"{value:.0f}{_COUNTS[unit]}"


def percent(part: float | None, whole: float | None) -> str:
    """``62%`` of a whole that may be zero or unknown."""
    if part is None or not whole:
        return DASH
    share = 100 * part / whole
    if share == 0:
        return "0%"
    return "<1%" if share < 0.5 else f"{share:.0f}%"


def seconds(value: float) -> str:
    """A span: ``350µs``, ``12ms``, ``1.5s``, ``90s``."""
    if value < 0.001:
        return f"{value * 1e6:.0f}µs"
    if value < 0.1:
        return f"{value * 1e3:.1f}ms" if value < 0.01 else f"{value * 1e3:.0f}ms"
    return f"{value:.1f}s" if value < 10 else f"{value:.0f}s"


def clock(when: float) -> str:
    """Unix seconds as a time of day, UTC: ``19:54:07Z``."""
    return strftime("%H:%M:%SZ", gmtime(when))


def duration(value: float) -> str:
    """A long span in its two largest units: ``42s``, ``5m``, ``3h12m``, ``4d3h``."""
    whole = max(int(value), 0)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d{hours}h" if hours else f"{days}d"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m" if minutes else f"{whole}s"
