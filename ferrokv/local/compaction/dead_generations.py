"""Finding dead generations of collections, so that compaction drops their records.

See docs/format.md section 4. Deleting a collection writes only a tombstone for its root. Its
elements stay in the tables until a compaction comes across them. It looks up the owner record of
their generation, and the root under the user key that the owner names. If that root is gone or has
another generation, the generation is dead.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ...errors import CorruptionError
from ..engine.engine import EXPIRY_GRACE_MS, Engine, logger
from ..format.keys import KIND_KEY, KIND_OWNER, PREFIX_BYTES, are_user_keys, generation_of
from ..format.roots import Root, decode_root
from ..log.transaction import Transaction
from ..storage.requests import Op
from ..tree.merge import Page
from ..tree.read import read_entry
from ..tree.view import View

EXPIRED_ROOTS_MAX: Final = 4096


class Generations:
    """Decides for one compaction which generations are dead.

    A generation that is dead in one view is dead in all later ones, so any view may be used.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._limit_ms = engine.certain_ms() - EXPIRY_GRACE_MS
        self._dead: dict[bytes, bool] = {}  # the generations of the last page

    def without_dead(self, page: Page) -> Op[Page]:
        """Return the page without elements and owners of dead generations.

        Costs two point reads for each generation in the page that was not in the page before.
        """
        keys, entries = page
        if are_user_keys(keys[0], keys[-1]):
            return page
        owned = [generation_of(key) for key in keys]
        if not any(owned):
            return page
        dead = yield from self.dead_of(owned)
        kept = [i for i, generation in enumerate(owned) if generation not in dead]
        return [keys[i] for i in kept], [entries[i] for i in kept]

    def dead_of(self, generations: Iterable[bytes | None]) -> Op[set[bytes | None]]:
        """Return the dead ones among `generations`."""
        known, self._dead = self._dead, {}
        # A frozen view, so that the collection is not renamed between the reads of its owner and
        # its root.
        view = self._engine.view.pinned()
        try:
            for generation in dict.fromkeys(generations):
                if generation is not None:
                    dead = known.get(generation)
                    self._dead[generation] = (yield from self._judge(view, generation)) if dead is None else dead
        finally:
            view.unpin()
        return {generation for generation, dead in self._dead.items() if dead}

    def _judge(self, view: View, generation: bytes) -> Op[bool]:
        try:
            return (yield from self._is_dead(view, generation))
        except CorruptionError as error:
            # The table that would tell is damaged. Keep what may be alive.
            logger.error("a collection is kept because its owner or root cannot be read: %s", error)
            return False

    def _is_dead(self, view: View, generation: bytes) -> Op[bool]:
        keyspace, number = generation[:4], generation[4:]
        owner = yield from read_entry(view, keyspace + KIND_OWNER + number)
        if owner is None:
            return True  # the owner is written with the first element, and dropped only if the generation is dead
        if owner[0] is None:
            return True  # nothing deletes an owner; only a forged file can have this
        root_key = keyspace + KIND_KEY + owner[0]
        found = yield from read_entry(view, root_key)
        if found is None or found[0].__class__ is not Root:
            return True
        if decode_root(found[0]).generation != int.from_bytes(number, "big"):
            return True
        # An expired root counts while it exists, since it lives again if the clock is set back. So
        # the root is noted here and deleted first (`take_expired_roots`).
        if 0 < found[1] < self._limit_ms and len(self._engine.compactor.expired_roots) < EXPIRED_ROOTS_MAX:
            self._engine.compactor.expired_roots.add(root_key)
        return False


def take_expired_roots(engine: Engine) -> dict[str, list[bytes]]:
    """Return the expired collections that compaction has found since the last call.

    That is, keyspace -> user keys of collections that expired long ago.
    """
    taken, engine.compactor.expired_roots = engine.compactor.expired_roots, set()
    names = {prefix: name for name, prefix in engine.view.catalogue.prefixes.items()}
    found: dict[str, list[bytes]] = {}
    for root_key in sorted(taken):
        name = names.get(root_key[:PREFIX_BYTES])
        if name is not None:
            found.setdefault(name, []).append(root_key[PREFIX_BYTES:])
    return found


def drop_expired(tx: Transaction, keys: Iterable[bytes]) -> None:
    """Write tombstones for keys without a live value, so that compaction may drop their elements."""
    for key in keys:
        if tx.get(key) is None:
            tx.delete(key)
