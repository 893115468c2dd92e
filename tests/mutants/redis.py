"""Seeded bugs in collections, transactions, locks and quotas."""

from __future__ import annotations

from .mutant import Mutant

COLLECTIONS = "tests/commands/test_collections.py"
TRANSACTIONS = "tests/engine/test_transactions.py::"
REDIS = "tests/commands/test_redis.py::"
QUOTAS = "tests/engine/test_quotas.py"
ATTACKS = "tests/commands/test_redis_attacks.py"

REDIS_MUTANTS = [
    Mutant(
        "elements of an overwritten collection count as alive",
        "ferrokv/local/compaction/dead_generations.py",
        '        if decode_root(found[0]).generation != int.from_bytes(number, "big"):\n            return True',
        '        if decode_root(found[0]).generation != int.from_bytes(number, "big"):\n            return False',
        COLLECTIONS,
    ),
    Mutant(
        "elements of an expired collection are dropped at once",
        "ferrokv/local/compaction/dead_generations.py",
        "        if 0 < found[1] < self._limit_ms and",
        "        if 0 < found[1] < self._engine.clock():\n            return True\n        if 0 < found[1] < self._limit_ms and",
        COLLECTIONS,
    ),
    Mutant(
        "every generation counts as dead",
        "ferrokv/local/compaction/dead_generations.py",
        "            self._engine.compactor.expired_roots.add(root_key)\n        return False",
        "            self._engine.compactor.expired_roots.add(root_key)\n        return True",
        COLLECTIONS,
    ),
    Mutant(
        "expired collections are not deleted",
        "ferrokv/local/compaction/dead_generations.py",
        "            self._engine.compactor.expired_roots.add(root_key)",
        "            pass",
        COLLECTIONS,
    ),
    Mutant(
        "renaming leaves the owner behind",
        "ferrokv/local/commands/keys.py",
        "        move_root(tx, found[0], target)\n",
        "",
        COLLECTIONS,
    ),
    Mutant(
        "a copy shares the elements",
        "ferrokv/local/commands/keys.py",
        "        copy_collection(tx, found, target)",
        "        tx.put(target, *found)",
        COLLECTIONS,
    ),
    Mutant(
        "tables of dead elements are never looked at",
        "ferrokv/local/compaction/flush.py",
        "    engine.compactor.sweep_looks_left = LOOKS_EACH_FLUSH",
        "    engine.compactor.sweep_looks_left = 0",
        COLLECTIONS,
    ),
    Mutant(
        "an older memtable wins",
        "ferrokv/local/tree/records.py",
        "{**dict(zip(keys, entries, strict=True)), **newest}",
        "{**newest, **dict(zip(keys, entries, strict=True))}",
        COLLECTIONS,
    ),
    Mutant(
        "a transaction scans without its own writes",
        "ferrokv/local/log/transaction.py",
        "        overlays = (*reversed(self._below), self.changes)",
        "        overlays = (*reversed(self._below),)",
        f"{REDIS}test_a_transaction_answers_as_redis_does",
    ),
    Mutant(
        "an older layer of changes wins in a scan",
        "ferrokv/local/log/transaction.py",
        "        overlays = (*reversed(self._below), self.changes)",
        "        overlays = (self.changes, *reversed(self._below))",
        COLLECTIONS,
    ),
    Mutant(
        "a key that is written twice is scanned twice",
        "ferrokv/local/tree/overlay.py",
        "        if self._index is not None and internal_key not in self:",
        "        if self._index is not None:",
        COLLECTIONS,
    ),
    Mutant(
        "a watch does not see a new TTL",
        "ferrokv/local/faces/pipelines.py",
        "        if tx.get(key) != seen:",
        "        if (tx.get(key) or (None,))[0] != (seen or (None,))[0]:",
        f"{TRANSACTIONS}test_a_pipeline_watches_strings_and_collections",
    ),
    Mutant(
        "a watch does not see a changed element",
        "ferrokv/local/commands/collections.py",
        "self._version + 1, self.size",
        "self._version, self.size",
        f"{TRANSACTIONS}test_a_pipeline_watches_strings_and_collections",
    ),
    Mutant(
        "a transaction that raises is written",
        "ferrokv/local/log/transaction.py",
        "        answer = command(Transaction(self, keyspace, changes, (self.changes, self.base)), *args)",
        "        answer = command(Transaction(self, keyspace, self.changes, (self.base,)), *args)",
        f"{TRANSACTIONS}test_a_transaction_that_raises_leaves_nothing",
    ),
    Mutant(
        "death does not free a lock",
        "ferrokv/local/commands/locks.py",
        "        return name != self.announced and not self.is_alive(name)\n",
        "        return name == 'nobody'\n",
        f"{TRANSACTIONS}test_a_lock_is_freed_by_the_death_of_its_process_and_by_nothing_less",
    ),
    Mutant(
        "a lock is free for everybody",
        "ferrokv/local/commands/locks.py",
        "    if found is not None and found[0] != owed and not owners.is_free(found[0]):",
        "    if found is None and not owners.is_free(token):",
        f"{TRANSACTIONS}test_a_lock_is_exclusive_and_knows_its_owner",
    ),
    Mutant(
        "who expires last goes first",
        "ferrokv/local/upkeep/quotas.py",
        "reads, expires_ms or NEVER, key_hash)",
        "reads, -(expires_ms or NEVER), key_hash)",
        QUOTAS,
    ),
    Mutant(
        "who is read most goes first",
        "ferrokv/local/upkeep/quotas.py",
        "    order = (not has_expired(expires_ms, now_ms), reads,",
        "    order = (not has_expired(expires_ms, now_ms), -reads,",
        QUOTAS,
    ),
    Mutant(
        "an evicted record stays in its table",
        "ferrokv/local/upkeep/quotas.py",
        "    survivors.gone = gone\n",
        "    survivors.gone = frozenset()\n",
        QUOTAS,
    ),
    Mutant(
        "nobody waits for eviction",
        "ferrokv/local/upkeep/quotas.py",
        "                word |= _bit(prefix)",
        "                word |= 0",
        QUOTAS,
    ),
    Mutant(
        "a value larger than the quota evicts its neighbours",
        "ferrokv/local/log/transaction.py",
        "if quota is not None and len(value) > quota:",
        "if quota is None:",
        QUOTAS,
    ),
    Mutant(
        "a transaction is refused for its size at its end only",
        "ferrokv/local/tree/overlay.py",
        "        if len(self) > BATCH_RECORDS_MAX or self.payload_bytes > TRANSACTION_BYTES_MAX:\n            raise",
        "        if False:\n            raise",
        f"{TRANSACTIONS}test_what_is_too_large_is_refused_as_soon_as_it_is",
    ),
    Mutant(
        "a command reads all before it is refused",
        "ferrokv/local/log/transaction.py",
        "        if self._ranges_read > TURN_RECORDS_MAX:",
        "        if self._ranges_read < 0:",
        f"{TRANSACTIONS}test_a_command_that_would_read_too_much_in_its_turn_is_refused_before_it_does",
    ),
    Mutant(
        "a quota is lost at reopening",
        "ferrokv/local/format/keys.py",
        'CATALOGUE_END: Final = b"\\0\\0\\0\\0r"',
        'CATALOGUE_END: Final = b"\\0\\0\\0\\0o"',
        QUOTAS,
    ),
    Mutant(
        "a table from elements to owners is dropped for one of them",
        "ferrokv/local/compaction/sweeping.py",
        "    if table.min_key[:GENERATION_END] == table.max_key[:GENERATION_END] and",
        "    if generation_of(table.min_key) == generation_of(table.max_key) and",
        ATTACKS,
    ),
    Mutant(
        "who was chosen for eviction goes whatever has happened since",
        "ferrokv/local/upkeep/quotas.py",
        "        if found is None or (found[1] == expires_ms and hash(found[0]) == value_hash):",
        "        if found is None or found[1] == expires_ms:",
        QUOTAS,
    ),
    Mutant(
        "evictions go on without a quota",
        "ferrokv/local/upkeep/quotas.py",
        "    if tx.prefix != prefix or not tx.quota:",
        "    if tx.prefix != prefix:",
        QUOTAS,
    ),
    Mutant(
        "what a transaction raises ends the writer",
        "ferrokv/local/runtime/writer.py",
        "threading.current_thread() is not self._thread:",
        "self._thread:",
        f"{ATTACKS}::test_a_transaction_that_raises_among_other_writers_stops_nobody",
    ),
    Mutant(
        "a cancelled acquiring is not taken back",
        "ferrokv/local/faces/aio/locks.py",
        "Queue a release after it.\n            self._asking._write_unawaited(locks.release, self._key, own)\n",
        "Nothing is queued.\n",
        f"{ATTACKS}::test_a_cancelled_acquiring_leaves_no_lock_behind",
    ),
]
