"""Write transactions: the newest state, read and changed by commands on the writer's thread.

A group is what becomes one frame: the transactions of all requests that were waiting. Each sees those before it; one
that raises leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import DataError
from ..format.commits import Entry
from ..format.keys import CATALOGUE_NAMES, CATALOGUE_NEXT_ID, encode_keyspace_id, encode_prefix
from ..format.limits import EXPIRY_MS_MAX
from ..storage.drivers import complete
from .engine import Engine
from .read import Resume, live, probe_entry, search

Command = Callable[..., Any]
"""A function of a transaction and its arguments, run on the writer's thread."""


class Group:
    """The writes of one frame to be. Owner: the writer."""

    __slots__ = ("_now_ms", "base", "catalogue", "engine", "payload_bytes", "view", "writes")

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # What others have appended and nobody has synced yet counts here, and nowhere else: see `engine/commit.py`.
        self.base: dict[bytes, Entry] = {}
        with engine.lock:
            self.view = engine.view
            pending = engine.pending.copy()
        self.catalogue = pending[-1].catalogue if pending else self.view.catalogue
        for commit in pending:
            self.base.update(commit.entries)
        self._now_ms = 0
        self.writes: dict[bytes, tuple[bytes | None, int]] = {}
        self.payload_bytes = 0

    @property
    def now_ms(self) -> int:
        """One moment for the whole group, taken when it is first asked for."""
        if not self._now_ms:
            self._now_ms = self.engine.clock()
        return self._now_ms

    def run(self, command: Command, keyspace: str, args: tuple[Any, ...]) -> Any:
        """The command's answer; its writes are part of the group unless it raises."""
        transaction = Transaction(self, keyspace)
        answer = command(transaction, *args)
        if transaction.writes:
            if self.writes:
                self.writes.update(transaction.writes)
            else:
                self.writes = transaction.writes
            self.payload_bytes += transaction.payload_bytes
            self.catalogue = transaction.catalogue
        return answer


class Transaction:
    """One command's reads and writes in one keyspace. Keys are user keys; `now_ms` is one moment for all of it."""

    __slots__ = ("_group", "_keyspace", "_prefix", "catalogue", "payload_bytes", "writes")

    def __init__(self, group: Group, keyspace: str) -> None:
        self._group = group
        self._keyspace = keyspace
        self.catalogue = group.catalogue
        self._prefix = group.catalogue.prefixes.get(keyspace)
        self.writes: dict[bytes, tuple[bytes | None, int]] = {}
        self.payload_bytes = 0

    @property
    def now_ms(self) -> int:
        """The group's moment, in ms since 1970."""
        return self._group.now_ms

    def get(self, key: bytes) -> tuple[bytes, int] | None:
        """(value, expires_ms or 0) of a live record, else None. Reads a block from disk when it has to."""
        prefix = self._prefix
        if prefix is None:
            return None
        full = prefix + key
        found = self.writes.get(full)
        if found is None:
            found = self._group.writes.get(full)
        if found is None:
            entry = self._group.base.get(full) or probe_entry(self._group.view, full)
            if isinstance(entry, Resume):
                entry = complete(search(entry), self._group.engine.storage)
            if entry is None or not live(entry, self.now_ms):
                return None
            found = (entry[0], entry[1])
        value, expires_ms = found
        if value is None or (expires_ms and expires_ms <= self.now_ms):
            return None
        return value, expires_ms

    def put(self, key: bytes, value: bytes, expires_ms: int = 0) -> None:
        """Write a record; it expires at `expires_ms`, or never."""
        if not 0 <= expires_ms <= EXPIRY_MS_MAX:
            raise DataError(f"expiry out of range: expires_ms={expires_ms}")
        if self._prefix is None:
            self._prefix = self._new_keyspace()
        self.writes[self._prefix + key] = (value, expires_ms)
        self.payload_bytes += len(key) + len(value)

    def delete(self, key: bytes) -> None:
        """Write a tombstone. The caller has seen that there is something to delete, or does not care."""
        if self._prefix is not None:
            self.writes[self._prefix + key] = (None, 0)
            self.payload_bytes += len(key)

    def clear_keyspace(self) -> None:
        """Give the keyspace's name a new id: everything under the old one is gone. O(1)."""
        if self._prefix is not None:
            for full in [full for full in self.writes if full.startswith(self._prefix)]:
                del self.writes[full]
            self._prefix = self._new_keyspace()

    def _new_keyspace(self) -> bytes:
        keyspace_id = self.catalogue.next_id
        self.catalogue = self.catalogue.with_keyspace(self._keyspace, keyspace_id)
        self.writes[CATALOGUE_NAMES + self._keyspace.encode()] = (encode_keyspace_id(keyspace_id), 0)
        self.writes[CATALOGUE_NEXT_ID] = (encode_keyspace_id(keyspace_id + 1), 0)
        self.payload_bytes += 64
        return encode_prefix(keyspace_id)
