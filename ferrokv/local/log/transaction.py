"""Write transactions: commands that read and change the newest state in the writer's turn.

Whoever has the turn takes all requests that are waiting and runs their commands as one `Group`, one
after the other, under the write lock. The group becomes one frame of the WAL. Each command runs in
a `Transaction`. It sees, from new to old: its own writes; those of the commands before it in the
group; the commits that are appended but not synced yet (`Group.base`); and the view. When the
command returns, the group absorbs its writes. If it raises, they are dropped.

All other writers wait meanwhile. So there are limits to what a command may write (tree/overlay.py)
and to what it may read in ranges (`Group.count_read`).

Point reads need no pin: if a table is gone, they are repeated with the newest view. It shows the
same state, since nobody else can commit while the write lock is held. A scan pins the tables until
its command ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from ...contract.limits import EXPIRY_MS_MAX
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
from ..format.limits import KEYSPACE_ID_MAX, TURN_RECORDS_MAX
from ..storage.drivers import complete
from ..storage.requests import Op, T
from ..tree.files import TableGoneError
from ..tree.overlay import Changes
from ..tree.read import PendingRead, has_expired, probe_entry, read_entry, search
from ..tree.records import Found, read_scan
from ..tree.scan import Pairs, Scan
from ..tree.view import Catalogue, View
from .pins import pin_tables

R = TypeVar("R")
Command = Callable[..., Any]
"""A function that gets a transaction and its arguments.

It runs on the thread that has the writer's turn.
"""
GENERATIONS_MAX: Final = 1 << 20  # collections that one frame may create (docs/format.md section 4)


class Group:
    """The writes that will become one frame, and the state that they start from.

    Owner: the writer.
    """

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
        # Commits that are appended but not synced yet count here, and nowhere else (see commit.py).
        self.base = Changes(catalogue)
        for commit in pending:
            self.base.update(commit.entries)
        self.changes = Changes(catalogue)
        self.frees_lock = False
        self._now_ms = 0
        self._generations = 0
        self._ranges_read = 0  # records that the current command has read in ranges
        self._pinned = 0  # the version that is pinned until the command ends; 0 before its first scan

    @property
    def now_ms(self) -> int:
        """The moment at which all of the group happens, taken when it is first needed."""
        if not self._now_ms:
            self._now_ms = self.engine.clock()
        return self._now_ms

    def run(self, command: Command, keyspace: str, args: tuple[Any, ...]) -> Any:
        """Run a command and return its answer.

        Its writes become part of the group, unless it raises.
        """
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
        """Count records that the command reads in a range.

        Raises `DataError` if they exceed the limit.
        """
        self._ranges_read += records
        if self._ranges_read > TURN_RECORDS_MAX:
            raise DataError(
                f"a command that writes, or a transaction, reads at most {TURN_RECORDS_MAX} records in ranges, since other "
                f"writers wait for it: records={self._ranges_read}"
            )

    def read(self, full: bytes) -> Entry | None:
        """Return the newest version of an internal key in the view. May read a block from disk."""
        found = probe_entry(self.view, full)
        if not isinstance(found, PendingRead):
            return found
        try:
            return self.complete(search(found))
        except TableGoneError:
            self.pin_tables()
        return self.complete(read_entry(self.view, full))

    def complete(self, op: Op[T]) -> T:
        """Run an operation that only reads, and return its result."""
        try:
            return complete(op, self.engine.storage)
        except (StorePathError, TableGoneError):
            raise
        except OSError as error:
            raise named(error, "reading") from error

    def pin_tables(self) -> None:
        """Pin the tables of the view until the command ends.

        If they were replaced, take the newest ones. The state stays the same. Nobody can commit
        while this process holds the write lock, so commits that a newer view shows in addition are
        in `base`, too.
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
        """Return a number that no other collection of the store ever has (docs/format.md section 4)."""
        generation = (self.engine.appended.seqno + 1) * GENERATIONS_MAX + self._generations
        self._generations += 1
        if self._generations >= GENERATIONS_MAX:
            raise DataError(f"a transaction creates fewer than {GENERATIONS_MAX} collections")
        return generation


