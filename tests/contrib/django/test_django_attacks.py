"""What a review found by attacking blocks, herds and values: each of these went wrong once."""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.backends.base import UpdateError
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings

from ferrokv import BlockingFerroKV, DataError, FerroKVError, StoreBusy, StoreFailed, StoreUncertain
from ferrokv.contrib.django.pipelining import CURRENT
from ferrokv.contrib.django.sessions import SessionStore
from ferrokv.local.runtime.store import Store
from ferrokv.local.storage.local import LocalStorage
from ferrokv.local.storage.requests import Sync, WriteAt

from ...support.django_setup import BACKEND, close_store, configured


@pytest.fixture
def cache(store_path: Path) -> Iterator[Any]:
    aliases: dict[str, dict[str, Any]] = {
        "other": {"KEYSPACE": "other"},
        "easy": {"KEYSPACE": "easy", "IGNORE_EXCEPTIONS": True},
        "same": {"IGNORE_EXCEPTIONS": True},
        "zlib": {"KEYSPACE": "zlib", "COMPRESSOR": "zlib"},
    }
    with configured(store_path, aliases) as made:
        made.set("opened", 1)
        yield made


def outside(work: Callable[[], Any]) -> Any:
    """What `work` answers in a thread that is in no block."""
    answers: list[Any] = []
    thread = threading.Thread(target=contextvars.Context().run, args=(lambda: answers.append(work()),))
    thread.start()
    thread.join()
    return answers[0]


def sharing(work: Callable[[], Any]) -> threading.Thread:
    """A thread that is part of the current block, not yet started."""
    return threading.Thread(target=contextvars.copy_context().run, args=(work,))


class Undecided:
    """While somebody else's block has done `work` and not ended."""

    def __init__(self, work: Callable[[Any], None]) -> None:
        self._work = work
        self._did, self._may_end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=contextvars.Context().run, args=(self._run,))

    def _run(self) -> None:
        with caches["default"].pipelined():
            self._work(caches["default"])
            self._did.set()
            self._may_end.wait(10)

    def __enter__(self) -> None:
        self._thread.start()
        assert self._did.wait(10)

    def __exit__(self, *error: object) -> None:
        self._may_end.set()
        self._thread.join()


# -- answers that tell of what others have only appended ---------------------------------------------------------


def test_a_block_that_was_told_of_an_undurable_add_waits_for_it(cache: Any) -> None:
    with Undecided(lambda theirs: theirs.add("job", "A")):
        with cache.pipelined():
            assert cache.add("job", "B") is False
            assert cache.get("job") == "A"
        assert cache.get("job") == "A"


def test_a_block_that_was_told_of_an_undurable_delete_waits_for_it(cache: Any) -> None:
    cache.set("n", 5)
    with Undecided(lambda theirs: theirs.delete("n")):
        with cache.pipelined(), pytest.raises(ValueError, match="not found"):
            cache.incr("n")
        assert cache.get("n") is None


def test_a_save_that_fails_for_an_undurable_logout_waits_for_it(cache: Any) -> None:
    session = SessionStore()
    session["a"] = 1
    session.save()
    key = session.session_key
    with Undecided(lambda theirs: SessionStore(key).delete()):
        with cache.pipelined():
            mine = SessionStore(key)
            mine["b"] = 1
            with pytest.raises(UpdateError):
                mine.save()
        assert SessionStore().exists(key) is False


def test_what_a_block_read_is_still_there_behind_it(cache: Any) -> None:
    cache.set("x", 0)
    with cache.pipelined():
        cache.incr("x")
        outside(lambda: caches["default"].set("sync", 1))
        cache.incr("opened")
        with Undecided(lambda theirs: theirs.incr("x")):
            seen = max(cache.get("x"), cache.get_many(["x"])["x"])
            cache.set("y", 1)
    assert cache.get("x") >= seen


# -- one order for all who share a block -------------------------------------------------------------------------


async def test_a_cancelled_caller_does_not_hide_what_comes_later(cache: Any) -> None:
    async with cache.pipelined():
        await cache.aset("x", 1)
        task = asyncio.create_task(cache.aincr("y", ignore_key_check=True))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await cache.adelete("x") is True
        assert await cache.aget("x") is None
        assert await cache.aget_many(["x"]) == {}


