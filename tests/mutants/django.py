"""Seeded bugs in deferrals and in the Django adapter."""

from __future__ import annotations

from .mutant import Mutant

DEFERRAL = "tests/commands/test_deferral.py::"
ATTACKS = "tests/contrib/django/test_django_attacks.py::"
CACHE = "tests/contrib/django/test_django_cache.py::"
FAILURES = "tests/contrib/django/test_django_failures.py::"
PIPELINED = "tests/contrib/django/test_django_pipelined.py::"
SESSIONS = "tests/contrib/django/test_django_sessions.py::"
TAGS = "tests/contrib/django/test_django_tags.py::"
VALUES = "tests/contrib/django/test_django_values.py::"
D = "ferrokv/contrib/django/"
CODECS = "ferrokv/contrib/codecs/"

DJANGO_MUTANTS = [
    Mutant(
        "settling does not wait for a sync",
        "ferrokv/local/runtime/deferrals/driver.py",
        "request.wants_sync = wants_sync or self._is_closed",
        "request.wants_sync = False",
        f"{DEFERRAL}test_ten_writes_and_their_answers_cost_one_sync",
    ),
    Mutant(
        "every answer in a deferral is synced",
        "ferrokv/local/runtime/writer.py",
        "if not wants_sync(served) and not is_awaited and may_stay_unsynced(engine):",
        "if not served:",
        f"{DEFERRAL}test_ten_writes_and_their_answers_cost_one_sync",
    ),
    Mutant(
        "a deferral may stay unsynced without bound",
        "ferrokv/local/log/commit.py",
        "    return near and commits < UNSYNCED_COMMITS_MAX",
        "    return near or commits >= 0",
        f"{DEFERRAL}test_much_is_appended_on_the_way_and_synced_now_and_then",
    ),
    Mutant(
        "a deferral believes what it knows although others have written since",
        "ferrokv/local/runtime/deferrals/ledger.py",
        "            if self._commit != self._log()[0]:\n                return UNKNOWN\n",
        "",
        "tests/engine/test_ledger.py",
    ),
    Mutant(
        "a forked child settles for its parent",
        "ferrokv/local/runtime/deferrals/driver.py",
        "        return os.getpid() != self._pid",
        "        return os.getpid() == 0",
        f"{DEFERRAL}test_a_forked_child_has_nothing_to_settle",
    ),
    Mutant(
        "a lock is let go before what was written under it is appended",
        D + "blocking/appending_lock.py",
        "                pipelined.append()",
        "                assert pipelined",
        f"{PIPELINED}test_clear_keys_and_locks_inside_a_block",
    ),
    Mutant(
        "a block inside another does not wait at its end",
        D + "pipelining.py",
        "            if root is not None:\n                root.settle(None if root is self else self._path)",
        "            if root is self:\n                root.settle()",
        f"{PIPELINED}test_nested_blocks_are_durable_at_their_ends",
    ),
    Mutant(
        "what fails in a block is never raised",
        D + "pipelining.py",
        "        raise failures[0]",
        "        failures.clear()",
        f"{PIPELINED}test_a_response_does_not_leave_when_its_writes_are_lost",
    ),
    Mutant(
        "who lets go of a lock takes the token of the next one away",
        "ferrokv/local/faces/blocking/locks.py",
        "                self._local.token = None\n            released = self._free(own)\n",
        "                pass\n            released = self._free(own)\n            self._local.token = None\n",
        "tests/contrib/dogpile/test_dogpile.py::test_threads_that_share_a_mutex_take_it_one_after_the_other",
    ),
    Mutant(
        "a lock whose release was interrupted stays",
        "ferrokv/local/faces/blocking/locks.py",
        "Release the lock anyway.\n            self._asking._write_unawaited(locks.release, self._key, own)\n",
        "It stays.\n",
        f"{DEFERRAL}test_a_lock_whose_release_was_interrupted_is_free",
    ),
    Mutant(
        "a block waits for what it wrote only, not for what it was told",
        "ferrokv/local/runtime/deferrals/ledger.py",
        "        self._end = end\n",
        "        self._end = end if outcome.changes else self._end\n",
        f"{ATTACKS}test_a_block_that_was_told_of_an_undurable_add_waits_for_it",
    ),
    Mutant(
        "a deferral believes what it knows although its own command saw that others wrote over it",
        "ferrokv/local/runtime/deferrals/ledger.py",
        "            if self._known[key][:2] != outcome.seen[key][:2]:\n",
        "            if self._known[key][:2] != self._known[key][:2]:\n",
        "tests/engine/test_ledger.py",
    ),
    Mutant(
        "what a signal handler interrupts is lost in silence",
        "ferrokv/local/runtime/deferrals/ledger.py",
        "            self._keep(asked, StoreUncertain(INTERRUPTED))\n",
        "            assert asked\n",
        f"{DEFERRAL}test_what_a_signal_handler_interrupts_is_never_lost_in_silence",
    ),
    Mutant(
        "others wait for ever for a write that a signal handler interrupted",
        "ferrokv/local/runtime/deferrals/driver.py",
        "                finally:\n                    self._stop_leading()\n",
        "                finally:\n                    sent = sent\n",
        f"{DEFERRAL}test_what_a_signal_handler_interrupts_is_never_lost_in_silence",
    ),
    Mutant(
        "a forked child writes into the block of its parent",
        D + "pipelining.py",
        "        return self._is_open and os.getpid() == self._pid",
        "        return self._is_open",
        f"{ATTACKS}test_a_child_that_was_forked_inside_a_block_writes_for_itself",
    ),
    Mutant(
        "writes of others overtake those of the thread that leads",
        "ferrokv/local/runtime/deferrals/driver.py",
        "                if self._leads is not None:\n                    self._behind.append(sent)\n                elif ",
        "                if ",
        f"{ATTACKS}test_a_second_thread_does_not_overtake_the_first",
    ),
    Mutant(
        "a value that does not load stands in the way for ever",
        D + "blocking/values.py",
        "        return self._value(stored) is not MISSING\n",
        "        return stored is not None and self._is_named(stored, {})\n",
        f"{ATTACKS}test_a_value_that_can_not_be_loaded_any_more_is_replaced",
    ),
    Mutant(
        "a pickle is loaded before its seal is looked at",
        CODECS + "values.py",
        "            if compare_digest(state.digest(), stored[_HEAD:_SEALED_HEAD]):",
        "            if state.digest():",
        f"{CACHE}test_a_value_without_a_valid_seal_is_never_unpickled",
    ),
    Mutant(
        "the seal does not cover serializer and compressor",
        CODECS + "values.py",
        "blake2b(head[1:], key=key, digest_size=_SEAL_BYTES)",
        "blake2b(b'', key=key, digest_size=_SEAL_BYTES)",
        f"{VALUES}test_the_bytes_of_values_are_those_of_the_format_page",
    ),
    Mutant(
        "zlib inflates without bound",
        CODECS + "compressors.py",
        "inflater.decompress(data, INFLATED_BYTES_MAX)",
        "inflater.decompress(data)",
        f"{VALUES}test_nothing_is_inflated_beyond_the_largest_value",
    ),
    Mutant(
        "tags are looked at after the computation",
        D + "blocking/herd.py",
        "        self._keep(cache._encode(value), guard)",
        "        self._keep(cache._encode(value), cache._guard(wanted.tags))",
        f"{TAGS}test_an_invalidation_during_a_computation_outlives_it",
    ),
    Mutant(
        "clearing does not change the epoch",
        D + "blocking/contract.py",
        "tags.set(EPOCH, new_token())",
        "tags.set(EPOCH, bytes(8))",
        f"{TAGS}test_clearing_forgets_the_tags_and_revives_nothing",
    ),
    Mutant(
        "an ended value stands in the way of add",
        D + "blocking/values.py",
        "            if self._is_live(found):\n                return False\n",
        "            if found is not None:\n                return False\n",
        f"{TAGS}test_an_invalidated_value_is_missing_for_every_method",
    ),
    Mutant(
        "a stale value counts as fresh",
        D + "blocking/values.py",
        "return MISSING if inner is None or is_stale else",
        "return MISSING if inner is None else",
        f"{TAGS}test_a_stale_value_is_missing_except_for_those_who_ask_for_it",
    ),
    Mutant(
        "counting an enveloped integer loses its TTL",
        D + "base.py",
        "made), keepttl=True)",
        "made))",
        f"{TAGS}test_tagged_integers_count_and_keep_tags_and_timeout",
    ),
    Mutant(
        "saving a session that is gone brings it back",
        D + "session_steps.py",
        "        if bool(tx.exists(self.name)) == self.must_create:\n            return False\n",
        "",
        f"{SESSIONS}test_a_logout_everywhere_beats_every_save_that_comes_later",
    ),
    Mutant(
        "a logout leaves the session in the index",
        D + "session_steps.py",
        "            tx.keyspace(USERS_KEYSPACE).zrem(user, name)",
        "            tx.keyspace(USERS_KEYSPACE)",
        f"{SESSIONS}test_the_index_follows_logout_cycling_and_a_change_of_user",
    ),
    Mutant(
        "a made-up session key is adopted",
        D + "session_steps.py",
        "            self._session_key = None  # never adopt a key that somebody made up\n",
        "",
        f"{SESSIONS}test_a_made_up_session_key_is_never_adopted",
    ),
    Mutant(
        "a failure is ignored although nobody asked for that",
        D + "backend.py",
        "        if self.problem is None and self._ignores_failures:\n",
        "        if True:\n",
        f"{FAILURES}test_a_directory_that_can_not_be_opened",
    ),
    Mutant(
        "a session keeps the key that could not be saved",
        "ferrokv/contrib/django/blocking/sessions.py",
        "                self._session_key = old_key\n",
        "",
        "tests/commands/test_failed_releases.py::test_a_session_that_could_not_be_made_is_made_by_the_next_save",
    ),
]
