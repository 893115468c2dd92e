"""Seeded bugs in closing, forks, the end of the interpreter, and directories that change."""

from __future__ import annotations

from .mutant import Mutant

CLOSING = "tests/engine/test_closing.py::"
FORKS = "tests/processes/test_forks.py::"
EXIT = "tests/processes/test_exit.py::"
CHANGES = "tests/engine/test_directories_that_change.py::"

PROCESS_MUTANTS = [
    Mutant(
        "an announcement that cannot be removed keeps its lock",
        "ferrokv/local/storage/lock_files.py",
        "            except OSError as error:\n                # Without its lock",
        "            except ZeroDivisionError as error:\n                # Without its lock",
        f"{CLOSING}test_closing_on_a_dead_disk_leaves_nothing_and_the_store_can_be_opened_again",
    ),
    Mutant(
        "closing forgets the files",
        "ferrokv/local/storage/local.py",
        "        for opened in list(self._files):",
        "        for opened in []:",
        f"{CLOSING}test_an_open_snapshot_does_not_keep_the_files",
    ),
    Mutant(
        "a read believes a descriptor that was closed under it",
        "ferrokv/local/storage/local.py",
        "        if file.fd != fd:  # type: ignore[attr-defined]\n            # Closed",
        "        if False:\n            # Closed",
        f"{CLOSING}test_a_read_under_way_while_the_store_is_closed_is_refused_by_name",
    ),
    Mutant(
        "a dead compactor is named",
        "ferrokv/local/runtime/figures.py",
        "engine.compactor_pid if engine.compactor_pid in living else None",
        "engine.compactor_pid or None",
        f"{CLOSING}test_stats_name_no_dead_compactor",
    ),
    Mutant(
        "reads do not look at the flag",
        "ferrokv/local/faces/reader.py",
        "        if not engine.ok_flag[0]:\n            engine = self._attended()\n",
        "",
        f"{FORKS}test_without_pages_that_are_wiped_the_pid_is_asked_for",
    ),
    Mutant(
        "the page is not wiped",
        "ferrokv/local/storage/forks.py",
        "            page.madvise(WIPE_ON_FORK)\n",
        "            assert page\n",
        f"{FORKS}test_the_flag_is_down_in_any_child_and_up_in_the_parent",
    ),
    Mutant(
        "a child that was not told waits for its parent's threads at the end",
        "ferrokv/local/runtime/registry.py",
        "    notice()  # a child that never called ferrokv",
        "    assert notice  # a child that never called ferrokv",
        f"{FORKS}test_a_raw_child_that_ends_without_a_call_leaves_its_parent_alone",
    ),
    Mutant(
        "stores are closed by the first exit handler",
        "ferrokv/local/runtime/registry.py",
        "        store.go_without_threads()\n",
        "        store.shut_down()\n",
        f"{EXIT}test_handlers_that_were_registered_before_the_first_use_find_the_store_open",
    ),
    Mutant(
        "nobody takes the announcement back at the end",
        "ferrokv/local/runtime/interpreter_exit.py",
        "                    store.storage.close()\n",
        "                    assert store\n",
        f"{EXIT}test_django_leaves_no_announcement_either",
    ),
    Mutant(
        "a caller who flushes is not waited for at the exit",
        "ferrokv/local/runtime/store.py",
        "        self._background.exclusively(partial(self._writer.exclusively, self._flush_for_next_opening, EXIT_SECONDS))\n",
        "        self._writer.exclusively(self._flush_for_next_opening, EXIT_SECONDS)\n",
        f"{EXIT}test_a_caller_who_flushes_is_waited_for_at_the_end",
    ),
    Mutant(
        "a caller who flushes is not waited for at closing",
        "ferrokv/local/runtime/background.py",
        "        with self._turn:  # also wait for a caller that helps\n",
        "        if True:\n",
        f"{EXIT}test_a_caller_who_flushes_is_waited_for_at_the_end",
    ),
    Mutant(
        "a fork does not wait for a closing",
        "ferrokv/local/storage/lock_files.py",
        "        with closing_descriptors():\n            fds,",
        "        if True:\n            fds,",
        "tests/processes/test_sharing_attacks.py::test_a_fork_between_the_last_descriptors_of_a_closing_leaves_the_child_no_locks",
    ),
    Mutant(
        "a release that found no room is forgotten",
        "ferrokv/local/runtime/owed_releases.py",
        "        if isinstance(request.error, (StoreFull, StoreBusy)):\n            self._late",
        "        if isinstance(request.error, StoreBusy) and not self._late:\n            self._late",
        "tests/commands/test_owed.py",
    ),
    Mutant(
        "what is owed is not paid",
        "ferrokv/local/runtime/directory_watch.py",
        "                self.each_second()\n",
        "                assert self.each_second\n",
        "tests/commands/test_owed.py::test_a_release_that_finds_no_room_is_done_once_there_is_some",
    ),
    Mutant(
        "without threads nobody flushes",
        "ferrokv/local/runtime/writer.py",
        "        # Order: after the turn, so that other threads can write meanwhile.\n        self._help_background()\n",
        "",
        f"{EXIT}test_without_threads_callers_flush_and_compact_and_hold_nothing_in_between",
    ),
    Mutant(
        "COMMIT may go back",
        "ferrokv/local/log/replica.py",
        "        if number == control.wal_word(position.number) and end == position.end:",
        "        if number == control.wal_word(position.number) and end <= position.end:",
        f"{CHANGES}test_a_page_that_goes_back_is_told_at_the_next_call",
    ),
    Mutant(
        "an opening shares a store whose directory is gone",
        "ferrokv/local/runtime/registry.py",
        "        if store is not None and _is_elsewhere(store):",
        "        if store is not None and store.is_replaced:",
        f"{CHANGES}test_a_new_opening_finds_what_is_there_while_old_handles_live",
    ),
    Mutant(
        "nobody looks at CURRENT",
        "ferrokv/local/opening/same_directory.py",
        "    if current.store_id != engine.store_id:",
        "    if current is None:",
        f"{CHANGES}test_a_part_of_another_store_that_is_put_over_a_living_one_is_noticed",
    ),
    Mutant(
        "a stale page is believed",
        "ferrokv/local/log/replica.py",
        "    if engine.distrusted == (words",
        "    if engine.distrusted is engine and (words",
        f"{CHANGES}test_a_stale_page_does_not_keep_readers_out",
    ),
    Mutant(
        "Django keeps the handle of a directory that is gone",
        "ferrokv/local/faces/reader.py",
        "            self._exchange(store, self._unopened)",
        "            assert store",
        f"{CHANGES}test_django_opens_the_new_directory_at_the_next_call",
    ),
    Mutant(
        "threads run where uWSGI forks its workers",
        "ferrokv/local/runtime/threads.py",
        "not (forks and",
        "not (not options and",
        "tests/processes/test_exit.py::test_no_threads_run_where_uwsgi_forks_its_workers",
    ),
]
