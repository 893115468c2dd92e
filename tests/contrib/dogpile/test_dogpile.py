"""The dogpile.cache backend: dogpile's own generic suites, and what only ours has to do."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE, CacheMutex
from dogpile.testing.fixtures import (
    _GenericBackendTestSuite,
    _GenericMutexTestSuite,
    _GenericSerializerTestSuite,
)

from ferrokv import BlockingFerroKV, DataError, LockNotOwnedError
from ferrokv.contrib.dogpile import FerroKVBackend
from ferrokv.local.commands import locks
from ferrokv.local.storage.requests import Sync

from ...conftest import ROOT
from ...engine.test_directories_that_change import until_replaced

SUITE_STORE = Path(tempfile.gettempdir()) / f"ferrokv-dogpile-{os.getpid()}"


@pytest.fixture(scope="module", autouse=True)
def suite_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """dogpile's suites name their arguments when the class is made, so the directory has a link to it."""
    SUITE_STORE.unlink(missing_ok=True)  # of a process that was killed, with the same number
    SUITE_STORE.symlink_to(tmp_path_factory.mktemp("dogpile"), target_is_directory=True)
    yield
    SUITE_STORE.unlink()


class TestBackend(_GenericBackendTestSuite):
    backend = "ferrokv"
    config_args = {"arguments": {"path": str(SUITE_STORE / "store"), "distributed_lock": False}}


class TestBackendWithExpiry(_GenericBackendTestSuite):
    backend = "ferrokv"
    config_args = {
        "arguments": {"path": str(SUITE_STORE / "store"), "ferrokv_expiration_time": 5, "keyspace": "expiring"}
    }


class TestBackendWithLocks(_GenericBackendTestSuite):
    backend = "ferrokv"
    config_args = {"arguments": {"path": str(SUITE_STORE / "store"), "keyspace": "locking"}}


class TestSerializer(_GenericSerializerTestSuite, _GenericBackendTestSuite):
    backend = "ferrokv"
    config_args = {"arguments": {"path": str(SUITE_STORE / "store"), "keyspace": "serializing"}}


class TestMutex(_GenericMutexTestSuite):
    backend = "ferrokv"
    config_args = {"arguments": {"path": str(SUITE_STORE / "store"), "keyspace": "mutexes"}}


class TestMutexWithTimeout(_GenericMutexTestSuite):
    backend = "ferrokv"
    config_args = {"arguments": {"path": str(SUITE_STORE / "store"), "keyspace": "timed", "lock_timeout": 20}}


def region(path: Path, expiration_time: float | None = None, **arguments: Any) -> Any:
    kept: dict[str, Any] = {} if expiration_time is None else {"expiration_time": expiration_time}
    return make_region().configure("ferrokv", arguments={"path": path, **arguments}, **kept)


# -- values ------------------------------------------------------------------------------------------------------


def test_batches_cost_one_sync_and_a_creation_too(store_path: Path, syncs: list[Sync]) -> None:
    cache = region(store_path)
    cache.set("warm", 1)
    cache.get_or_create("warm too", lambda: 1)
    syncs.clear()
    values = {f"k{i}": i for i in range(100)}
    cache.set_multi(values)
    assert len(syncs) == 1
    assert cache.get_multi([*values, "none"]) == [*range(100), NO_VALUE]
    cache.delete_multi(list(values))
    assert len(syncs) == 2
    assert cache.get_or_create("k", lambda: 5) == 5
    assert len(syncs) == 3, "taking and releasing the mutex costs none"
    assert cache.get_or_create("k", lambda: 6) == 5
    assert len(syncs) == 3


