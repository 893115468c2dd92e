"""Seeded bugs in waiting and waking."""

from __future__ import annotations

from .mutant import Mutant

WAITED = "ferrokv/local/engine/wakeups.py"
WORDS = "tests/processes/test_waiting.py::test_no_order_of_the_words_loses_a_wake_up"
ENGINES = "tests/processes/test_waiting.py::test_a_push_reaches_its_waiter_in_every_order"
RULES = "tests/processes/test_waiting.py::"
LIVE = "tests/processes/test_waiting_live.py::"
FAILED = "tests/commands/test_failed_releases.py::"

WAITING_MUTANTS = [
    Mutant(
        "whoever waits looks at COMMIT before it says that it waits",
        WAITED,
        "    words[WAITED] = 1\n    with engine.lock:",
        "    has_news = words[COMMIT] != engine.seen\n    words[WAITED] = 1\n    if not has_news:",
        WORDS,
    ),
    Mutant(
        "sleepers compare what they load last",
        WAITED,
        "    if not has_news:\n        engine.storage",
        "    seen = words[WAKES]\n    if not has_news:\n        engine.storage",
        WORDS,
    ),
    Mutant(
        "WAITED is cleared after the waking",
        WAITED,
        "    words[WAITED] = 0\n    words[WAKES] = (words[WAKES] + 1) & WAKES_MASK\n"
        "    engine.storage.wake_for_word(words, WAKES)\n",
        "    words[WAKES] = (words[WAKES] + 1) & WAKES_MASK\n    engine.storage.wake_for_word(words, WAKES)\n"
        "    words[WAITED] = 0\n",
        WORDS,
    ),
    Mutant(
        "waking is not counted",
        WAITED,
        "    words[WAKES] = (words[WAKES] + 1) & WAKES_MASK\n",
        "",
        WORDS,
    ),
    Mutant(
        "who waits itself wakes nobody",
        WAITED,
        "        if not any(words[armed",
        "        if armed or any(words[armed",
        WORDS,
    ),
    Mutant(
        "a commit wakes no other process",
        "ferrokv/local/log/commit.py",
        "    words[COMMIT] = appended\n    wake_waiting(engine)\n",
        "    words[COMMIT] = appended\n",
        ENGINES,
    ),
    Mutant(
        "others are woken before COMMIT moves",
        "ferrokv/local/log/commit.py",
        "    words[COMMIT] = appended\n    wake_waiting(engine)\n",
        "    wake_waiting(engine)\n    words[COMMIT] = appended\n",
        ENGINES,
    ),
    Mutant(
        "a blocking pop looks before it is armed",
        "ferrokv/local/blocking.py",
        "                waiter.arm()\n                if self._query(keys.exists, names):\n",
        "                found = self._query(keys.exists, names)\n                waiter.arm()\n                if found:\n",
        f"{LIVE}test_what_comes_behind_the_look_and_before_the_sleep_is_not_missed",
    ),
    Mutant(
        "a blocking pop of a task looks before it is armed",
        "ferrokv/local/api.py",
        "                waiter.arm()\n                if await self._query(keys.exists, names):\n",
        "                found = await self._query(keys.exists, names)\n                waiter.arm()\n                if found:\n",
        f"{LIVE}test_what_comes_behind_the_look_of_a_task_is_not_missed",
    ),
    Mutant(
        "a push wakes everybody",
        WAITED,
        "            return size_of(value) if isinstance(value, Root) else 0\n",
        "            return len(self.armed)\n",
        f"{LIVE}test_many_who_wait_for_one_list_are_woken_in_turn",
    ),
    Mutant(
        "what a cancelled waiter was woken for is lost",
        WAITED,
        '(not took or waiter.kind == "locks") else []',
        'waiter.kind == "locks" else []',
        f"{LIVE}test_a_cancelled_waiter_passes_on_what_it_was_woken_for",
    ),
    Mutant(
        "who comes back empty-handed stands last",
        WAITED,
        "            if is_back:\n",
        "            if not is_back:\n",
        f"{RULES}test_who_comes_back_empty_handed_stands_first_again",
    ),
    Mutant(
        "nobody minds the clock of a lock any more",
        WAITED,
        '            next_to = [key for key in waiter.keys if waiter.kind == "locks" and self.is_first(waiter)]\n',
        "            next_to: list[bytes] = []\n",
        f"{RULES}test_one_looks_at_a_lock_and_the_next_when_that_one_has_it_or_goes",
    ),
    Mutant(
        "the death of a holder is not noticed by those who wait",
        "ferrokv/local/runtime/watch.py",
        "            waited.wake_heirs(dead if",
        "            waited.wake_heirs(set() if",
        f"{LIVE}test_the_death_of_a_holder_is_noticed",
    ),
    Mutant(
        "an undurable release wakes nobody",
        "ferrokv/local/runtime/writer.py",
        "        is_awaited = group.frees_lock and is_lock_waited_for(engine)\n",
        "        is_awaited = False\n",
        f"{LIVE}test_a_release_without_a_sync_wakes_too_and_costs_one_only_if_somebody_waits",
    ),
    Mutant(
        "every undurable release is synced",
        "ferrokv/local/runtime/writer.py",
        "        is_awaited = group.frees_lock and is_lock_waited_for(engine)\n",
        "        is_awaited = group.frees_lock\n",
        f"{LIVE}test_a_release_without_a_sync_wakes_too_and_costs_one_only_if_somebody_waits",
    ),
    Mutant(
        "a closed handle goes on waiting",
        "ferrokv/local/faces/reader.py",
        "        store.end_waiting(self)\n",
        "",
        f"{LIVE}test_closing_one_of_two_handles_ends_its_waitings_only",
    ),
    Mutant(
        "waiters of a closed event loop stay",
        WAITED,
        "            self._forget_channel(channel)\n        for kind",
        "            assert channel\n        for kind",
        f"{LIVE}test_an_event_loop_that_is_closed_while_somebody_waits_leaves_nothing",
    ),
    Mutant(
        "a lock forgets its token when its release fails",
        "ferrokv/local/faces/blocking/locks.py",
        "            self._local.owed = own\n",
        "",
        f"{FAILED}test_a_lock_whose_release_was_refused_is_released_by_a_second_call",
    ),
    Mutant(
        "a release that failed puts its token in the place of the next holder's",
        "ferrokv/local/faces/blocking/locks.py",
        "        is_first = own != self._owed\n",
        "        is_first = True\n",
        f"{FAILED}test_an_uncertain_release_that_is_repeated_leaves_the_next_holder_alone",
    ),
    Mutant(
        "a lock is released only together with what a deferral has gathered",
        "ferrokv/local/faces/blocking/locks.py",
        "        except StoreFull:\n",
        "        except LockNotOwnedError:\n",
        f"{FAILED}test_a_lock_is_released_on_a_disk_that_has_no_room_for_what_was_gathered_before",
    ),
    Mutant(
        "a lock waits for itself when its release has failed",
        "ferrokv/local/commands/locks.py",
        "found[0] != owed and not owners",
        "not owners",
        f"{FAILED}test_the_object_whose_release_failed_can_acquire_again",
    ),
]