def test_two_threads_of_a_block_see_their_own_writes(cache: Any) -> None:
    for i in range(100):
        answers: list[Any] = []

        def delete(answers: list[Any] = answers) -> None:
            caches["default"].delete("x")
            answers.append(caches["default"].get("x"))

        with cache.pipelined():
            cache.set("x", i)
            thread = sharing(delete)
            thread.start()
            cache.incr("n", ignore_key_check=True)
            thread.join()
        assert answers == [None]


def test_a_second_thread_does_not_overtake_the_first(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    serve = Store.serve
    inside, may_go = threading.Event(), threading.Event()

    def slow(self: Store, request: Any) -> Any:
        if not request.wants_sync and threading.current_thread() is threading.main_thread():
            inside.set()
            may_go.wait(1)
        return serve(self, request)

    def work() -> None:
        inside.wait()
        caches["default"].set("x", 2)
        may_go.set()
        caches["default"].incr("m", ignore_key_check=True)

    monkeypatch.setattr(Store, "serve", slow)
    with cache.pipelined():
        cache.set("x", 1)
        thread = sharing(work)
        thread.start()
        cache.incr("n", ignore_key_check=True)
        thread.join()
        assert cache.get("x") == 2
    assert cache.get("x") == 2


def test_caches_of_one_keyspace_write_in_the_order_of_the_calls(cache: Any) -> None:
    with cache.pipelined():
        caches["same"].set("x", 1)
        cache.set("x", 2)
        assert (caches["same"].get("x"), cache.get("x")) == (2, 2)
    assert cache.get("x") == 2


# -- the end of a block ------------------------------------------------------------------------------------------


def test_a_write_that_began_inside_and_ends_behind_the_block_is_durable(
    cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(cache)
    put = kind._put
    began, may_go = threading.Event(), threading.Event()

    def slow(self: Any, *args: Any) -> None:
        began.set()
        may_go.wait(10)
        put(self, *args)

    with cache.pipelined():
        monkeypatch.setattr(kind, "_put", slow)
        thread = sharing(lambda: caches["default"].set("late", 1))
        thread.start()
        began.wait(10)
    may_go.set()
    thread.join()
    assert cache.get("late") == 1


def test_the_last_of_many_writes_around_the_end_of_a_block_counts(cache: Any) -> None:
    for _ in range(30):
        cache.clear()
        last: dict[str, int] = {}
        stop = threading.Event()

        def work(name: str, last: dict[str, int] = last, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                last[name] = last.get(name, 0) + 1
                caches["default"].set(name, last[name])

        with cache.pipelined():
            threads = [sharing(lambda name=name: work(name)) for name in "ab"]  # type: ignore[misc]
            for thread in threads:
                thread.start()
            while len(last) < 2:
                time.sleep(0.001)
            time.sleep(0.003)
        stop.set()
        for thread in threads:
            thread.join()
        assert outside(lambda: caches["default"].get_many("ab")) == last


async def test_who_is_cancelled_at_the_end_leaves_all_stores_to_be_written(cache: Any, tmp_path: Path) -> None:
    from django.conf import settings

    second = {"BACKEND": BACKEND, "LOCATION": tmp_path / "second"}
    try:
        with override_settings(CACHES={**settings.CACHES, "second": second}):
            await caches["second"].aset("warm", 1)
            ending = asyncio.Event()

            async def request() -> None:
                async with cache.pipelined():
                    for alias in ("default", "easy", "second"):
                        await caches[alias].aset("x", 1)
                    ending.set()

            task = asyncio.create_task(request())
            await ending.wait()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for alias in ("default", "easy", "second"):
                await caches[alias].aset("behind", 1)
                assert await caches[alias].aget("x") == 1
    finally:
        await asyncio.to_thread(close_store, tmp_path / "second")


def test_a_block_is_entered_once(cache: Any) -> None:
    block = cache.pipelined()
    with block, pytest.raises(RuntimeError, match="entered once"):
        block.__enter__()
    with pytest.raises(RuntimeError, match="entered once"):
        block.__enter__()
    assert CURRENT.get() is None


def _write_in_child() -> None:
    caches["default"].set("child", 1)
    caches["default"].incr("child")


def test_a_child_that_was_forked_inside_a_block_writes_for_itself(cache: Any) -> None:
    with cache.pipelined():
        cache.set("parent", 1)
        child = multiprocessing.get_context("fork").Process(target=_write_in_child)
        child.start()
        child.join()
        assert child.exitcode == 0
        assert outside(lambda: caches["default"].get("child")) == 2
    assert cache.get("parent") == 1


def test_a_block_that_a_child_inherits_ends_there_without_a_word(cache: Any) -> None:
    block = cache.pipelined()
    with block:
        cache.set("parent", 1)
        pid = os.fork()
        if pid == 0:  # pragma: no cover - in the child
            code = 1
            try:
                block.__exit__(None, None, None)
                code = 0 if caches["default"].get("parent") is None else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert cache.get("parent") == 1


# -- failures ----------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[type, BaseException]:
    """What the storage raises for each kind of request."""
    errors: dict[type, BaseException] = {}
    perform = LocalStorage.perform

    def failing_perform(self: LocalStorage, request: Any) -> Any:
        if type(request) in errors:
            raise errors[type(request)]
        return perform(self, request)

    monkeypatch.setattr(LocalStorage, "perform", failing_perform)
    return errors


def test_a_forgiving_cache_does_not_swallow_what_others_lost(cache: Any, failing: dict[type, BaseException]) -> None:
    def work() -> None:
        with cache.pipelined():
            cache.set("important", 1)
            failing[WriteAt] = OSError(28, "No space left on device")
            assert caches["easy"].keys("*") == []
            failing.clear()

    with pytest.raises(FerroKVError):
        work()
    assert cache.get("important") is None


def test_a_failure_of_one_store_does_not_follow_the_others_through_a_block(
    cache: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.conf import settings

    perform = LocalStorage.perform
    broken: list[Any] = []

    def failing(self: LocalStorage, request: Any) -> Any:
        if isinstance(request, WriteAt) and self in broken:
            raise OSError(28, "No space left on device")
        return perform(self, request)

    def work() -> None:
        with cache.pipelined():
            cache.set("a", 1)
            broken.append(cache._location.blocking._store.storage)
            with pytest.raises(FerroKVError):
                cache.get_or_set("b", lambda: 1)
            broken.clear()
            assert caches["second"].get_or_set("c", lambda: 2) == 2
            assert caches["second"].keys("*") == ["c", "warm"]

    monkeypatch.setattr(LocalStorage, "perform", failing)
    second = {"BACKEND": BACKEND, "LOCATION": tmp_path / "second"}
    try:
        with override_settings(CACHES={**settings.CACHES, "second": second}):
            caches["second"].set("warm", 1)
            with pytest.raises(FerroKVError):
                work()
            assert caches["second"].get("c") == 2
    finally:
        close_store(tmp_path / "second")


def test_keys_settles_only_its_own_store(cache: Any, tmp_path: Path, failing: dict[type, BaseException]) -> None:
    from django.conf import settings

    second = {"BACKEND": BACKEND, "LOCATION": tmp_path / "second"}
    try:
        with override_settings(CACHES={**settings.CACHES, "second": second}):
            caches["second"].set("warm", 1)
            with cache.pipelined():
                caches["second"].set("x", 1)
                assert cache.keys("open*") == ["opened"]
                assert outside(lambda: caches["second"].get("x")) is None
            assert caches["second"].get("x") == 1
    finally:
        close_store(tmp_path / "second")


def test_an_interrupted_write_is_told_at_the_end(cache: Any, failing: dict[type, BaseException]) -> None:
    def work() -> None:
        with cache.pipelined():
            cache.set("x", 1)
            failing[WriteAt] = SystemExit(1)
            with pytest.raises(SystemExit):
                cache.incr("n", ignore_key_check=True)
            failing.clear()

    with pytest.raises((StoreUncertain, StoreFailed)):
        work()


def test_a_default_that_raises_is_run_once_and_its_error_is_no_failure_of_the_cache(cache: Any) -> None:
    runs: list[int] = []

    def default() -> None:
        runs.append(1)
        raise StoreBusy("of something else")

    async def adefault() -> None:
        default()

    for call in (
        lambda: caches["easy"].get_or_set("k", default),
        lambda: asyncio.run(caches["easy"].aget_or_set("k", adefault)),
    ):
        with pytest.raises(StoreBusy, match="something else"):
            call()
        assert runs == [1]
        runs.clear()


def test_versions_move_although_the_store_fails(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy:
        def __getattr__(self, name: str) -> Any:
            raise StoreBusy("held")

    easy = caches["easy"]
    monkeypatch.setattr(easy._location, "blocking", Busy())
    assert (easy.incr_version("k"), easy.decr_version("k", 2, version=7)) == (2, 5)


def test_the_clearing_command_tells_of_a_failure(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    caches["easy"].set("a", 1)

    def busy(self: Any, *args: Any) -> None:
        raise StoreBusy("held by a stopped process")

    monkeypatch.setattr("builtins.input", lambda text: (_ for _ in ()).throw(EOFError()))
    with pytest.raises(CommandError, match="nobody to ask"):
        call_command("ferrokv_clear", alias="easy")
    monkeypatch.setattr(BlockingFerroKV, "transaction", busy)
    with pytest.raises(CommandError, match="busy"):
        call_command("ferrokv_clear", "--noinput", alias="easy")


def test_a_quota_that_could_not_be_set_is_set_by_the_next_call(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(self: Any, *args: Any) -> None:
        raise StoreBusy("held")

    with configured(store_path, MAX_BYTES=1 << 20, IGNORE_EXCEPTIONS=True) as cache:
        with monkeypatch.context() as patched:
            patched.setattr("ferrokv.local.faces.unopened.OpenArguments._set_quota", busy)
            assert cache.add("a", 1) is False
        assert cache.add("a", 1) is True
        assert cache._location.blocking.stats().quotas == {"cache": 1 << 20}


# -- values ------------------------------------------------------------------------------------------------------


class Gone:
    """A class that a deployment takes away."""


def test_a_value_that_can_not_be_loaded_any_more_is_replaced(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("get_or_set", "add", "many"):
        cache.set(key, Gone(), None)
    monkeypatch.delattr(f"{__name__}.Gone")
    runs: list[int] = []
    for _ in range(3):
        assert cache.get_or_set("get_or_set", lambda: runs.append(1) or "new") == "new"
    assert runs == [1]
    assert cache.has_key("add") is False
    with pytest.raises(ValueError, match="not found"):
        cache.incr("add")
    assert cache.incr("many", 5, ignore_key_check=True) == 5
    assert cache.add("add", "new") is True


def test_what_could_not_be_read_again_is_not_written(cache: Any) -> None:
    with pytest.raises(DataError, match="before compression"):
        caches["zlib"].set("big", "a" * (70 << 20))
    assert caches["zlib"].get("big") is None


def test_values_outlive_a_change_of_the_compressor(cache: Any) -> None:
    caches["zlib"].set("k", "y" * 5000)
    for option in ({}, {"COMPRESSOR": "lz4"}, {"COMPRESSOR": "zstd"}):
        plain = type(cache)(cache._location.path, {"OPTIONS": {"KEYSPACE": "zlib", **option}})
        assert plain.get("k") == "y" * 5000


def test_counting_on_a_value_without_a_valid_seal_is_counting_on_nothing(cache: Any) -> None:
    db = cache._location.blocking
    for key in ("a", "b"):
        cache.set(key, "text")
        stored = db.get(cache._key(key, None))
        db.set(cache._key(key, None), stored[:-1] + bytes((stored[-1] ^ 1,)))
    with pytest.raises(ValueError, match="not found"):
        cache.incr("a")
    assert cache.incr("b", 3, ignore_key_check=True) == 3
    cache.set("c", "text")
    with pytest.raises(TypeError):
        cache.incr("c")


@pytest.mark.parametrize(
    ("timeout", "value"), [(1e18, 1), (10**30, 1), (float("inf"), 1), (float("-inf"), None), (-(10**30), None)]
)
@pytest.mark.usefixtures("standing_clock")
def test_timeouts_out_of_this_world(cache: Any, timeout: float, value: Any) -> None:
    cache.set("k", 1, timeout)
    assert cache.get("k") == value
    cache.set_many({"k": 1}, timeout)
    assert cache.get("k") == value
    assert cache.get_or_set("j", lambda: 1, 5, stale_ttl=abs(timeout)) == 1
    assert cache.ttl("j") == 5
    with pytest.raises(ValueError, match="NaN"):
        cache.set("k", 1, float("nan"))


# -- herds -------------------------------------------------------------------------------------------------------


def test_a_miss_costs_one_sync_and_the_default_writes_for_itself(cache: Any, syncs: list[Sync]) -> None:
    cache.get_or_set("warm", lambda: 1, 1, stale_ttl=1, tags=["t"])
    syncs.clear()
    assert cache.get_or_set("k", lambda: 1, 0.01, stale_ttl=100) == 1
    assert len(syncs) == 1
    time.sleep(0.02)
    assert cache.get_or_set("k", lambda: 2, 100, stale_ttl=100) == 2
    assert len(syncs) == 2
    with cache.pipelined():
        assert cache.get_or_set("l", lambda: 1) == 1
    assert len(syncs) == 3

    def default() -> int:
        caches["default"].set("progress", 50)
        assert outside(lambda: caches["default"].get("progress")) == 50
        return 3

    assert cache.get_or_set("m", default) == 3


def test_a_lock_that_could_not_be_freed_does_not_keep_a_key_from_being_computed_for_ever(
    cache: Any, failing: dict[type, BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def default() -> int:
        failing[WriteAt] = OSError(28, "No space left on device")
        return 1

    outside(lambda: caches["default"].get_or_set("other", lambda: caches["other"].set("sync", 1)))

    def default_behind_a_sync() -> int:
        outside(lambda: caches["other"].set("sync", 2))  # the lock is durable
        return default()

    with pytest.raises(FerroKVError):
        cache.get_or_set("k", default_behind_a_sync)
    failing.clear()
    locks = cache._locks_location.blocking
    assert locks.exists(cache._key("k", None))
    assert locks.pexpire(cache._key("k", None), 500)
    assert cache.get_or_set("k", lambda: 2) == 2
    assert cache.get_or_set("k", lambda: 3) == 2
    assert not locks.exists(cache._key("k", None)), "it is free again"


@pytest.mark.usefixtures("standing_clock")
def test_deleting_and_touching_load_nothing(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.set_many({"a": {"x": 1}, "b": {"x": 1}})
    monkeypatch.setattr(cache._codec, "_loads", lambda data: pytest.fail("loaded"))
    assert cache.touch("a", 50) is True
    assert cache.ttl("a") == 50
    assert cache.delete("a") is True
    assert cache.delete("a") is False
    assert cache.set("b", 1, xx=True) is True


def test_the_same_key_of_two_caches_is_computed_once_each(cache: Any) -> None:
    runs: list[int] = []

    def slow() -> int:
        runs.append(1)
        time.sleep(0.05)
        return 1

    nested = threading.Thread(
        target=lambda: caches["default"].get_or_set("k", lambda: caches["other"].get_or_set("k", slow))
    )
    others = [threading.Thread(target=lambda: caches["other"].get_or_set("k", slow)) for _ in range(2)]
    for thread in (nested, *others):
        thread.start()
    for thread in (nested, *others):
        thread.join()
    assert runs == [1]


def test_get_many_reads_each_tag_once(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.set_many({f"k{i}": i for i in range(50)}, tags=["a", "b"])
    tags = cache._tags_location.blocking
    looks: list[Any] = []
    get = BlockingFerroKV.get

    def noting(self: Any, name: Any) -> Any:
        if self is tags:
            looks.append(name)
        return get(self, name)

    monkeypatch.setattr(BlockingFerroKV, "get", noting)
    assert len(cache.get_many([f"k{i}" for i in range(50)])) == 50
    assert len(looks) == 3