@pytest.mark.usefixtures("standing_clock")
def test_values_expire_natively(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = region(store_path, ferrokv_expiration_time=1000.5)
    cache.set("k", 1)
    cache.set_multi({"l": 1})
    assert cache.get_multi(["k", "l"]) == [1, 1]
    left = [cache.backend._db.pttl(key) for key in "kl"]
    assert left == [1_000_500] * 2
    engine = cache.backend._db._store.engine
    monkeypatch.setattr(engine, "clock", lambda clock=engine.clock: clock() + 1_000_500)
    assert cache.get_multi(["k", "l"], ignore_expiration=True) == [NO_VALUE, NO_VALUE]
    with BlockingFerroKV.open(store_path, keyspace="dogpile") as db:
        assert db.keys("*") == []


def test_none_is_a_value(store_path: Path) -> None:
    cache = region(store_path)
    cache.set("k", None)
    assert cache.get("k") is None
    assert cache.get_or_create("k", lambda: 1) is None


def test_what_can_not_be_pickled_raises_before_anything_is_written(store_path: Path) -> None:
    cache = region(store_path)
    cache.set("k", "kept")
    for write in (lambda: cache.set("k", lambda: None), lambda: cache.set_multi({"l": 1, "k": lambda: None})):
        with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
            write()
    with pytest.raises(DataError):
        cache.set("k", bytes(65 << 20))
    assert cache.get_multi(["k", "l"]) == ["kept", NO_VALUE]


def test_long_keys_and_keys_of_every_kind(store_path: Path) -> None:
    cache = region(store_path)
    for key in ("x" * 100_000, "y" * 65_535, "é" * 40_000, "\ud800", "", " ", "\x00", "a:b"):
        cache.set(key, key[:3])
        assert cache.get(key) == key[:3]
        assert cache.get_or_create(key, lambda: 0) == key[:3]
        assert cache.key_is_locked(key) is False


def test_long_keys_in_a_region_that_mangles_them_itself(store_path: Path) -> None:
    cache = make_region(key_mangler=lambda key: "v1:" + key).configure("ferrokv", arguments={"path": store_path})
    cache.set("x" * 100_000, 1)
    assert cache.get("x" * 100_000) == 1


def test_keyspaces_keep_regions_apart(store_path: Path) -> None:
    one, two = region(store_path), region(store_path, keyspace="two")
    one.set("k", 1)
    assert two.get("k") is NO_VALUE
    assert one.backend._db._store is two.backend._db._store, "one engine for a directory"


def test_arguments(store_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="path"):
        FerroKVBackend({})
    for bad in (
        {"block_bytes": 1},
        {"ferrokv_expiration_time": "soon"},
        {"ferrokv_expiration_time": float("nan")},
        {"lock_timeout": 0},
        {"lock_timeout": float("nan")},
        {"lock_sleep": -1},
        {"keyspace": "dogpile:locks"},
    ):
        with pytest.raises(ValueError, match=r"block_bytes|soon|NaN|lock"):
            FerroKVBackend({"path": store_path, **bad})
    FerroKVBackend({"path": store_path, "typo": 1})
    assert "typo" in caplog.text
    assert not store_path.exists(), "it is opened at the first use"
    backend = FerroKVBackend({"path": store_path, "max_bytes": 1 << 20, "block_cache_bytes": 1 << 20})
    backend.set_serialized("k", b"v")
    assert backend._db.stats().quotas == {"dogpile": 1 << 20}
    config = {"c.backend": "ferrokv", "c.arguments.path": str(store_path), "c.arguments.ferrokv_expiration_time": "60"}
    configured = make_region().configure_from_config(config, "c.")
    configured.set("k", 1)
    assert 59 <= backend._db.ttl("k") <= 60


def test_a_forked_child_goes_on(store_path: Path) -> None:
    cache = region(store_path)
    cache.get_or_create("k", lambda: 1)
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        code = 1
        try:
            code = 0 if cache.get_or_create("child", lambda: 2) == 2 and cache.get("k") == 1 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert cache.get("child") == 2


# -- mutexes -----------------------------------------------------------------------------------------------------


def test_a_mutex_may_be_released_by_another_thread(store_path: Path) -> None:
    backend = FerroKVBackend({"path": store_path})
    mutex = backend.get_mutex("k")
    assert isinstance(mutex, CacheMutex)
    assert mutex.acquire() is True
    thread = threading.Thread(target=mutex.release)
    thread.start()
    thread.join()
    assert mutex.locked() is False
    other = backend.get_mutex("k")
    assert other.acquire(False) is True
    assert mutex.locked() is True
    assert backend.get_mutex("k").locked() is True, "also for whoever knows nothing of it yet"
    other.release()


def test_threads_that_share_a_mutex_take_it_one_after_the_other(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As dogpile's registry has them do: who lets go of it must not take the token of the next one away."""
    mutex = FerroKVBackend({"path": store_path}).get_mutex("k")
    assert mutex.acquire() is True
    kind = type(mutex._lock()._asking)
    write = kind._write

    def write_and_be_overtaken(self: Any, command: Any, *args: Any) -> Any:
        answer = write(self, command, *args)
        if command is locks.release:
            monkeypatch.setattr(kind, "_write", write)
            next_one = threading.Thread(target=mutex.acquire)
            next_one.start()
            next_one.join()
        return answer

    monkeypatch.setattr(kind, "_write", write_and_be_overtaken)
    mutex.release()
    assert mutex.locked() is True
    mutex.release()
    assert mutex.locked() is False


def test_an_asynchronous_creation_holds_the_mutex_until_it_is_done(store_path: Path) -> None:
    runners: list[threading.Thread] = []

    def run(cache: Any, key: str, creator: Callable[[], Any], mutex: Any) -> None:
        def work() -> None:
            try:
                cache.set(key, creator())
            finally:
                mutex.release()

        runners.append(threading.Thread(target=work))
        runners[-1].start()

    cache = make_region(async_creation_runner=run).configure(
        "ferrokv", arguments={"path": store_path}, expiration_time=0.05
    )
    assert cache.get_or_create("k", lambda: 1) == 1
    time.sleep(0.06)
    assert cache.get_or_create("k", lambda: 2) == 1, "the old value while the new one is made"
    for runner in runners:
        runner.join()
    assert cache.get("k", ignore_expiration=True) == 2


def test_a_mutex_that_was_lost_to_its_timeout(store_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    backend = FerroKVBackend({"path": store_path, "lock_timeout": 1})
    assert backend.has_lock_timeout() is True
    longer = FerroKVBackend({"path": store_path, "lock_timeout": 100})
    late, next_one = backend.get_mutex("k"), longer.get_mutex("k")
    assert late.acquire() is True
    assert next_one.acquire() is True, "after a second"
    late.release()
    assert "lost" in caplog.text
    assert next_one.locked() is True, "it was not his to release"
    patient = FerroKVBackend({"path": store_path})
    assert patient.has_lock_timeout() is False
    mutex = patient.get_mutex("j")
    mutex.acquire()
    patient._locks.delete(b"j")  # type: ignore[union-attr]
    with pytest.raises(LockNotOwnedError):
        mutex.release()


def test_without_distributed_locks_dogpile_takes_its_own(store_path: Path) -> None:
    assert FerroKVBackend({"path": store_path, "distributed_lock": False}).get_mutex("k") is None


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # a fork beside threads is what this is about
def test_mutexes_of_before_a_fork_serve_the_child(store_path: Path) -> None:
    """dogpile's registry keeps the mutex that a thread of the parent is just holding, and gives it to the child."""
    cache = region(store_path)
    creating, may_end = threading.Event(), threading.Event()
    asked, tell = os.pipe()

    def create() -> int:
        creating.set()
        may_end.wait(60)
        return 1

    thread = threading.Thread(target=cache.get_or_create, args=("k", create))
    thread.start()
    assert creating.wait(60)
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        code = 1
        try:
            assert cache.key_is_locked("k") is True
            os.write(tell, b"!")
            assert cache.get_or_create("j", lambda: 2) == 2
            code = 0 if cache.get_or_create("k", lambda: 3) == 1 else 2
        finally:
            os._exit(code)
    os.close(tell)
    assert os.read(asked, 1) == b"!"
    os.close(asked)
    may_end.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_threads_create_once_in_one_process(store_path: Path) -> None:
    cache = region(store_path)
    runs: list[int] = []

    def create() -> int:
        runs.append(1)
        time.sleep(0.05)
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: cache.get_or_create("k", create), range(8))) == [1] * 8
    assert runs == [1]


CREATOR = """
import os, sys, time
from dogpile.cache import make_region

cache = make_region().configure("ferrokv", arguments={"path": sys.argv[1]})

def create(number):
    with open(sys.argv[2], "a") as log:
        log.write(f"{number}\\n")
    time.sleep(0.02)
    return number

open(f"{sys.argv[3]}/{os.getpid()}", "w").close()
while len(os.listdir(sys.argv[3])) < 8:  # until all of them are here
    time.sleep(0.001)
for number in range(10):
    assert cache.get_or_create(f"k{number}", lambda: create(number)) == number
"""


def test_eight_processes_create_each_value_once(store_path: Path, tmp_path: Path, run_python: Any) -> None:
    (tmp_path / "ready").mkdir()
    arguments = (str(store_path), str(tmp_path / "log"), str(tmp_path / "ready"))
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _: run_python(CREATOR, *arguments), range(8)))
    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * 8
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == list(range(10))


