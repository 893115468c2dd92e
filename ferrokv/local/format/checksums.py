"""The checksum and hash function of the format: 64-bit XXH3."""

from __future__ import annotations

from typing import Final

from xxhash import xxh3_64_intdigest

MASK_64: Final = (1 << 64) - 1

checksum = xxh3_64_intdigest  # (data, seed=0) -> int
hash_key = xxh3_64_intdigest  # (key) -> int, for filters and block tags


def table_seed(store_id: bytes, number: int) -> int:
    """Return the seed for the parts of a table, which ties them to store and number."""
    return checksum(number.to_bytes(8, "little"), checksum(store_id))
