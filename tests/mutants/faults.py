"""Seeded bugs in what becomes of a failed system call."""

from __future__ import annotations

from .mutant import Mutant

DIRECTORY = "tests/engine/test_directory.py::"
FULL = "tests/engine/test_full_disk.py::"
SPACE = "ferrokv/local/engine/space.py"

FAULT_MUTANTS = [
    Mutant(
        "recovery refers to a WAL whose name only memory holds",
        "ferrokv/local/opening/recovery.py",
        "    if start == 0:\n        # Its name",
        "    if start < 0:\n        # Its name",
        "tests/engine/test_power_cuts.py::test_a_power_cut_after_two_recoveries_that_were_killed_loses_nothing",
    ),
    Mutant(
        "keep a directory whose name was not synced",
        "ferrokv/local/storage/directory.py",
        "        with suppress(OSError):\n            os.rmdir(path)",
        "        with suppress(OSError):\n            os.stat(path)",
        f"{DIRECTORY}test_a_directory_whose_name_is_not_durable_is_made_again",
    ),
    Mutant(
        "take a full disk for a missing parent",
        "ferrokv/local/storage/directory.py",
        "    if error.errno in (errno.ENOSPC, errno.EDQUOT):",
        "    if error.errno in ():",
        f"{DIRECTORY}test_a_full_disk_is_told_from_a_missing_parent",
    ),
    Mutant(
        "raise a system error for processes that can not be seen",
        "ferrokv/local/storage/files.py",
        "    if error.errno in NO_DESCRIPTORS:\n",
        "    if not error.errno:\n",
        f"{DIRECTORY}test_who_has_the_store_open_can_not_be_seen",
    ),
    Mutant(
        "leave a merge to the garbage collector",
        "ferrokv/local/compaction/merging.py",
        "        finished = partial(_take_table, engine, self._tables)",
        "        finished = partial(_take_table, engine, self._tables)\n        self._cycle = self",
        "tests/engine/test_compaction.py::test_a_merge_lets_go_of_its_inputs_without_the_garbage_collector",
    ),
    Mutant(
        "fail on a name that vanishes while it is listed",
        "ferrokv/local/storage/files.py",
        "        with suppress(FileNotFoundError):  # another process has renamed or removed it since its name was read",
        "        with suppress(NotADirectoryError):",
        f"{DIRECTORY}test_a_name_may_vanish_while_the_directory_is_listed",
    ),
    Mutant(
        "a table that finds no room takes the spare table along",
        "ferrokv/local/compaction/builder.py",
        "                yield Rename(self.name, SPARE_TABLE)\n",
        "                yield from remove_files([self.name])\n",
        f"{FULL}test_what_finds_no_room_in_the_middle_gives_the_spare_table_back",
    ),
    Mutant(
        "the rest of the spare table is free for a while",
        "ferrokv/local/engine/spares.py",
        "    for wanted in (rest, rest // 16 * 15):",
        "    for wanted in (0, rest):",
        f"{FULL}test_a_flush_keeps_the_rest_of_the_spare_table_from_others",
    ),
    Mutant(
        "only the first table of a merge may use the spare one",
        "ferrokv/local/compaction/builder.py",
        "            self.names.append(self._builder.name)\n",
        "            self.names.append(self._builder.name)\n            self._spare = False\n",
        f"{FULL}test_a_merge_of_several_tables_has_all_of_the_spare_table",
    ),
    Mutant(
        "a WAL that is missing waits for free space",
        SPACE,
        "    yield from _save_small_pieces(engine, wanted, names)\n",
        "",
        f"{FULL}test_a_wal_that_is_missing_is_made_of_the_spare_table",
    ),
    Mutant(
        "the spare table is cut too short to flush into",
        SPACE,
        "    least = max(largest * 17 // 16, 2",
        "    least = max(0, 2",
        f"{FULL}test_the_spare_table_keeps_what_a_memtable_takes",
    ),
]
