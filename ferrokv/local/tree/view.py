"""A view: everything that a read needs, in one immutable object that is published by one assignment."""

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
    """Rough memory of a record in the hot cache: its value, and about 200 bytes of key, tuple and dict."""
    return len(entry[0] or b"") + 200


class Catalogue(NamedTuple):
    """Names of keyspaces to the prefixes of their keys, the next free id, and quotas: name -> bytes."""

    prefixes: Mapping[str, bytes]
    next_id: int
    quotas: Mapping[str, int]

    def changed(self, names: Mapping[str, int], quotas: Mapping[str, int], next_id: int) -> Catalogue:
        """The catalogue after `names` were given ids and quotas, of which 0 is none. O(keyspaces), however many change."""
        prefixes, kept = self.prefixes, self.quotas
        if names:
            prefixes = {**prefixes, **{name: encode_prefix(keyspace_id) for name, keyspace_id in names.items()}}
        if quotas:
            kept = {name: quota for name, quota in {**kept, **quotas}.items() if quota}
        return Catalogue(prefixes, max(next_id, *(keyspace_id + 1 for keyspace_id in names.values()), 1), kept)

    def with_keyspace(self, name: str, keyspace_id: int) -> Catalogue:
        """The catalogue after `name` was given a (new) id."""
        return self.changed({name: keyspace_id}, {}, self.next_id)

    def with_quota(self, name: str, max_bytes: int) -> Catalogue:
        """The catalogue after `name` was given a quota; 0 takes it away."""
        return self.changed({}, {name: max_bytes}, self.next_id)

    def live_ids(self) -> frozenset[int]:
        """Ids that a name points to, and the catalogue's own."""
        return frozenset({0, *map(decode_keyspace_id, self.prefixes.values())})


class View:
    """The memtables from new to old, the tables, the catalogue and the hot records that belong to them.

    Invariant: an entry of `hot` is true as long as the memtables of this view do not have the key; so a view that drops
    a memtable starts from a copy of the hot cache without the memtable's keys.

    `as_of` is set in a pinned view: newer versions in the active memtable are passed over.
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
        self.prefixes = catalogue.prefixes  # one look-up less for each read
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
        """All that holds keys of [low, high), from old to new, as a merge takes it."""
        runs = self.version.runs(low, high)
        return [
            *(RunSource(run, low, high, reverse=reverse, wanted=wanted, use_cache=use_cache) for run in runs),
            *(MemtableSource(memtable, low, high, reverse=reverse) for memtable in reversed(self.sealed)),
            MemtableSource(self.active, low, high, reverse=reverse, as_of=self.as_of),
        ]

    def pinned(self, version: Version | None = None, give_back: Callable[[], None] | None = None) -> View:
        """This view frozen at the newest commit; give it back with `unpin`. O(sealed memtables).

        That alone keeps no table: `pins.pin_view` does, and says what gives the tables back.
        """
        tables = version or self.version
        return View(self.active, self.sealed, tables, self.catalogue, self.hot, self.active.pin(), give_back)

    def unpin(self) -> None:
        """Let go what `pinned` keeps. Once."""
        assert self.as_of is not None
        self.active.unpin(self.as_of)
        if self._give_back is not None:
            self._give_back()

    def prefix(self, keyspace: str) -> bytes | None:
        """Prefix of the keyspace's keys, None while nothing was ever written to it."""
        return self.catalogue.prefixes.get(keyspace)


def catalogue_after(catalogue: Catalogue, entries: Mapping[bytes, Entry]) -> Catalogue:
    """The catalogue with what a commit's records say of it; the same object if they say nothing. Copied once at most."""
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
