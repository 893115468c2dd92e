"""Changes on top of a view: those of a transaction, of its group, and of unsynced commits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from sortedcontainers import SortedList

from ...contract.limits import BATCH_RECORDS_MAX
from ...errors import DataError
from ..format.commits import Entry
from ..format.keys import PREFIX_BYTES
from ..format.limits import TRANSACTION_BYTES_MAX
from ..storage.requests import Op
from .merge import PAGE_RECORDS, Page
from .view import Catalogue


class Changes(dict[bytes, Any]):
    """Internal key -> (value or None for a tombstone, expires_ms or 0, ...), and a catalogue.

    The catalogue is the one that results from the changes. It has one owner. The keys are not
    sorted before the first scan.
    """

    __slots__ = ("_index", "catalogue", "payload_bytes")

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.payload_bytes = 0
        self._index: SortedList | None = None

    def write(self, internal_key: bytes, value: bytes | None, expires_ms: int) -> None:
        """Write a record.

        Raises `DataError` if that exceeds what a command or transaction may write.
        """
        if self._index is not None and internal_key not in self:
            self._index.add(internal_key)
        old = self.get(internal_key)
        if old is not None:
            self.payload_bytes -= _payload_bytes(internal_key, old[0])
        self[internal_key] = (value, expires_ms)
        self.payload_bytes += _payload_bytes(internal_key, value)
        if len(self) > BATCH_RECORDS_MAX or self.payload_bytes > TRANSACTION_BYTES_MAX:
            raise _too_large(len(self), self.payload_bytes)

    def absorb_within(self, nested: Changes) -> None:
        """Take over the writes of a nested transaction.

        If that exceeds what a transaction may write, raise `DataError` and take nothing.
        """
        size = self.payload_bytes + nested.payload_bytes
        if len(self) + len(nested) > BATCH_RECORDS_MAX or size > TRANSACTION_BYTES_MAX:
            replaced = [key for key in nested if key in self]
            count = len(self) + len(nested) - len(replaced)
            size -= sum(_payload_bytes(key, self[key][0]) for key in replaced)
            if count > BATCH_RECORDS_MAX or size > TRANSACTION_BYTES_MAX:
                raise _too_large(count, size)
        self.absorb(nested)

    def absorb(self, newer: Changes) -> None:
        """Take over changes that are newer than these."""
        if self._index is not None:
            self._index.update(key for key in newer if key not in self)
        replaced = [key for key in newer if key in self] if self else ()
        self.payload_bytes += newer.payload_bytes - sum(_payload_bytes(key, self[key][0]) for key in replaced)
        self.update(newer)
        self.catalogue = newer.catalogue

    def sorted_keys(self, low: bytes, high: bytes | None, *, reverse: bool) -> Iterator[bytes]:
        """Iterate over the keys of [low, high) in order. The first call costs O(n log n)."""
        if self._index is None:
            self._index = SortedList(self)
        keys: Iterator[bytes] = self._index.irange(low, high, (True, False), reverse)
        return keys


def _payload_bytes(internal_key: bytes, value: bytes | None) -> int:
    return len(internal_key) - PREFIX_BYTES + (0 if value is None else len(value))


def _too_large(records: int, size: int) -> DataError:
    return DataError(
        f"a command or transaction writes at most {BATCH_RECORDS_MAX} records and {TRANSACTION_BYTES_MAX} bytes, "
        f"since other writers wait for it: records={records} bytes={size}"
    )


class ChangesSource:
    """The records of changes in [low, high), for a merge.

    Nothing may be written until it has been read.
    """

    def __init__(self, changes: Changes, low: bytes, high: bytes | None, *, reverse: bool) -> None:
        self._changes = changes
        self._reverse = reverse
        self._keys = changes.sorted_keys(low, high, reverse=reverse)

    def next_page(self) -> Op[Page | None]:
        """As in `merge.Source`."""
        yield from ()
        keys = list(islice(self._keys, PAGE_RECORDS))
        if not keys:
            return None
        if self._reverse:
            keys.reverse()
        found = map(self._changes.__getitem__, keys)
        entries: list[Entry] = [(entry[0], entry[1], 0, None) for entry in found]
        return keys, entries
