"""Compression of large values: OPTIONS["COMPRESSOR"] is "zlib", "zstd", "lz4", or a dotted path.

Values of COMPRESSOR_MIN_BYTES (1,024) and more are compressed, unless that does not make them
smaller. No value is decompressed beyond the size of the largest value that ferrokv stores.
"""

from __future__ import annotations

import zlib
from importlib import import_module
from types import ModuleType
from typing import Any, Final, Protocol

from ferrokv import DataError

from .naming import named

NONE: Final = 0
OWN: Final = 255
INFLATED_BYTES_MAX: Final = 64 << 20


class Compressor(Protocol):
    """Compresses bytes and decompresses them again."""

    def compress(self, data: bytes) -> bytes:
        """Return the compressed bytes."""

    def decompress(self, data: bytes) -> bytes:
        """Return the original bytes.

        Raises for invalid input, or for a result that would be too large.
        """


class ZlibCompressor:
    """zlib at its fastest level, from the standard library."""

    number = 1

    def compress(self, data: bytes) -> bytes:
        """Return the compressed bytes."""
        return zlib.compress(data, 1)

    def decompress(self, data: bytes) -> bytes:
        """Return the original bytes.

        ValueError if the input is truncated or the result too large.
        """
        inflater = zlib.decompressobj()
        found = inflater.decompress(data, INFLATED_BYTES_MAX)
        if not inflater.eof:
            raise ValueError("a compressed value is truncated, or larger than a value may be")
        return found


class ZstdCompressor:
    """Zstandard, by the package zstandard."""

    number = 2

    def __init__(self) -> None:
        self._zstd = _import("zstandard", "zstd")

    def compress(self, data: bytes) -> bytes:
        """Return the compressed bytes, which include the original size."""
        # A compressor object must not be shared between threads.
        found: bytes = self._zstd.ZstdCompressor().compress(data)
        return found

    def decompress(self, data: bytes) -> bytes:
        """Return the original bytes. ValueError if they would be too large."""
        size = self._zstd.frame_content_size(data)
        if not 0 <= size <= INFLATED_BYTES_MAX:
            raise ValueError(f"a compressed value has an invalid size: bytes={size}")
        found: bytes = self._zstd.ZstdDecompressor().decompress(data, max_output_size=size)
        return found


class Lz4Compressor:
    """LZ4 frames, by the package lz4."""

    number = 3

    def __init__(self) -> None:
        self._frame = _import("lz4.frame", "lz4")

    def compress(self, data: bytes) -> bytes:
        """Return the compressed bytes, which include the original size."""
        found: bytes = self._frame.compress(data, store_size=True)
        return found

    def decompress(self, data: bytes) -> bytes:
        """Return the original bytes.

        ValueError if the input is truncated or the result too large.
        """
        inflater = self._frame.LZ4FrameDecompressor()
        found: bytes = inflater.decompress(data, max_length=INFLATED_BYTES_MAX)
        if not inflater.eof:
            raise ValueError("a compressed value is truncated, or larger than a value may be")
        return found


def _import(name: str, extra: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise DataError(f'this COMPRESSOR needs {name}: pip install "ferrokv[{extra}]"') from error


NAMED: Final[dict[str, type]] = {"zlib": ZlibCompressor, "zstd": ZstdCompressor, "lz4": Lz4Compressor}
NUMBERS: Final[dict[int, Any]] = {
    ZlibCompressor.number: ZlibCompressor,
    ZstdCompressor.number: ZstdCompressor,
    Lz4Compressor.number: Lz4Compressor,
}
"""Compressors by the number in the header of a stored value."""


def make_compressor(given: Any) -> Compressor | None:
    """Return the compressor that OPTIONS names by name, dotted path, class or object, or None."""
    if given is None:
        return None
    given = named("COMPRESSOR", NAMED, given)
    made: Compressor = given() if isinstance(given, type) else given
    if not (callable(getattr(made, "compress", None)) and callable(getattr(made, "decompress", None))):
        raise DataError(f"a COMPRESSOR needs the methods compress and decompress: {given!r}")
    return made
