"""Seeded bugs in the adapters for aiocache and dogpile.cache, and in the example's cache of queries."""

from __future__ import annotations

from .mutant import Mutant

AIOCACHE = "tests/contrib/aiocache/test_aiocache.py::"
FAILED = "tests/commands/test_failed_releases.py::"
DOGPILE = "tests/contrib/dogpile/test_dogpile.py::"
QUERIES = "tests/contrib/test_query_cache.py::"
A = "ferrokv/contrib/aiocache/"
D = "ferrokv/contrib/dogpile/"
Q = "example_project/services/query_cache.py"
FIRST_USE = "tests/processes/test_first_use.py::"
CONTRACT = "tests/contract/"

ADAPTER_MUTANTS = [
    Mutant(
        "a RedLock walks through what another process holds",
        A + "cache.py",
        "        if is_lock(value, _conn):\n",
        "        if not db:\n",
        f"{AIOCACHE}test_a_lock_holds_across_processes",
    ),
    Mutant(
        "who waits for a RedLock waits longer than the lease",
        A + "redlock.py",
        "            left = deadline - time.monotonic()\n",
        "            left = deadline - time.monotonic() + 10\n",
        f"{AIOCACHE}test_who_waits_for_a_red_lock_waits_for_the_lease_at_most",
    ),
    Mutant(
        "who waits for a RedLock without a lease waits for ever",
        A + "redlock.py",
        "            if deadline is None:\n                raise ValueError(",
        "            if deadline == 0:\n                raise ValueError(",
        f"{AIOCACHE}test_without_a_lease_nobody_waits_for_ever",
    ),
    Mutant(
        "a colon in a namespace looks like its end",
        A + "keys.py",
        '.replace(":", "\\\\:")',
        "",
        f"{AIOCACHE}test_two_namespaces_never_share_a_stored_key",
    ),
    Mutant(
        "a key without namespace looks as if it had one",
        A + "keys.py",
        'return head + text if head or ":" not in text else ":" + text',
        "return head + text",
        f"{AIOCACHE}test_clearing_a_namespace_is_exact",
    ),
    Mutant(
        "a namespace is cleared although the key builder hides it",
        A + "keys.py",
        "    if head == without or not",
        "    if not",
        f"{AIOCACHE}test_key_builders",
    ),
    Mutant(
        "TTLs count in seconds",
        "ferrokv/contrib/shared.py",
        "max(1, round(max(seconds, 0) * 1000))",
        "max(1, round(max(seconds, 0)) * 1000)",
        f"{AIOCACHE}test_float_ttls_count_to_the_millisecond",
    ),
    Mutant(
        "a holder in another event loop takes the event along",
        A + "redlock.py",
        "*(default or (asyncio.Event(),))",
        "*default",
        f"{AIOCACHE}test_the_holder_in_another_loop_may_take_the_event_along",
    ),
    Mutant(
        "who waited for an opening that failed opens again",
        "ferrokv/local/faces/async_unopened.py",
        "if state.error is not None and state.failures != failures:",
        "if False:",
        f"{AIOCACHE}test_who_waited_for_an_opening_that_failed_is_told",
    ),
    Mutant(
        "each first use opens the store",
        "ferrokv/local/faces/async_unopened.py",
        "if state is None or state.loop is not loop:",
        "if True:",
        f"{AIOCACHE}test_many_first_uses_open_the_store_once",
    ),
    Mutant(
        "compare-and-set does not compare",
        A + "cache.py",
        "        if _cas_token is not None:\n",
        "        if _cas_token == b'':\n",
        f"{AIOCACHE}test_locks_in_one_loop",
    ),
    Mutant(
        "a mutex holds in its process only",
        D + "backend.py",
        "        if not self.distributed_lock:\n            return None\n",
        "        if self.distributed_lock:\n            return None\n",
        f"{DOGPILE}test_eight_processes_create_each_value_once",
    ),
    Mutant(
        "taking a mutex is synced",
        D + "mutex.py",
        "self._locks.within(self._locks.deferral()).lock(",
        "self._locks.lock(",
        f"{DOGPILE}test_batches_cost_one_sync_and_a_creation_too",
    ),
    Mutant(
        "whether a mutex is locked is read from what is durable",
        "ferrokv/local/faces/blocking/deferred.py",
        "        if not reads_appended(command) and ",
        "        if ",
        f"{DOGPILE}test_a_mutex_may_be_released_by_another_thread",
    ),
    Mutant(
        "a creation fails when its mutex was lost to the timeout",
        D + "mutex.py",
        'if self._options["timeout"] is None:',
        "if self._options:",
        f"{DOGPILE}test_a_mutex_that_was_lost_to_its_timeout",
    ),
    Mutant(
        "a batch does not expire",
        D + "backend.py",
        "(stored_key(key), value, self._ttl_ms) for",
        "(stored_key(key), value, None) for",
        f"{DOGPILE}test_values_expire_natively",
    ),
    Mutant(
        "an old view of the database is cached as new",
        Q,
        "begun: Begun | None = session.info.get(BEGUN)",
        "begun: Begun | None = None",
        f"{QUERIES}test_a_transaction_that_began_before_a_change_caches_nothing_new",
    ),
    Mutant(
        "the values of a query are not part of its key",
        Q,
        "(str(compiled), values, shape)",
        "(str(compiled), shape)",
        f"{QUERIES}test_every_way_to_give_parameters_is_part_of_the_key",
    ),
    Mutant(
        "databases share answers",
        Q,
        "(engine.url.render_as_string(), ",
        "(",
        f"{QUERIES}test_databases_do_not_share_answers",
    ),
    Mutant(
        "what a session has loaded rides along",
        Q,
        "            return _ask_apart(state, session.connection(bind_arguments=state.bind_arguments))",
        "            return state.invoke_statement().freeze()",
        f"{QUERIES}test_what_a_session_has_loaded_does_not_ride_along",
    ),
    Mutant(
        "tables that are only joined do not count",
        Q,
        "visitors.iterate(_complete(compiled))",
        "visitors.iterate(statement)",
        f"{QUERIES}test_tables_that_are_only_joined_count",
    ),
    Mutant(
        "a cancelled task keeps the mutex that it was about to get",
        "example_project/services/waiting.py",
        "        taking.add_done_callback(lambda done: _put_back(mutex, done))\n",
        "",
        f"{QUERIES}test_cancelled_queries_leave_no_mutex_behind",
    ),
    Mutant(
        "a forked child uses the mutex of its parent",
        D + "mutex.py",
        "        pid = os.getpid()",
        "        pid = 0",
        f"{DOGPILE}test_mutexes_of_before_a_fork_serve_the_child",
    ),
    Mutant(
        "a cancelled RedLock stays until its lease is over",
        A + "redlock.py",
        "        task = asyncio.ensure_future(db.compare_and_delete(key, value))",
        "        task = asyncio.ensure_future(db.compare_and_delete(key, b''))",
        f"{AIOCACHE}test_a_lock_whose_taker_was_cancelled_is_free",
    ),
    Mutant(
        "a savepoint counts as a commit",
        Q,
        "        if session.in_nested_transaction():\n",
        "        if session is None:\n",
        f"{QUERIES}test_a_session_sees_its_own_changes_and_keeps_them_to_itself",
    ),
    Mutant(
        "a session does not see its own changes",
        Q,
        "        if session.new or session.dirty or session.deleted or session.info.get(CHANGED):\n",
        "        if session.new:\n",
        f"{QUERIES}test_a_session_sees_its_own_changes_and_keeps_them_to_itself",
    ),
    Mutant(
        "the tables of eager loads do not count",
        Q,
        "        tables |= {table for kind in option.also for table in _tables_of(inspect(kind))}\n",
        "",
        f"{QUERIES}test_relationships_and_names",
    ),
    Mutant(
        "a mutex whose release failed is forgotten with its object",
        D + "backend.py",
        "self._owing.get(name) or ",
        "",
        f"{FAILED}test_dogpile_takes_a_mutex_again_that_it_could_not_release",
    ),
    Mutant(
        "a RedLock whose taking is uncertain stays",
        A + "redlock.py",
        "(asyncio.CancelledError, StoreUncertain)",
        "asyncio.CancelledError",
        f"{FAILED}test_a_red_lock_whose_taking_is_uncertain_is_taken_back",
    ),
    Mutant(
        "a handle that was closed while it opened keeps the store",
        "ferrokv/local/faces/async_unopened.py",
        "                if not self._install(store):",
        "                if not (self._install(store) or self):",
        f"{FIRST_USE}test_closing_while_opening_keeps_no_store",
    ),
    Mutant(
        "a store that was given up while it opened stays in the handle",
        "ferrokv/local/faces/unopened.py",
        "if handle is None or _is_given_up(store):",
        "if handle is None:",
        f"{FIRST_USE}test_a_store_that_is_given_up_while_it_opens_is_opened_again",
    ),
    Mutant(
        "the first use sets no quota",
        "ferrokv/local/faces/unopened.py",
        "        if wanted is UNCHANGED:",
        "        if wanted is not None:",
        f"{FIRST_USE}test_the_quota_is_set_by_the_first_use_and_only_if_it_differs",
    ),
    Mutant(
        "a deferral takes every read to be apart from its writes",
        "ferrokv/local/runtime/deferrals/ledger.py",
        "all(self.find(keyspace, key) is UNTOUCHED for key in keys)",
        "all(True for _ in keys)",
        f"{CONTRACT}test_commands.py::test_a_deferral_leaves_what_it_has_not_touched_to_the_usual_way",
    ),
    Mutant(
        "a command declares one of its two keys",
        "ferrokv/contract/commands.py",
        "\nrename src dst\n",
        "\nrename src\n",
        f"{CONTRACT}test_commands.py::test_a_command_touches_the_keys_that_it_declares[rename]",
    ),
    Mutant(
        "a URL's options are ignored",
        "ferrokv/connecting.py",
        "    return unquote(parts.path), {**options, **given}",
        "    return unquote(parts.path), {**given}",
        f"{CONTRACT}test_connecting.py::test_a_url_carries_options",
    ),
]
