"""What the adapters share: options, batches, and TTLs in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, Final, TypeVar, cast

from ferrokv import Options, WriteBatch
from ferrokv.contract.encoding import Key, Value
from ferrokv.options import OpenOptions

NUMBERS: Final[tuple[Any, ...]] = (Real, Decimal)
"""What a timeout is made of; numpy's numbers are some."""
FOREVER_SECONDS: Final = 1e12
"""30,000 years. Longer timeouts never expire."""
PART_RECORDS: Final = 50_000
PART_BYTES: Final = 32 << 20
"""Limits of one commit when a caller writes or deletes a lot at once, so that others do not have to
wait for all of it (docs/format.md section 8)."""
T = TypeVar("T")


def in_batches(writes: Iterable[tuple[Key, Value | None, int | None]]) -> list[WriteBatch]:
    """Distribute writes over as few batches as possible; returns at least one.

    Each write is a key, a value or None to delete, and a TTL in ms or None.
    """
    batches = [WriteBatch()]
    size = 0
    for key, value, px in writes:
        if len(batches[-1]) >= PART_RECORDS or size >= PART_BYTES:
            batches.append(WriteBatch())
            size = 0
        if value is None:
            batches[-1].delete(key)
        else:
            batches[-1].set(key, value, px=px)
            size += len(value) if isinstance(value, str | bytes) else 0
    return batches


def in_parts(names: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split names into parts that one commit should delete."""
    for i in range(0, len(names), PART_RECORDS):
        yield names[i : i + PART_RECORDS]


def open_options(given: Mapping[str, object]) -> OpenOptions:
    """Return options that were given by name. `DataError` if one is unknown or out of range."""
    Options.checked(given)
    return cast("OpenOptions", dict(given))


def whole_ms(seconds: float | None) -> int | None:
    """Convert a TTL to ms, at least 1. None for no expiry; ValueError for NaN.

    None, 0, and TTLs beyond `FOREVER_SECONDS` mean no expiry.
    """
    return max(1, round(max(seconds, 0) * 1000)) if seconds and not seconds >= FOREVER_SECONDS else None
