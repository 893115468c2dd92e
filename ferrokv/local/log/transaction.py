"""Write transactions: the newest state, read and changed by commands on the writer's thread.

A group is what becomes one frame: the transactions of all requests that were waiting. Each sees those before it; one
that raises leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from ...errors import DataError, StorePathError
from ..engine.engine import Engine, named
from ..format.commits import Entry
from ..format.keys import (
    CATALOGUE_NAMES,
    CATALOGUE_NEXT_ID,
    CATALOGUE_QUOTAS,
    encode_keyspace_id,
    encode_prefix,
    encode_quota,
    successor_of_prefix,
)
from ..format.limits import EXPIRY_MS_MAX, KEYSPACE_ID_MAX, TURN_RECORDS_MAX
from ..storage.drivers import complete
from ..storage.requests import Op, T
from ..tree.files import TableGoneError
from ..tree.overlay import Changes
from ..tree.read import Resume, has_expired, probe_entry, read_entry, search
from ..tree.records import Found, read_scan
from ..tree.scan import Pairs, Scan
from ..tree.view import Catalogue, View
from .pins import pin_tables

Command = Callable[..., Any]
"""A function of a transaction and its arguments, run on the writer's thread."""
GENERATIONS_MAX: Final = 1 << 20  # of one frame (docs/format.md section 4)


class Group:
    """The writes of one frame to be, and the state that they begin from. Owner: the writer."""

    __slots__ = (
        "_generations",
        "_now_ms",
        "_pinned",
        "_ranges_read",
        "base",
        "changes",
        "engine",
        "frees_lock",
        "view",
    )

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with engine.lock:
            self.view = engine.view
            pending = engine.pending.copy()
        catalogue = pending[-1].catalogue if pending else self.view.catalogue
        # What others have appended and nobody has synced yet counts here, and nowhere else: see `log/commit.py`.
        self.base = Changes(catalogue)
        for commit in pending:
            self.base.update(commit.entries)
        self.changes = Changes(catalogue)
        self.frees_lock = False
        self._now_ms = 0
        self._generations = 0
        self._ranges_read = 0  # records that the command at hand has read in ranges
        self._pinned = 0  # the version whose tables are kept until the command is done, once it has scanned

    @property
    def now_ms(self) -> int:
        """One moment for the whole group, taken when it is first asked for."""
        if not self._now_ms:
            self._now_ms = self.engine.clock()
        return self._now_ms

    def run(self, command: Command, keyspace: str, args: tuple[Any, ...]) -> Any:
        """The command's answer; its writes are part of the group unless it raises."""
        changes = Changes(self.changes.catalogue)
        self._ranges_read = 0
        try:
            answer = command(Transaction(self, keyspace, changes, (self.changes, self.base)), *args)
        finally:
            if self._pinned:
                self._unpin_tables()
        if not self.changes:
            self.changes = changes
        elif changes:
            self.changes.absorb(changes)
        return answer

    def count_read(self, records: int) -> None:
        """The command reads so many records of a range. `DataError` as soon as it is more than others may have to wait for."""
        self._ranges_read += records
        if self._ranges_read > TURN_RECORDS_MAX:
            raise DataError(
                f"a command that writes, or a transaction, reads at most {TURN_RECORDS_MAX} records in ranges, since others "
                f"wait for it: records={self._ranges_read}"
            )

    def read(self, full: bytes) -> Entry | None:
        """The newest version of an internal key that the view has. Reads a block from disk when it has to."""
        found = probe_entry(self.view, full)
        if not isinstance(found, Resume):
            return found
        try:
            return self.complete(search(found))
        except TableGoneError:
            self.pin_tables()
        return self.complete(read_entry(self.view, full))

    def complete(self, op: Op[T]) -> T:
        """The result of an operation that only reads."""
        try:
            return complete(op, self.engine.storage)
        except (StorePathError, TableGoneError):
            raise
        except OSError as error:
            raise named(error, "reading") from error

    def pin_tables(self) -> None:
        """Keep the tables of the view until the command is done; for that it may have to take those that replaced them.

        The state stays the same: nobody commits behind the back of the holder of the write lock, so whatever a newer view shows of
        commits is in `base`, too.
        """
        if not self._pinned and self.view.version.numbers:
            self._pinned = complete(pin_tables(self.engine), self.engine.storage)
            newest = self.engine.view
            self.view = View(newest.active, newest.sealed, newest.version, self.view.catalogue, newest.hot)

    def _unpin_tables(self) -> None:
        pinned, self._pinned = self._pinned, 0
        self.engine.pins.give_back(pinned)
        self.engine.pins.settle()

    def new_generation(self) -> int:
        """A number that no other collection of the store has or had (docs/format.md section 4)."""
        generation = (self.engine.appended.seqno + 1) * GENERATIONS_MAX + self._generations
        self._generations += 1
        if self._generations >= GENERATIONS_MAX:
            raise DataError(f"a transaction makes fewer than {GENERATIONS_MAX} collections")
        return generation