ADDER = """
import sys, time
from ferrokv.contrib.dogpile import FerroKVBackend

backend = FerroKVBackend({"path": sys.argv[1]})
for _ in range(25):
    mutex = backend.get_mutex("n")
    mutex.acquire()
    value = backend.get_serialized("n")
    time.sleep(0.001)
    backend.set_serialized("n", b"%d" % (int(value) + 1))
    mutex.release()
"""


def test_a_mutex_holds_across_processes(store_path: Path, run_python: Any) -> None:
    backend = FerroKVBackend({"path": store_path})
    backend.set_serialized("n", b"0")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: run_python(ADDER, str(store_path)), range(4)))
    assert [(one.returncode, one.stderr) for one in done] == [(0, "")] * 4
    assert backend.get_serialized("n") == b"100"


HOLDER = """
import sys, time
from ferrokv.contrib.dogpile import FerroKVBackend

FerroKVBackend({"path": sys.argv[1]}).get_mutex("k").acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_the_mutex_of_a_process_that_was_killed_is_free(store_path: Path) -> None:
    backend = FerroKVBackend({"path": store_path})
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        mutex = backend.get_mutex("k")
        assert mutex.locked() is True
        assert mutex.acquire(False) is False
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert mutex.locked() is False
        assert mutex.acquire(False) is True
        mutex.release()


def test_the_mutex_of_a_creator_that_raises_is_free(store_path: Path) -> None:
    cache = region(store_path)

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.get_or_create("k", fail)
    assert cache.key_is_locked("k") is False
    assert cache.get_or_create("k", lambda: 1) == 1


def test_a_mutex_of_a_directory_that_is_gone_is_taken_in_the_new_one(store_path: Path) -> None:
    backend = FerroKVBackend({"path": str(store_path)})
    mutex = backend.get_mutex("k")
    assert mutex.acquire()
    backend._owing[b"k"] = mutex  # its release failed
    with BlockingFerroKV.open(store_path) as fixed:
        store_path.rename(store_path.with_name("moved"))
        store_path.mkdir()
        until_replaced(lambda: fixed.get("k"))
    assert backend.get_mutex("k").acquire(wait=False)
    assert backend._owing == {}
    assert not backend.get_mutex("k").acquire(wait=False)
    mutex.release()
    assert backend.get_mutex("k").acquire(wait=False)
    backend._db.close()
    backend._locks.close()
