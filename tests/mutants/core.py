"""Seeded bugs: each changes one place of a copy of the tree, and the named tests must fail. `python -m tests.mutants [WORD …]`.

This tests the tests (reliability T19). A mutant that survives, or whose place is not found any more, is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .adapters import ADAPTER_MUTANTS
from .copies import COPY_MUTANTS
from .django import DJANGO_MUTANTS
from .faults import FAULT_MUTANTS
from .load import LOAD_MUTANTS
from .mutant import Mutant
from .processes import PROCESS_MUTANTS
from .redis import REDIS_MUTANTS
from .tables import TABLE_MUTANTS
from .waiting import WAITING_MUTANTS

ROOT = Path(__file__).parent.parent.parent

ORDERS = "tests/processes/test_interleavings.py::test_every_order_of_two_processes_is_linearizable"
RANDOM = "tests/processes/test_interleavings.py::test_random_orders_with_kills_and_stops_are_linearizable"
DEATH = "tests/processes/test_interleavings.py::test_death_at_every_step_harms_nobody"
FAILING = "tests/processes/test_interleavings.py::test_a_failing_disk_is_noticed_by_every_process"
PROCESSES = "tests/processes/test_processes.py::"
ATTACKS = "tests/processes/test_sharing_attacks.py::"
CUTS = "tests/engine/test_power_cuts.py::"
FULL = "tests/engine/test_full_disk.py::"
EARLY = "tests/engine/test_early_writing.py::"
APPEND = "        engine.storage.perform(WriteAt(wal.file, position.end, frame, sync_follows))\n"


MUTANTS = [
    Mutant(
        "root takes a directory that somebody made in /tmp",
        "ferrokv/local/storage/directory.py",
        "    if facts.st_uid not in (euid, 0) and not read_only and (open_to_all",
        "    if euid and facts.st_uid not in (euid, 0) and not read_only and (open_to_all",
        "tests/engine/test_ownership.py",
    ),
    Mutant(
        "believe a lock that excludes nobody",
        "ferrokv/local/storage/probing.py",
        "        return True\n    return False\n",
        "        return True\n    return True\n",
        "tests/engine/test_ownership.py",
    ),
    Mutant(
        "list only what stays",
        "ferrokv/local/storage/files.py",
        "        with suppress(FileNotFoundError):  # another process",
        "        with suppress(BlockingIOError):  # another process",
        "tests/engine/test_listings.py",
    ),
    Mutant(
        "believe any id of a keyspace",
        "ferrokv/local/format/keys.py",
        "if len(value) != 4 or not 1 <= keyspace_id <= KEYSPACE_ID_MAX + 1:",
        "if not 1 <= keyspace_id <= KEYSPACE_ID_MAX + 1:",
        "tests/format/test_forged.py::test_a_forged_frame_is_refused_by_name",
    ),
    Mutant(
        "drop what has expired by the wall clock alone",
        "ferrokv/local/clock.py",
        "    return min(wall, steady + belief.offset), belief",
        "    return wall, belief",
        "tests/engine/test_clock.py::test_a_jump_ahead_and_back_takes_nothing_off_the_disk",
    ),
    Mutant(
        "a first opener forgets what was believed of the clock",
        "ferrokv/local/opening/recovery.py",
        "committed or 0, believed)",
        "committed or 0)",
        "tests/engine/test_clock.py::test_nor_does_a_process_that_opens_during_the_jump_or_first_of_all_after_others_have_gone",
    ),
    Mutant(
        "publish before sync",
        "ferrokv/local/log/commit.py",
        "    appended = words[APPENDED]\n    try:\n        engine.storage.perform(Sync(wal.file))",
        "    appended = words[APPENDED]\n    words[COMMIT] = appended\n    try:\n        engine.storage.perform(Sync(wal.file))",
        f"{ORDERS}[two writers-0]",
    ),
    Mutant(
        "acknowledge without a sync",
        "ferrokv/local/log/commit.py",
        "        engine.storage.perform(Sync(wal.file))\n    except OSError as error:\n        # Never",
        "        assert wal\n    except OSError as error:\n        # Never",
        f"{ORDERS}[two writers-0]",
    ),
    Mutant(
        "acknowledge what was only appended",
        "ferrokv/local/log/commit.py",
        "    if words[COMMIT] == target:\n        return\n    over",
        "    return\n    over",
        f"{ORDERS}[two writers-0]",
    ),
    Mutant(
        "publish what was appended during the sync",
        "ferrokv/local/log/commit.py",
        "    words[COMMIT] = appended\n",
        "    words[COMMIT] = words[APPENDED]\n",
        f"{ORDERS}[two writers-0]",
    ),
    Mutant(
        "retry a failed sync",
        "ferrokv/local/log/commit.py",
        '        raise engine.poison("syncing the WAL", error) from error',
        "        yield Sync(wal.file)",
        f"{CUTS}test_failed_sync_is_never_repeated_and_poisons_the_store",
    ),
    Mutant(
        "a frame calls unsynced bytes durable",
        "ferrokv/local/log/commit.py",
        "len(writes), payload, durable_end)",
        "len(writes), payload)",
        f"{ATTACKS}test_two_commits_that_nobody_synced_may_be_lost_in_any_part",
    ),
    Mutant(
        "transactions do not see what others appended",
        "ferrokv/local/log/transaction.py",
        "self.base.update(commit.entries)",
        "commit.entries.keys()",
        f"{ORDERS}[two writers-0]",
    ),
    Mutant(
        "an answer that rests on unsynced data is given at once",
        "ferrokv/local/runtime/writer.py",
        "        make_durable(engine, wal, appended)",
        "        if any(request.answer for request in served):\n            make_durable(engine, wal, appended)",
        f"{PROCESSES}test_an_answer_that_rests_on_unsynced_data_waits_for_it",
    ),
    Mutant(
        "the view before COMMIT",
        "ferrokv/local/log/commit.py",
        "        engine.words[COMMIT] = word\n        engine.show_rotation(wal)\n",
        "        engine.show_rotation(wal)\n        engine.words[COMMIT] = word\n",
        f"{ORDERS}[both rotate-0]",
    ),
    Mutant(
        "a refused hint fails the write",
        "ferrokv/local/storage/local.py",
        "        except OSError:  # a file system without it",
        "        except ZeroDivisionError:  # a file system without it",
        f"{EARLY}test_a_refused_hint_is_not_repeated_and_harms_no_write",
    ),
    Mutant(
        "whole pages of the WAL are dropped from the page cache",
        "ferrokv/local/storage/local.py",
        " and len(data) <= _EARLY_BYTES_MAX:",
        ":",
        f"{EARLY}test_what_is_synced_begins_early_and_no_page_lies_in_the_range",
    ),
    Mutant(
        "what nobody waits for is hinted at",
        "ferrokv/local/storage/local.py",
        "        if sync_follows and self._begins_early",
        "        if self._begins_early",
        f"{EARLY}test_what_nobody_waits_for_does_not",
    ),
    Mutant(
        "no doubt before a commit",
        "ferrokv/local/log/commit.py",
        "    words[INTENT] = word\n    try:\n" + APPEND,
        "    try:\n" + APPEND + "        words[INTENT] = word\n",
        f"{PROCESSES}test_a_holder_killed_in_the_middle_of_a_write_leaves_no_trace",
    ),
    Mutant(
        "no doubt before a rotation",
        "ferrokv/local/log/commit.py",
        "    words[INTENT] = pack_position(number, HEADER_BYTES)\n"
        "    try:\n        wal = complete(_create_anew(engine, number, position, spare_first=spare_first), engine.storage)\n",
        "    try:\n        wal = complete(_create_anew(engine, number, position, spare_first=spare_first), engine.storage)\n"
        "        words[INTENT] = pack_position(number, HEADER_BYTES)\n",
        f"{DEATH}[rotate beside a writer]",
    ),
    Mutant(
        "append to a WAL whose tail is uncertain",
        "ferrokv/local/log/writing.py",
        "    if words[INTENT] != appended:",
        "    if False:",
        f"{RANDOM}[0] {RANDOM}[1] {PROCESSES}test_a_holder_killed_in_the_middle_of_a_write_leaves_no_trace",
    ),
    Mutant(
        "rotate without a sync of the old WAL",
        "ferrokv/local/log/commit.py",
        "    _sync(engine, engine.wal, pack_position(position.number, position.end))\n",
        "    words[COMMIT] = pack_position(position.number, position.end)\n",
        f"{RANDOM}[0] {RANDOM}[1] {ORDERS}[both rotate-0]",
    ),
    Mutant(
        "no catching up before a write",
        "ferrokv/local/log/writing.py",
        "    if words[COMMIT] != engine.seen:\n        complete(catch_up(engine), engine.storage)\n    appended",
        "    appended",
        f"{ORDERS}[both rotate-0] {ORDERS}[two writers-0]",
    ),
    Mutant(
        "no write lock",
        "ferrokv/local/log/writing.py",
        'take_lock(engine, "write", timeout)',
        'take_lock(engine, "compact", 0) or True',
        f"{ORDERS}[two writers-0]",
    ),
    Mutant(
        "no sync lock",
        "ferrokv/local/log/commit.py",
        'if take_lock(engine, "sync", timeout, over):',
        "if True:",
        f"{ORDERS}[two writers-0]",
    ),
    Mutant(
        "no compact lock",
        "ferrokv/local/compaction/holder.py",
        'if not take_lock(engine, "compact", timeout):',
        "if False:",
        f"{ORDERS}[both flush-0]",
    ),
    Mutant(
        "no open lock",
        "ferrokv/local/opening/opening.py",
        'if not (yield Lock("open", options.busy_timeout)):',
        "if False:",
        f"{ORDERS}[both open-0]",
    ),
    Mutant(
        "every opener believes to be alone",
        "ferrokv/local/opening/opening.py",
        "        alone = not storage.attached(sweep=True)",
        "        alone = True",
        f"{ORDERS}[open beside a flush-0]",
    ),
    Mutant(
        "nobody recovers if there is a control page",
        "ferrokv/local/opening/opening.py",
        "        alone = not storage.attached(sweep=True)",
        '        alone = storage.attach_page("control", 256 << 10) is None',
        f"{FAILING}[0-5] {PROCESSES}test_a_failed_sync_stops_every_process",
    ),
    Mutant(
        "forget the directory fsync of a WAL",
        "ferrokv/local/log/commit.py",
        "    yield Sync(file, metadata=True)\n    yield SyncDirectory()\n    header",
        "    yield Sync(file, metadata=True)\n    header",
        f"{ORDERS}[both rotate-0]",
    ),
    Mutant(
        "forget the directory fsync of a flush",
        "ferrokv/local/compaction/flush.py",
        "            yield SyncDirectory()\n",
        "",
        f"{ORDERS}[both flush-0]",
    ),
    Mutant(
        "forget the directory fsync of CURRENT",
        "ferrokv/local/engine/manifest.py",
        "    yield Rename(CURRENT_ASIDE, CURRENT)\n    yield SyncDirectory()",
        "    yield Rename(CURRENT_ASIDE, CURRENT)",
        f"{RANDOM}[0] {RANDOM}[1]",
    ),
    Mutant(
        "VERSION before the manifest is synced",
        "ferrokv/local/compaction/install.py",
        "    try:\n        yield Sync(manifest.file)",
        "    engine.words[VERSION] = engine.words[VERSION] + 1\n    try:\n        yield Sync(manifest.file)",
        f"{ORDERS}[both flush-0]",
    ),
    Mutant(
        "what a failed flush left is removed although another process has used its number",
        "ferrokv/local/compaction/holder.py",
        "    engine.compactor.orphans = []\n",
        "    engine.compactor.orphans = engine.compactor.orphans\n",
        "tests/engine/test_compaction.py::test_tables_of_another_process_are_not_removed_with_the_rest_of_a_failed_flush",
    ),
    Mutant(
        "remove the table that could not be moved",
        "ferrokv/local/compaction/install.py",
        "for table in added if table.number not in edit.removed]",
        "for table in added]",
        "tests/engine/test_compaction.py::test_a_move_that_finds_no_space_keeps_its_table",
    ),
    Mutant(
        "remove old files before the edit",
        "ferrokv/local/compaction/install.py",
        "    try:\n        position, tables",
        "    yield from remove_files(obsolete)\n    try:\n        position, tables",
        f"{ORDERS}[late follower-0] {ORDERS}[both flush-0]",
    ),
    Mutant(
        "unchained frames",
        "ferrokv/local/format/logs.py",
        "    if seqno != position.seqno + 1 or previous != position.checksum:",
        "    if seqno != position.seqno + 1:",
        "tests/format/test_format.py",
    ),
    Mutant(
        "poison is not shared",
        "ferrokv/local/engine/engine.py",
        "            self.words[POISON] = 1\n",
        "",
        f"{FAILING}[0-5]",
    ),
    Mutant(
        "the poison of others is not seen",
        "ferrokv/local/engine/engine.py",
        "if self.failure is None and self.words[POISON]:",
        "if False:",
        f"{FAILING}[0-5]",
    ),
    Mutant(
        "nobody cleans up after a dead compactor",
        "ferrokv/local/compaction/holder.py",
        "    if left:",
        "    if False:",
        f"{RANDOM}[0] {RANDOM}[1] {RANDOM}[2]",
    ),
    Mutant(
        "the manifest of a dead compactor is trusted as it is",
        "ferrokv/local/compaction/holder.py",
        "    yield from _open_manifest(engine)\n    yield from roll(engine)\n",
        "    yield from _open_manifest(engine)\n",
        f"{RANDOM}[0] {RANDOM}[1] {RANDOM}[2]",
    ),
    Mutant(
        "a stale manifest is appended to",
        "ferrokv/local/compaction/holder.py",
        "engine.compactor.open_manifest is None or engine.compactor.open_manifest.version_word != engine.words[VERSION]",
        "engine.compactor.open_manifest is None",
        f"{ORDERS}[both flush-0]",
    ),
    Mutant(
        "compact without the others' tables",
        "ferrokv/local/compaction/holder.py",
        "    yield from refresh(engine)\n    # The last",
        "    # The last",
        f"{ORDERS}[both flush-0]",
    ),
    Mutant(
        "memtables dropped before they are flushed",
        "ferrokv/local/log/replica.py",
        "[m for m in view.sealed if m.number < tables.log_number]",
        "list(view.sealed)",
        f"{ORDERS}[compact beside a flush-0] {ORDERS}[both flush-0]",
    ),
    Mutant(
        "hot records outlive the memtable that hid them",
        "ferrokv/local/engine/engine.py",
        "        if gone:\n",
        "        if False:\n",
        f"{ORDERS}[flush beside a reader-0] {RANDOM}[0] tests/engine/test_model.py",
    ),
    Mutant(
        "keyspaces of others are not seen",
        "ferrokv/local/log/replica.py",
        "catalogue_after(engine.view.catalogue, merged)",
        "engine.view.catalogue",
        f"{PROCESSES}test_each_process_sees_the_others_writes_at_its_next_read",
    ),
    Mutant(
        "read beyond COMMIT",
        "ferrokv/local/log/replica.py",
        "                yield from _follow(engine, wal, position, end)\n        except",
        "                yield from _follow(engine, wal, position, end + 200)\n        except",
        f"{ORDERS}[two writers-0] {ORDERS}[writer and reader-0]",
    ),
    Mutant(
        "reads do not look for news",
        "ferrokv/local/faces/reader.py",
        "            if engine.words[COMMIT] != engine.seen:",
        "            if False:",
        f"{PROCESSES}test_each_process_sees_the_others_writes_at_its_next_read",
    ),
    Mutant(
        "recovery trusts what only the page cache has",
        "ferrokv/local/opening/recovery.py",
        "    yield from _write_again(replay, committed)\n",
        "",
        f"{CUTS}test_a_killed_writers_unsynced_frame_can_not_make_the_store_unreadable",
    ),
    Mutant(
        "unlock in the forked child",
        "ferrokv/local/storage/lock_files.py",
        "            for fd in fds.values():\n                close_fd(fd)",
        "            for fd in fds.values():\n                flock(fd, fcntl.LOCK_UN)\n                close_fd(fd)",
        f"{PROCESSES}test_a_forked_child_does_not_let_go_of_the_parents_locks",
    ),
    Mutant(
        "a forked child keeps the parent's locks",
        "ferrokv/local/runtime/registry.py",
        "[store.leave_to_parent for store in _stores.values()]",
        "[]",
        f"{PROCESSES}test_a_forked_child_does_not_let_go_of_the_parents_locks",
    ),
    Mutant(
        "a removed directory goes unnoticed",
        "ferrokv/local/storage/local.py",
        "        if not os.access(request.file.name, os.F_OK, dir_fd=self._fd):",
        "        if False:",
        f"{PROCESSES}test_a_renamed_directory_goes_on_and_a_removed_one_is_an_error",
    ),
    Mutant(
        "lock files are made anew beside living processes",
        "ferrokv/local/storage/local.py",
        "            self._locks.flags = os.O_RDWR\n",
        "            self._locks.flags = os.O_RDWR | os.O_CREAT\n",
        f"{PROCESSES}test_a_lock_file_is_not_made_anew_beside_those_who_use_it",
    ),
    Mutant(
        "recovery trusts the header of a WAL",
        "ferrokv/local/opening/recovery.py",
        "control.wal_word(replay.end.number) else 0",
        "control.wal_word(replay.end.number) else HEADER_BYTES",
        f"{ATTACKS}test_what_a_failed_sync_left_in_the_page_cache_is_written_again",
    ),
    Mutant(
        "a commit is pending although it was followed",
        "ferrokv/local/engine/engine.py",
        "        if commit.after[:2] > self.appended[:2]:\n",
        "        if commit.after:\n",
        f"{ATTACKS}test_a_commit_that_a_reader_followed_meanwhile_is_not_shown_a_second_time",
    ),
    Mutant(
        "a commit is pending although it was loaded anew",
        "ferrokv/local/log/replica.py",
        "    engine.drop_pending()\n",
        "",
        f"{ATTACKS}test_a_commit_that_was_loaded_anew_is_not_shown_a_second_time",
    ),
    Mutant(
        "a forked child keeps what its parent was opening",
        "ferrokv/local/runtime/registry.py",
        "    steps += [storage.abandon for storage in list(LocalStorage.unclosed)]\n",
        "",
        f"{ATTACKS}test_a_fork_in_the_middle_of_an_opening_leaves_the_child_no_locks",
    ),
    Mutant(
        "a forked child waits for its parent's closing",
        "ferrokv/local/faces/reader.py",
        "    _exchanging = RLock()  # another",
        "    assert _closing  # another",
        f"{ATTACKS}test_a_fork_in_the_middle_of_a_closing_leaves_the_child_able_to_close",
    ),
    Mutant(
        "each queued write waits for the whole time limit",
        "ferrokv/local/runtime/writer.py",
        "        deadline = (request.since or now)",
        "        deadline = now",
        f"{ATTACKS}test_queued_writes_share_one_time_limit",
    ),
    Mutant(
        "a failed read while following has no name",
        "ferrokv/local/log/replica.py",
        '            raise named(error, "following other processes") from error\n\n\ndef read_appended',
        "            raise\n\n\ndef read_appended",
        f"{ATTACKS}test_a_writer_survives_a_failing_read_of_what_others_wrote",
    ),
    Mutant(
        "an announcement gives up when somebody looks at it",
        "ferrokv/local/storage/lock_files.py",
        "        if not _try(fd) and not _poll(fd, ANNOUNCE_SECONDS, None):\n",
        "        if not _try(fd):\n",
        f"{ATTACKS}test_an_announcement_is_made_although_others_look_at_it",
    ),
    Mutant(
        "a reader takes a change under it for damage",
        "ferrokv/local/opening/opening.py",
        "READ_ATTEMPTS: Final = 50",
        "READ_ATTEMPTS: Final = 1",
        f"{ATTACKS}test_a_reader_opens_beside_somebody_who_recovers",
    ),
    Mutant(
        "what does not delete may use the reserve",
        "ferrokv/local/log/commit.py",
        '    if not deleting:\n        raise store_full(engine, "writing")\n    most',
        "    most",
        f"{FULL}test_the_write_that_finds_the_disk_full_takes_nothing_of_the_reserve",
    ),
    Mutant(
        "the manifest is kept on a full disk without being synced",
        "ferrokv/local/opening/recovery.py",
        "        yield from _write_manifest_again(old)\n        old.tables",
        "        old.tables",
        f"{FULL}test_a_manifest_that_is_kept_is_made_durable_first",
    ),
    Mutant(
        "the shortage ends without a look at the reserve",
        "ferrokv/local/engine/space.py",
        "    if any(names.get(name, 0) < size for name, size in wanted.items()):\n        engine.words[SHORT] = 1\n",
        "    assert wanted\n",
        f"{FULL}test_a_piece_that_goes_while_the_shortage_ends_is_missed",
    ),
    Mutant(
        "all sealed memtables or none",
        "ferrokv/local/compaction/fitting.py",
        "    for count in range(len(sealed), 0, -1):",
        "    for count in (len(sealed),):",
        f"{FULL}test_the_oldest_memtables_are_flushed_when_all_do_not_fit",
    ),
    Mutant(
        "the newest of level 0 forget their tombstones",
        "ferrokv/local/compaction/merging.py",
        "        bottom = self._target > 0 and not",
        "        bottom = not",
        f"{FULL}test_merging_the_newest_tables_keeps_their_tombstones",
    ),
    Mutant(
        "errors keep the files that their frames know",
        "ferrokv/local/runtime/waiters.py",
        "        link.__traceback__ = None\n",
        "        assert link\n",
        "tests/engine/test_small_disks.py::test_no_removed_file_is_kept_open_on_a_full_disk",
    ),
    Mutant(
        "a new directory's name is synced by the first try only",
        "ferrokv/local/storage/directory.py",
        "    if not read_only and not _make(real) and not os.path.lexists(os.path.join(real, CURRENT)):",
        "    if not read_only and not _make(real) and real == CURRENT:",
        "tests/engine/test_raw_errors.py::test_a_directory_whose_name_could_not_be_synced_is_synced_by_the_next_try",
    ),
]


EVERY = (
    *MUTANTS,
    *REDIS_MUTANTS,
    *TABLE_MUTANTS,
    *COPY_MUTANTS,
    *DJANGO_MUTANTS,
    *ADAPTER_MUTANTS,
    *LOAD_MUTANTS,
    *PROCESS_MUTANTS,
    *WAITING_MUTANTS,
    *FAULT_MUTANTS,
)


def check(mutant: Mutant, copies: list[Path]) -> str:
    """What came of one mutant: "" when it was caught."""
    copy = copies.pop()
    place = copy / mutant.file
    source = place.read_text()
    try:
        if source.count(mutant.old) != 1:
            return f"its place stands {source.count(mutant.old)} times"
        place.write_text(source.replace(mutant.old, mutant.new))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-n", "0", *split(mutant.tests)],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        # 1 is "tests failed"; anything else is a mistake in this list
        return "" if done.returncode == 1 else f"survived (exit code {done.returncode})\n{done.stdout[-500:]}"
    finally:
        place.write_text(source)
        copies.append(copy)


def split(tests: str) -> list[str]:
    """Node ids may have blanks in their brackets."""
    return [f"tests/{part}" for part in tests.removeprefix("tests/").split(" tests/")]


def main() -> None:
    words = sys.argv[1:]
    chosen = [mutant for mutant in EVERY if not words or any(word in mutant.name for word in words)]
    count = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(count) as pool:
        copies = [Path(folder) / str(i) for i in range(count)]
        for copy in copies:
            shutil.copytree(
                ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv*", "var", "__pycache__", ".*_cache")
            )
        survived = 0
        for mutant, problem in zip(chosen, pool.map(lambda m: check(m, copies), chosen), strict=True):
            survived += bool(problem)
            print(
                f"{'caught' if not problem else 'NOT CAUGHT'}: {mutant.name}{': ' if problem else ''}{problem}",
                flush=True,
            )
    print(f"{len(chosen) - survived} of {len(chosen)} caught")
    sys.exit(bool(survived))
