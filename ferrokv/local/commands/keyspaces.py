"""Keyspaces: their contents and their quotas."""

from __future__ import annotations

from ...stats import KeyspaceStats
from ..log.transaction import Transaction
from ..storage.requests import Op
from ..tree.records import Records
from ..tree.usage import Usage, measure
from .keys import all_keys


def list_all(records: Records) -> Op[dict[str, KeyspaceStats]]:
    """Every keyspace that was ever written to, by name. O(records in the store)."""
    catalogue = records.catalogue
    found = {}
    for name in sorted(catalogue.prefixes):
        other = records.inside(name)
        usage = Usage(0, 0) if other.prefix is None else (yield from measure(other.scan, other.prefix))
        found[name] = KeyspaceStats(usage.keys, usage.bytes, catalogue.quotas.get(name))
    return found


def set_quota(tx: Transaction, max_bytes: int | None) -> bool:
    """Set or remove (None) the keyspace's quota. Returns True."""
    tx.set_quota(max_bytes or 0)
    return True


def delete_range(tx: Transaction, low: bytes, high: bytes | None) -> int:
    """Delete the keys of [low, high), of any type, and return how many there were. O(range)."""
    names: list[bytes] = tx.complete(all_keys(tx, low, high))
    for name in names:
        tx.delete(name)
    return len(names)
