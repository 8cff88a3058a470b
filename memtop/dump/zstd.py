"""zstd, from the standard library (Python 3.14) or the zstandard package; a dump can do without both."""

from __future__ import annotations

from typing import Any

from memtop.linux.errors import Failed

LEVEL = 1
"""Fast: a dump must not take much longer for being smaller."""

MOST_WINDOW = 1 << 20
"""Bytes of memory that a frame may ask for to be unpacked; memtop's own hold 256 KiB."""


def _library() -> Any:
    try:
        import zstandard
    except ImportError:
        remedy = "pip install zstandard"
        raise Failed(
            "compressed snapshots are not possible here", "there is no zstd library", remedy
        ) from None
    return zstandard


class Packer:
    """Compresses single frames with a checksum.

    Raises:
        Failed: there is no library.
    """

    def __init__(self) -> None:
        self._compressor = _library().ZstdCompressor(
            level=LEVEL, write_checksum=True, write_content_size=True
        )

    def pack(self, data: memoryview) -> bytes:
        """One frame."""
        return bytes(self._compressor.compress(data))


class Unpacker:
    """The other way.

    Raises:
        Failed: there is no library.
    """

    def __init__(self) -> None:
        self._library = _library()
        self._decompressor = self._library.ZstdDecompressor(max_window_size=MOST_WINDOW)

    def size(self, frame: bytes) -> int:
        """Bytes that a frame says it holds; 0 where it does not say, or is none."""
        try:
            return max(int(self._library.frame_content_size(frame)), 0)
        except self._library.ZstdError:
            return 0

    def unpack(self, frame: bytes, size: int) -> bytes | None:
        """The contents of one frame, which are so many bytes; None: it is damaged."""
        try:
            data = bytes(self._decompressor.decompress(frame, max_output_size=size, allow_extra_data=False))
        except (self._library.ZstdError, MemoryError):
            return None
        return data if len(data) == size else None
