"""Seeded bugs in what bounds the load: merges in parts, damage set aside, and the brake."""

from __future__ import annotations

from .mutant import Mutant

LEVEL0 = "tests/engine/test_level0.py::"

LOAD_MUTANTS = [
    Mutant(
        "install a part across a table",
        "ferrokv/local/compaction/merging.py",
        "        lies_across = bool(self._lower) and self._lower[-1].min_key <= last_key",
        "        lies_across = False",
        f"{LEVEL0}test_what_is_written_while_a_merge_is_under_way_stays_newer",
    ),
    Mutant(
        "throw away what a stopped merge has installed",
        "ferrokv/local/compaction/merging.py",
        "            progress = MergeProgress(choice.level, tuple(table.number for table in choice.upper), done)",
        "            progress = NO_MERGE",
        f"{LEVEL0}test_each_part_of_a_merge_is_installed_and_the_next_process_goes_on",
    ),
    Mutant(
        "install a merge at its end only",
        "ferrokv/local/compaction/merging.py",
        "        if size >= self._engine.options.table_bytes and not lies_across",
        "        if size >= 1 << 60 and not lies_across",
        f"{LEVEL0}test_a_merge_needs_little_more_room_than_its_upper_tables",
    ),
    Mutant(
        "merge the newest tables of level 0 first",
        "ferrokv/local/compaction/picker.py",
        "    for table in reversed(version.levels[0]):",
        "    for table in version.levels[0]:",
        f"{LEVEL0}test_a_merge_takes_a_bounded_number_of_the_oldest_tables",
    ),
    Mutant(
        "merge all of level 0 at once",
        "ferrokv/local/compaction/picker.py",
        "or len(upper) >= MERGED_FACTOR * options.level0_tables:",
        "or False:",
        f"{LEVEL0}test_a_merge_takes_a_bounded_number_of_the_oldest_tables",
    ),
    Mutant(
        "let newer tables of level 0 pass a damaged one",
        "ferrokv/local/compaction/picker.py",
        "        if table.number in context.damaged or len(upper) >=",
        "        if table.number in context.damaged:\n            continue\n        if len(upper) >=",
        f"{LEVEL0}test_a_damaged_table_in_the_middle_of_level_0_never_lets_older_records_win",
    ),
    Mutant(
        "forget tombstones within level 0",
        "ferrokv/local/compaction/merging.py",
        "        bottom = self._target > 0 and not self",
        "        bottom = not self",
        f"{LEVEL0}test_a_damaged_table_in_the_middle_of_level_0_never_lets_older_records_win",
    ),
    Mutant(
        "stop compaction at a damaged table",
        "ferrokv/local/compaction/compaction.py",
        "        set_aside(engine, error)\n        return True",
        "        raise error",
        f"{LEVEL0}test_a_table_that_cannot_be_read_is_set_aside_and_the_rest_goes_on",
    ),
    Mutant(
        "poison the store when a table cannot be read",
        "ferrokv/local/tree/table.py",
        "            damage = read_damage(error, self.name, offset)\n            if damage is None:",
        "            damage = read_damage(error, self.name, offset)\n            if damage:",
        f"{LEVEL0}test_a_table_that_cannot_be_read_is_set_aside_and_the_rest_goes_on",
    ),
    Mutant(
        "level 0 is told to nobody",
        "ferrokv/local/compaction/score.py",
        "    words[LEVEL0] = len(version.levels[0])\n",
        "",
        f"{LEVEL0}test_a_stopped_writer_is_told_why_and_goes_on_when_compaction_has_come",
    ),
    Mutant(
        "writers never stop",
        "ferrokv/local/runtime/writer.py",
        "            if braked and self.brake.is_stopped and",
        "            if False and",
        f"{LEVEL0}test_writers_of_another_process_are_stopped_as_well",
    ),
    Mutant(
        "a merge within level 0 forgets what is flushed while it is weighed",
        "ferrokv/local/compaction/compaction.py",
        "    if choice.target == 0 and choice.upper[0] is not",
        "    if not choice.upper and choice.upper[0] is not",
        f"{LEVEL0}test_a_table_that_is_flushed_while_a_merge_within_level_0_is_weighed_stays_newer",
    ),
    Mutant(
        "what is on its way into a level does not count",
        "ferrokv/local/compaction/score.py",
        "        arriving = max(0, held - most)",
        "        arriving = 0",
        f"{LEVEL0}test_the_score_is_that_of_the_fullest_level_with_what_is_on_its_way_there",
    ),
    Mutant(
        "writers wait for what damage keeps from being compacted",
        "ferrokv/local/compaction/score.py",
        "0 if damaged else ",
        "",
        f"{LEVEL0}test_the_score_is_told_to_every_process_and_none_that_damage_keeps_high",
    ),
    Mutant(
        "level 0 has to wait for fuller levels",
        "ferrokv/local/compaction/picker.py",
        "math.inf if tables >= options.slowdown_at else tables",
        "tables",
        f"{LEVEL0}test_level_0_goes_first_once_it_slows_writes_down",
    ),
]