class Transaction:
    """Reads and writes in one keyspace. Keys are user keys, except those called internal."""

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
        """The prefix of the keyspace's user keys; None if nothing was ever written to it."""
        return self.changes.catalogue.prefixes.get(self._keyspace)

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue with the changes of this transaction."""
        return self.changes.catalogue

    @property
    def is_catalogue_unsynced(self) -> bool:
        """True if keyspaces were created or cleared, by any process, and that is not durable yet."""
        return self.changes.catalogue is not self._group.view.catalogue

    def unsynced_records(self) -> dict[bytes, tuple[Any, ...]]:
        """Return the records that this transaction sees and that are not durable, by internal key.

        They are in appended commits, or were written earlier in the group.
        """
        newest: dict[bytes, tuple[Any, ...]] = {}
        for changes in reversed(self._below):
            newest.update(changes)
        return newest

    @property
    def quota(self) -> int | None:
        """The quota of the keyspace in bytes, or None."""
        return self.changes.catalogue.quotas.get(self._keyspace)

    def inside(self, keyspace: str) -> Transaction:
        """Return the same transaction in another keyspace."""
        return Transaction(self._group, keyspace, self.changes, self._below)

    def nested(self) -> Transaction:
        """Return a transaction within this one.

        Its writes count when `absorb` has taken them over.
        """
        changes = Changes(self.changes.catalogue)
        return Transaction(self._group, self._keyspace, changes, (self.changes, *self._below))

    def absorb(self, nested: Transaction) -> None:
        """Take over the writes of a nested transaction."""
        self.changes.absorb_within(nested.changes)

    def run_nested(self, command: Callable[..., R], args: tuple[Any, ...]) -> R:
        """Run a command and return its answer. If it raises, its writes are discarded."""
        nested = self.nested()
        answer = command(nested, *args)
        self.absorb(nested)
        return answer

    def get(self, key: bytes) -> Found | None:
        """Return (value, expires_ms or 0) of a live record, or None. May read a block from disk."""
        prefix = self.changes.catalogue.prefixes.get(self._keyspace)
        return None if prefix is None else self._newest(prefix + key)

    def put(self, key: bytes, value: bytes, expires_ms: int = 0) -> None:
        """Write a record that expires at `expires_ms`; 0 means never."""
        if not 0 <= expires_ms <= EXPIRY_MS_MAX:
            raise DataError(f"expiry out of range: expires_ms={expires_ms}")
        if self.changes.catalogue.quotas:
            self._check_quota(value)
        self.changes.write(self.make_prefix() + key, value, expires_ms)

    def delete(self, key: bytes) -> None:
        """Write a tombstone, whether or not there is something to delete."""
        prefix = self.changes.catalogue.prefixes.get(self._keyspace)
        if prefix is not None:
            self.changes.write(prefix + key, None, 0)

    def element(self, internal_key: bytes) -> bytes | None:
        """Return the value of a part of a collection, or None."""
        found = self._newest(internal_key)
        return None if found is None else found[0]

    def put_element(self, internal_key: bytes, value: bytes | None) -> None:
        """Write a part of a collection, or a tombstone for it.

        The keyspace must exist: the caller has read the root, or has written it before.
        """
        if value is not None and self.changes.catalogue.quotas:
            self._check_quota(value)
        self.changes.write(internal_key, value, 0)

    def new_generation(self) -> int:
        """Return a generation for a new collection."""
        return self._group.new_generation()

    def make_prefix(self) -> bytes:
        """Return `prefix`. Create the keyspace if nothing was ever written to it."""
        return self.changes.catalogue.prefixes.get(self._keyspace) or self._new_keyspace()

    def _check_quota(self, value: bytes) -> None:
        quota = self.quota
        if quota is not None and len(value) > quota:
            raise DataError(
                f"the value is larger than the quota of its keyspace: bytes={len(value)} quota={quota} keyspace={self._keyspace!r}"
            )

    def clear_keyspace(self) -> None:
        """Delete everything in the keyspace, by giving its name a new id. O(1)."""
        if self.prefix is not None:
            self._new_keyspace()

    def set_quota(self, max_bytes: int) -> None:
        """Set the keyspace's quota; 0 removes it."""
        self.make_prefix()
        changes = self.changes
        changes.catalogue = changes.catalogue.with_quota(self._keyspace, max_bytes)
        changes.write(CATALOGUE_QUOTAS + self._keyspace.encode(), encode_quota(max_bytes), 0)

    def free_lock(self, key: bytes) -> None:
        """Delete a lock's key.

        If somebody may be waiting for a lock, the group is synced soon, because only durable
        commits wake waiters.
        """
        self._group.frees_lock = True
        self.delete(key)

    def find(self, key: bytes) -> Op[Found | None]:
        """Do `get`, in the form that read-only commands use (`tree.records.Records`)."""
        yield from ()
        return self.get(key)

    def find_all(self, keys: Sequence[bytes]) -> Op[list[Found | None]]:
        """Do `get` for each key."""
        yield from ()
        return [self.get(key) for key in keys]

    def read(self, internal_key: bytes) -> Op[bytes | None]:
        """Do `element`, in the form that read-only commands use."""
        yield from ()
        return self.element(internal_key)

    def scan(self, low: bytes, high: bytes | None, *, reverse: bool = False) -> Scan:
        """Return a scan of the live records in [low, high), including uncommitted writes.

        Nothing may be written until the scan has been read.
        """
        group = self._group
        group.pin_tables()
        overlays = (*reversed(self._below), self.changes)
        return Scan(
            group.view, low, high, lambda: self.now_ms, reverse=reverse, overlays=overlays, count=group.count_read
        )

    def read_parts(self, prefix: bytes, count: int) -> Op[Pairs]:
        """Return all live records whose internal keys begin with `prefix`, in order, without it.

        There should be `count` such records.
        """
        # Check the limit before reading anything. The scan counts the records again, so take the
        # count back.
        self._group.count_read(count)
        self._group.count_read(-count)
        return read_scan(self.scan(prefix, successor_of_prefix(prefix)), len(prefix))

    def complete(self, op: Op[Any]) -> Any:
        """Run a read-only command in this transaction, and return its answer."""
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
            raise DataError("a store may create and clear fewer than 2³² keyspaces")
        changes.catalogue = changes.catalogue.with_keyspace(self._keyspace, keyspace_id)
        changes.write(CATALOGUE_NAMES + self._keyspace.encode(), encode_keyspace_id(keyspace_id), 0)
        changes.write(CATALOGUE_NEXT_ID, encode_keyspace_id(keyspace_id + 1), 0)
        return encode_prefix(keyspace_id)
