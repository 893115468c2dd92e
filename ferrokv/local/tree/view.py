"""A view: everything that a read needs, in one immutable object.

A change of the tables, of the set of memtables or of the catalogue makes a new view, which is
published by one assignment. A commit that changes none of these goes into the active memtable, and
the view stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from ..format.commits import Entry
from ..format.keys import (
    CATALOGUE_NAMES,
    CATALOGUE_NEXT_ID,
    CATALOGUE_QUOTAS,
    decode_catalogue_id,
    decode_keyspace_id,
    decode_name,
    decode_quota,
    encode_prefix,
)
from .cache import GenerationalCache
from .memtable import Memtable
from .merge import MemtableSource, RunSource, Source
from .version import Version

HotCache = GenerationalCache[bytes, Entry]


def entry_bytes(entry: Entry) -> int:
    """Return roughly the memory of a hot record: its value, and 200 bytes for the rest."""
    return len(entry[0] or b"") + 200


class Catalogue(NamedTuple):
    """The keyspaces: name -> prefix of its user keys, the next free id, and name -> quota in bytes."""

    prefixes: Mapping[str, bytes]
    next_id: int
    quotas: Mapping[str, int]

    def changed(self, names: Mapping[str, int], quotas: Mapping[str, int], next_id: int) -> Catalogue:
        """Return the catalogue with new ids and quotas. A quota of 0 removes the quota.

        O(keyspaces), however many of them change.
        """
        prefixes, kept = self.prefixes, self.quotas
        if names:
            prefixes = {**prefixes, **{name: encode_prefix(keyspace_id) for name, keyspace_id in names.items()}}
        if quotas:
            kept = {name: quota for name, quota in {**kept, **quotas}.items() if quota}
        return Catalogue(prefixes, max(next_id, *(keyspace_id + 1 for keyspace_id in names.values()), 1), kept)

    def with_keyspace(self, name: str, keyspace_id: int) -> Catalogue:
        """Return the catalogue with an id for `name`, which may have had another one."""
        return self.changed({name: keyspace_id}, {}, self.next_id)

    def with_quota(self, name: str, max_bytes: int) -> Catalogue:
        """Return the catalogue with a quota for `name`; 0 removes the quota."""
        return self.changed({}, {name: max_bytes}, self.next_id)

    def live_ids(self) -> frozenset[int]:
        """Return the ids that belong to a name, and the catalogue's own."""
        return frozenset({0, *map(decode_keyspace_id, self.prefixes.values())})


class View:
    """The active memtable, the sealed ones (new to old), tables, catalogue and hot records.

    Invariant: an entry of `hot` is right for keys that no memtable of this view has. So a view that
    drops a memtable starts with a copy of the hot records without the memtable's keys.

    `as_of` is set in a pinned view: the seqno after which commits in the active memtable are
    ignored.
    """

    __slots__ = ("_give_back", "active", "as_of", "catalogue", "getters", "hot", "prefixes", "sealed", "version")

    def __init__(
        self,
        active: Memtable,
        sealed: tuple[Memtable, ...],
        version: Version,
        catalogue: Catalogue,
        hot: HotCache,
        as_of: int | None = None,
        give_back: Callable[[], None] | None = None,
    ) -> None:
        self.active = active
        self.sealed = sealed
        self.version = version
        self.catalogue = catalogue
        self.prefixes = catalogue.prefixes  # saves an attribute lookup at each read
        self.hot = hot
        self.as_of = as_of
        self._give_back = give_back
        newest: Callable[[bytes], Entry | None] = active.entries.get
        if as_of is not None:
            newest = partial(active.get_at, seqno=as_of)
        self.getters: tuple[Callable[[bytes], Entry | None], ...] = (
            newest,
            *(memtable.entries.get for memtable in sealed),
        )

    @property
    def memtables(self) -> tuple[Memtable, ...]:
        """All memtables, from new to old."""
        return self.active, *self.sealed

    def sources(
        self,
        low: bytes,
        high: bytes | None,
        *,
        reverse: bool = False,
        wanted: int | None = None,
        use_cache: bool = True,
    ) -> list[Source]:
        """Return the sources of the records in [low, high), from old to new, as a merge needs them."""
        runs = self.version.runs(low, high)
        return [
            *(RunSource(run, low, high, reverse=reverse, wanted=wanted, use_cache=use_cache) for run in runs),
            *(MemtableSource(memtable, low, high, reverse=reverse) for memtable in reversed(self.sealed)),
            MemtableSource(self.active, low, high, reverse=reverse, as_of=self.as_of),
        ]

    def pinned(self, version: Version | None = None, give_back: Callable[[], None] | None = None) -> View:
        """Return this view frozen at the newest commit, until `unpin`. O(sealed memtables).

        This does not keep any table; `pins.pin_view` does, and passes the function that undoes that
        as `give_back`.
        """
        tables = version or self.version
        return View(self.active, self.sealed, tables, self.catalogue, self.hot, self.active.pin(), give_back)

    def unpin(self) -> None:
        """Release what `pinned` holds on to. Must be called exactly once."""
        assert self.as_of is not None
        self.active.unpin(self.as_of)
        if self._give_back is not None:
            self._give_back()

    def prefix(self, keyspace: str) -> bytes | None:
        """Return the prefix of the keyspace's user keys; None if nothing was ever written to it."""
        return self.catalogue.prefixes.get(keyspace)


def catalogue_after(catalogue: Catalogue, entries: Mapping[bytes, Entry]) -> Catalogue:
    """Return the catalogue after the records of a commit; the same object if it is unchanged.

    It is copied at most once.
    """
    names: dict[str, int] = {}
    quotas: dict[str, int] = {}
    next_id = catalogue.next_id
    for key, entry in entries.items():
        value = entry[0]
        if key[:4] != b"\0\0\0\0" or value is None:
            continue
        if key == CATALOGUE_NEXT_ID:
            next_id = max(next_id, decode_catalogue_id(value))
        elif key.startswith(CATALOGUE_NAMES):
            names[decode_name(key, CATALOGUE_NAMES)] = decode_catalogue_id(value)
        elif key.startswith(CATALOGUE_QUOTAS):
            quotas[decode_name(key, CATALOGUE_QUOTAS)] = decode_quota(value)
    if not names and not quotas and next_id == catalogue.next_id:
        return catalogue
    return catalogue.changed(names, quotas, next_id)
