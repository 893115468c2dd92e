"""How large values become smaller: OPTIONS["COMPRESSOR"] is "zlib", "zstd", "lz4", or the dotted path of a class.

Bodies of COMPRESSOR_MIN_BYTES (1,024) and more are compressed, and kept as they were if that gains nothing. Nothing is inflated
beyond the largest value that ferrokv stores.
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
    """Bytes to fewer bytes and back."""

    def compress(self, data: bytes) -> bytes:
        """The compressed bytes."""

    def decompress(self, data: bytes) -> bytes:
        """What was compressed. Raises for bytes that are no result of `compress`, or would inflate beyond bounds."""


class ZlibCompressor:
    """zlib at its fastest level, from the standard library."""

    number = 1

    def compress(self, data: bytes) -> bytes:
        """The compressed bytes."""
        return zlib.compress(data, 1)

    def decompress(self, data: bytes) -> bytes:
        """What was compressed; ValueError if it is longer than a value may be, or cut off."""
        inflater = zlib.decompressobj()
        found = inflater.decompress(data, INFLATED_BYTES_MAX)
        if not inflater.eof:
            raise ValueError("a compressed value is cut off, or larger than a value may be")
        return found


class ZstdCompressor:
    """Zstandard, by the package zstandard."""

    number = 2

    def __init__(self) -> None:
        self._zstd = _import("zstandard", "zstd")

    def compress(self, data: bytes) -> bytes:
        """The compressed bytes, with their size."""
        found: bytes = self._zstd.ZstdCompressor().compress(data)  # a compressor belongs to one thread
        return found

    def decompress(self, data: bytes) -> bytes:
        """What was compressed; ValueError if it is longer than a value may be."""
        size = self._zstd.frame_content_size(data)
        if not 0 <= size <= INFLATED_BYTES_MAX:
            raise ValueError(f"a compressed value says a size that no value has: bytes={size}")
        found: bytes = self._zstd.ZstdDecompressor().decompress(data, max_output_size=size)
        return found


class Lz4Compressor:
    """LZ4 frames, by the package lz4."""

    number = 3

    def __init__(self) -> None:
        self._frame = _import("lz4.frame", "lz4")

    def compress(self, data: bytes) -> bytes:
        """The compressed bytes, with their size."""
        found: bytes = self._frame.compress(data, store_size=True)
        return found

    def decompress(self, data: bytes) -> bytes:
        """What was compressed; ValueError if it is longer than a value may be, or cut off."""
        inflater = self._frame.LZ4FrameDecompressor()
        found: bytes = inflater.decompress(data, max_length=INFLATED_BYTES_MAX)
        if not inflater.eof:
            raise ValueError("a compressed value is cut off, or larger than a value may be")
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
"""By what stands in front of a stored value."""


def make_compressor(given: Any) -> Compressor | None:
    """The compressor that OPTIONS names: a name, a dotted path, a class or an object; None for none."""
    if given is None:
        return None
    given = named("COMPRESSOR", NAMED, given)
    made: Compressor = given() if isinstance(given, type) else given
    if not (callable(getattr(made, "compress", None)) and callable(getattr(made, "decompress", None))):
        raise DataError(f"a COMPRESSOR has the methods compress and decompress: {given!r}")
    return made
