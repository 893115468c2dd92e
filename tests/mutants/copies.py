"""Seeded bugs in verification and backups."""

from __future__ import annotations

from .mutant import Mutant

BACKUP = "tests/engine/test_backup.py::"
VERIFY = "tests/engine/test_verify.py::"

COPY_MUTANTS = [
    Mutant(
        "a copy forgets how far seqnos have come",
        "ferrokv/local/upkeep/backup.py",
        "Position(0, 0, view.as_of, 0)",
        "Position(0, 0, 0, 0)",
        f"{BACKUP}test_generations_stay_unique_in_the_copy",
    ),
    Mutant(
        "a copy has what was written after its moment",
        "ferrokv/local/tree/view.py",
        "reverse=reverse, as_of=self.as_of)",
        "reverse=reverse)",
        f"{BACKUP}test_what_this_process_overwrites_in_memory_meanwhile_is_copied_as_it_was",
    ),
    Mutant(
        "the names of a copy's tables are not durable before its manifest",
        "ferrokv/local/compaction/builder.py",
        "        if self.names:\n            yield SyncDirectory()",
        "        if self.names:\n            assert SyncDirectory()",
        f"{BACKUP}test_a_power_cut_at_any_request_leaves_no_store_or_the_whole_copy",
    ),
    Mutant(
        "a copy's tables are removed before its identity is durably gone",
        "ferrokv/local/upkeep/backup.py",
        "        yield Remove(CURRENT)\n        yield SyncDirectory()",
        "        yield Remove(CURRENT)\n        assert SyncDirectory()",
        f"{BACKUP}test_a_power_cut_while_a_refused_copy_is_removed_leaves_no_damaged_store",
    ),
    Mutant(
        "others may begin a store where a copy is made",
        "ferrokv/local/upkeep/backup.py",
        'if not target.perform(Lock("open", 0)):',
        'if not target.perform(Lock("compact", 0)):',
        f"{BACKUP}test_nobody_begins_a_store_or_a_second_backup_in_the_target_meanwhile",
    ),
    Mutant(
        "a forked child goes on with its parent's copy",
        "ferrokv/local/runtime/long_tasks.py",
        "        if not self._is_own:\n",
        "        if self._pid < 0:\n",
        f"{BACKUP}test_a_child_that_is_forked_in_the_middle_leaves_the_copy_to_its_parent",
    ),
    Mutant(
        "what was compacted away meanwhile counts as missing",
        "ferrokv/local/upkeep/verify.py",
        "if scene.doubts.keys() <= suspects:",
        "if scene.doubts.keys() | suspects is not None:",
        f"{VERIFY}test_a_store_that_others_change_meanwhile_is_found_sound",
    ),
    Mutant(
        "a filter that lacks a key is not noticed",
        "ferrokv/local/upkeep/verify_table.py",
        "if words is not None and not all(",
        "if words is None and not all(",
        f"{VERIFY}test_a_filter_that_lacks_keys_is_told_although_its_checksum_is_right",
    ),
]