class Transaction:
    """Reads and writes in one keyspace. Keys are user keys unless called internal; `now_ms` is one moment for all of it."""

    __slots__ = ("_below", "_group", "_keyspace", "changes")

    def __init__(self, group: Group, keyspace: str, changes: Changes, below: tuple[Changes, ...]) -> None:
        self._group = group
        self._keyspace = keyspace
        self.changes = changes
        self._below = below

    @property
    def now_ms(self) -> int:
        """The group's moment, in ms since 1970."""
        return self._group.now_ms

    @property
    def prefix(self) -> bytes | None:
        """Prefix of the keyspace's keys, None while nothing was ever written to it."""
        return self.changes.catalogue.prefixes.get(self._keyspace)

    @property
    def catalogue(self) -> Catalogue:
        """The keyspaces, as this transaction leaves them."""
        return self.changes.catalogue

    @property
    def is_catalogue_unsynced(self) -> bool:
        """True if keyspaces were made or cleared, by whomever, and that is not durable yet."""
        return self.changes.catalogue is not self._group.view.catalogue

    def unsynced_keys(self) -> set[bytes]:
        """Internal keys of what this transaction sees and that is not durable yet: appended, or written earlier in its group."""
        return {key for changes in self._below for key in changes}

    @property
    def quota(self) -> int | None:
        """The bytes that the keyspace may hold, or None."""
        return self.changes.catalogue.quotas.get(self._keyspace)

    def inside(self, keyspace: str) -> Transaction:
        """The same transaction in another keyspace."""
        return Transaction(self._group, keyspace, self.changes, self._below)

    def nested(self) -> Transaction:
        """A transaction within this one, whose writes count once they are given to `absorb`."""
        changes = Changes(self.changes.catalogue)
        return Transaction(self._group, self._keyspace, changes, (self.changes, *self._below))

    def absorb(self, nested: Transaction) -> None:
        """Take over what a nested transaction wrote."""
        self.changes.absorb_within(nested.changes)

    def get(self, key: bytes) -> Found | None:
        """(value, expires_ms or 0) of a live record, else None. Reads a block from disk when it has to."""
        prefix = self.changes.catalogue.prefixes.get(self._keyspace)
        return None if prefix is None else self._newest(prefix + key)

    def put(self, key: bytes, value: bytes, expires_ms: int = 0) -> None:
        """Write a record; it expires at `expires_ms`, or never."""
        if not 0 <= expires_ms <= EXPIRY_MS_MAX:
            raise DataError(f"expiry out of range: expires_ms={expires_ms}")
        if self.changes.catalogue.quotas:
            self._check_quota(value)
        self.changes.write(self.make_prefix() + key, value, expires_ms)

    def delete(self, key: bytes) -> None:
        """Write a tombstone. The caller has seen that there is something to delete, or does not care."""
        prefix = self.changes.catalogue.prefixes.get(self._keyspace)
        if prefix is not None:
            self.changes.write(prefix + key, None, 0)

    def element(self, internal_key: bytes) -> bytes | None:
        """The value of a part of a collection."""
        found = self._newest(internal_key)
        return None if found is None else found[0]

    def put_element(self, internal_key: bytes, value: bytes | None) -> None:
        """Write a part of a collection, or its tombstone. The keyspace must be there: write the root first, or have read it."""
        if value is not None and self.changes.catalogue.quotas:
            self._check_quota(value)
        self.changes.write(internal_key, value, 0)

    def new_generation(self) -> int:
        """For a new collection."""
        return self._group.new_generation()

    def make_prefix(self) -> bytes:
        """`prefix`, of a keyspace that is made if nothing was ever written to it."""
        return self.changes.catalogue.prefixes.get(self._keyspace) or self._new_keyspace()

    def _check_quota(self, value: bytes) -> None:
        quota = self.quota
        if quota is not None and len(value) > quota:
            raise DataError(
                f"a value is larger than the quota of its keyspace: bytes={len(value)} quota={quota} keyspace={self._keyspace!r}"
            )

    def clear_keyspace(self) -> None:
        """Give the keyspace's name a new id: everything under the old one is gone. O(1)."""
        if self.prefix is not None:
            self._new_keyspace()

    def set_quota(self, max_bytes: int) -> None:
        """Give the keyspace a quota, or none with 0."""
        self.make_prefix()
        changes = self.changes
        changes.catalogue = changes.catalogue.with_quota(self._keyspace, max_bytes)
        changes.write(CATALOGUE_QUOTAS + self._keyspace.encode(), encode_quota(max_bytes), 0)

    def free_lock(self, key: bytes) -> None:
        """`delete` of a lock. If somebody may be waiting for one, the group is synced soon: waiters hear of what is durable."""
        self._group.frees_lock = True
        self.delete(key)

    def find(self, key: bytes) -> Op[Found | None]:
        """`get`, as commands that only read ask for it."""
        yield from ()
        return self.get(key)

    def find_all(self, keys: Sequence[bytes]) -> Op[list[Found | None]]:
        """`get` of each key."""
        yield from ()
        return [self.get(key) for key in keys]

    def read(self, internal_key: bytes) -> Op[bytes | None]:
        """`element`, as commands that only read ask for it."""
        yield from ()
        return self.element(internal_key)

    def scan(self, low: bytes, high: bytes | None, *, reverse: bool = False) -> Scan:
        """Live records of internal keys [low, high), this transaction's own writes included. Write nothing while it is read."""
        group = self._group
        group.pin_tables()
        overlays = (*reversed(self._below), self.changes)
        return Scan(
            group.view, low, high, lambda: self.now_ms, reverse=reverse, overlays=overlays, count=group.count_read
        )

    def read_parts(self, prefix: bytes, count: int) -> Op[Pairs]:
        """All live records whose internal keys begin with `prefix`, without it, in order. They should be `count`."""
        # Before anything is read; then they are counted as they are read, so not twice.
        self._group.count_read(count)
        self._group.count_read(-count)
        return read_scan(self.scan(prefix, successor_of_prefix(prefix)), len(prefix))

    def complete(self, op: Op[Any]) -> Any:
        """The answer of a command that only reads, asked of this transaction."""
        return self._group.complete(op)

    def _newest(self, full: bytes) -> Found | None:
        found: tuple[Any, ...] | None = self.changes.get(full)
        if found is None:
            for layer in self._below:
                found = layer.get(full)
                if found is not None:
                    break
            else:
                found = self._group.read(full)
                if found is None:
                    return None
        value, expires_ms = found[0], found[1]
        if value is None or has_expired(expires_ms, self.now_ms):
            return None
        return value, expires_ms

    def _new_keyspace(self) -> bytes:
        changes = self.changes
        keyspace_id = changes.catalogue.next_id
        if keyspace_id > KEYSPACE_ID_MAX:
            raise DataError("a store makes or clears fewer than 2³² keyspaces")
        changes.catalogue = changes.catalogue.with_keyspace(self._keyspace, keyspace_id)
        changes.write(CATALOGUE_NAMES + self._keyspace.encode(), encode_keyspace_id(keyspace_id), 0)
        changes.write(CATALOGUE_NEXT_ID, encode_keyspace_id(keyspace_id + 1), 0)
        return encode_prefix(keyspace_id)
