"""Seeded bugs in what keeps tables open, pinned and in memory."""

from __future__ import annotations

from .mutant import Mutant

PINS = "tests/engine/test_pins.py::"
BESIDE = f"{PINS}test_a_reader_beside_compactions_finds_its_tables_at_every_interleaving"

MEMORY = "tests/engine/test_tables_in_memory.py::"

TABLE_MUTANTS = [
    Mutant(
        "a filter that is larger than the bound goes at once",
        "ferrokv/local/tree/lookups.py",
        "            if lookup.filter_used or lookup is kept:",
        "            if False:",
        f"{MEMORY}test_a_filter_that_is_larger_than_the_bound_is_not_read_for_each_key",
    ),
    Mutant(
        "indexes push each other out for every key",
        "ferrokv/local/tree/lookups.py",
        "        return lookup.searches >= SEARCHES_APART and",
        "        return",
        f"{MEMORY}test_indexes_that_do_not_fit_do_not_push_each_other_out_for_every_key",
    ),
    Mutant(
        "filters and indexes stay for ever",
        "ferrokv/local/tree/lookups.py",
        "        self._shrink_filters(self._limit, lookup)\n        self._shrink_indexes(self._limit - self._filter_bytes)\n",
        "",
        f"{MEMORY}test_every_key_is_found_within_any_bound",
    ),
    Mutant(
        "what is read behind a summary is not verified",
        "ferrokv/local/format/tables.py",
        '        if checksum(b"".join(parts)) != self.checksums[group]:',
        "        if False:",
        f"{MEMORY}test_damage_behind_the_summary_is_named",
    ),
    Mutant(
        "tables stay open for ever",
        "ferrokv/local/tree/cache.py",
        "        if size > self._half:\n            return\n",
        "        size = 0\n",
        f"{MEMORY}test_so_many_tables_are_open_and_no_more",
    ),
    Mutant(
        "nothing makes room for a descriptor",
        "ferrokv/local/storage/descriptors.py",
        "        give_back()\n",
        "        assert give_back\n",
        f"{MEMORY}test_a_program_that_uses_up_its_descriptors_reads_writes_and_closes",
    ),
    Mutant(
        "a scan beside compactions holds no files in a reader that cannot pin",
        "ferrokv/local/log/pins.py",
        "            return view.pinned(held)",
        "            return view.pinned()",
        f"{PINS}test_snapshots_and_scans_outlive_the_compactions_of_another_process[True]",
    ),
    Mutant(
        "tables of open snapshots stay when the store is closed",
        "ferrokv/local/runtime/store.py",
        "        engine.pins.leave()\n",
        "        engine.pins.settle()\n",
        f"{PINS}test_a_snapshot_that_is_open_at_closing_keeps_no_files",
    ),
    Mutant(
        "pins are not honoured",
        "ferrokv/local/engine/removal.py",
        "    oldest = oldest_pin(engine)\n",
        "    oldest = 0\n",
        f"{BESIDE}[snapshot]",
    ),
    Mutant(
        "a pin is announced after the look at VERSION",
        "ferrokv/local/log/pins.py",
        "    engine.pins.add(word)\n"
        "    try:\n"
        "        # Order: load VERSION after the pin is announced.\n"
        "        if engine.words[VERSION] != engine.seen_version:\n"
        "            yield from refresh(engine)\n",
        "    if engine.words[VERSION] != engine.seen_version:\n"
        "        yield from refresh(engine)\n"
        "    engine.pins.add(word)\n"
        "    try:\n"
        "        assert word\n",
        f"{BESIDE}[snapshot]",
    ),
    Mutant(
        "a pinned view is not the newest",
        "ferrokv/local/log/pins.py",
        "        if engine.words[VERSION] != engine.seen_version:\n            yield from refresh(engine)\n",
        "        yield from ()\n",
        f"{BESIDE}[snapshot]",
    ),
    Mutant(
        "the pins of the dead count",
        "ferrokv/local/engine/removal.py",
        "        if own or (owner and engine.storage.is_announced(owner)):",
        "        if own or owner:",
        f"{PINS}test_the_tables_of_a_reader_that_dies_go_at_every_step",
    ),
    Mutant(
        "the files that the dead had to remove stay for ever",
        "ferrokv/local/engine/removal.py",
        "    engine.compactor.waiting = [Waiting(version_word, name, names[name]) for name in left]",
        "    engine.compactor.waiting = [Waiting(version_word, name, names[name]) for name in left[:0]]",
        f"{PINS}test_what_the_dead_left_to_wait_is_found_by_the_next_compactor",
    ),
    Mutant(
        "the files that the dead had to remove go at once",
        "ferrokv/local/engine/removal.py",
        "if number >= tables.next_table)",
        "if number)",
        f"{PINS}test_what_the_dead_left_to_wait_is_found_by_the_next_compactor",
    ),
    Mutant(
        "the youngest pin counts",
        "ferrokv/local/engine/slots.py",
        "        oldest = min(self._counts, default=0)",
        "        oldest = max(self._counts, default=0)",
        f"{PINS}test_the_oldest_of_several_pins_counts_until_it_is_given_back",
    ),
    Mutant(
        "a point read whose table is gone is not repeated",
        "ferrokv/local/log/pins.py",
        "            gone, found = error, None\n        yield from renew(engine, gone)\n",
        "            raise error\n",
        f"{BESIDE}[point_reads]",
    ),
    Mutant(
        "what a transaction scans is not pinned",
        "ferrokv/local/log/transaction.py",
        "        group.pin_tables()\n",
        "",
        f"{BESIDE}[transaction]",
    ),
    Mutant(
        "a transaction's read of a table that is gone is not repeated",
        "ferrokv/local/log/transaction.py",
        "        except TableGoneError:\n            self.pin_tables()\n",
        "        except ZeroDivisionError:\n            self.pin_tables()\n",
        f"{BESIDE}[transaction]",
    ),
    Mutant(
        "a thread shows tables that are older than those of another",
        "ferrokv/local/log/replica.py",
        "            if engine.seen_version != before:\n",
        "            if False:\n",
        f"{PINS}test_threads_that_take_over_tables_do_not_undo_each_other",
    ),
    Mutant(
        "tables of an edit in doubt go although somebody reads them",
        "ferrokv/local/compaction/install.py",
        "        engine.compactor.waiting += [Waiting(rolled.version_word, name, 0) for name in orphans]\n",
        "        yield from remove_files(orphans)\n",
        f"{PINS}test_tables_of_an_edit_in_doubt_stay_while_somebody_reads_them",
    ),
    Mutant(
        "nobody is told that an edit in doubt does not count",
        "ferrokv/local/compaction/install.py",
        "        rolled.version_word = engine.words[VERSION] = engine.words[VERSION] + 1\n",
        "        assert rolled.version_word\n",
        f"{PINS}test_tables_of_an_edit_in_doubt_stay_while_somebody_reads_them",
    ),
    Mutant(
        "a table that came to nothing stays open under its number",
        "ferrokv/local/tree/table.py",
        "            file.close()\n",
        "            cache.files._files.put(meta.number, file)\n",
        f"{MEMORY}test_a_number_whose_table_came_to_nothing_may_be_used_by_another_process",
    ),
]
