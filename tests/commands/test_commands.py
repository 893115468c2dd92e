"""Every command of the surface, the same suite over both faces."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import ferrokv
from ferrokv import BlockingFerroKV, DataError, FerroKV, ResponseError, WriteBatch


class Driven:
    """The asyncio face called like the blocking one, so that one suite serves both."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.db = self.loop.run_until_complete(self._open(path, options))

    @staticmethod
    async def _open(path: Path, options: dict[str, Any]) -> FerroKV:
        return await FerroKV.open(path, **options)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.db, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            if inspect.isasyncgen(answer):
                return self.loop.run_until_complete(_collect(answer))
            return self.loop.run_until_complete(answer) if inspect.isawaitable(answer) else answer

        return call

    def shut(self) -> None:
        self.loop.run_until_complete(self.db.close())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


async def _collect(pages: Any) -> list[Any]:
    return [item async for item in pages]


@pytest.fixture(params=["blocking", "asyncio"])
def kv(request: pytest.FixtureRequest, store_path: Path) -> Iterator[Any]:
    if request.param == "blocking":
        with BlockingFerroKV.open(store_path) as db:
            yield db
    else:
        driven = Driven(store_path)
        yield driven
        driven.shut()


def test_set_get_delete_exists(kv: Any) -> None:
    assert kv.get("user:101") is None
    assert kv.set("user:101", "Alice") is True
    assert kv.get(b"user:101") == b"Alice"
    assert kv.exists("user:101", "user:101", "nobody") == 2
    assert kv.delete("user:101", "nobody") == 1
    assert kv.get("user:101") is None
    assert kv.delete("user:101") == 0


def test_values_are_encoded_as_redis_py_does(kv: Any) -> None:
    for value, stored in [
        (1, b"1"),
        (1.5, b"1.5"),
        ("é", "é".encode()),
        (bytearray(b"x"), b"x"),
        (memoryview(b"y"), b"y"),
    ]:
        kv.set("k", value)
        assert kv.get(memoryview(b"k")) == stored
    kv.set(bytearray(b"empty"), b"")
    assert kv.get("empty") == b""


@pytest.mark.usefixtures("standing_clock")
def test_set_options(kv: Any) -> None:
    assert kv.set("k", "1", xx=True) is None
    assert kv.set("k", "1", nx=True) is True
    assert kv.set("k", "2", nx=True) is None
    assert kv.set("k", "3", get=True) == b"1"
    assert kv.set("new", "3", get=True) is None
    assert kv.set("k", "4", nx=True, get=True) == b"3"
    assert kv.set("k", "5", ex=100) is True
    assert kv.ttl("k") == 100
    assert kv.set("k", "6", keepttl=True) is True
    assert kv.ttl("k") == 100
    assert kv.set("k", "7") is True
    assert kv.ttl("k") == -1
    kv.set("k", "8", px=timedelta(seconds=20))
    assert kv.pttl("k") == 20_000
    kv.set("k", "9", exat=1)
    assert kv.get("k") is None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ex": 1, "px": 1}, DataError),
        ({"nx": True, "xx": True}, DataError),
        ({"ex": 1, "keepttl": True}, DataError),
        ({"ex": 0}, ResponseError),
        ({"px": -1}, ResponseError),
        ({"ex": "five"}, DataError),
        ({"ex": float("inf")}, DataError),
        ({"ex": 1 << 62}, ResponseError),
    ],
)
def test_set_refuses_bad_options(kv: Any, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        kv.set("k", "v", **options)
    assert kv.get("k") is None


@pytest.mark.usefixtures("standing_clock")
def test_set_ex_takes_seconds_or_a_timedelta_to_the_millisecond(kv: Any) -> None:
    assert kv.set_ex("a", "1", 60) is True
    assert kv.setex("b", timedelta(milliseconds=10_750), "1") is True
    assert kv.set_ex("c", "1", 7.75) is True
    assert kv.ttl("a") == 60
    assert kv.pttl("b") == 10_750
    assert kv.pttl("c") == 7_750
    with pytest.raises(ResponseError, match="invalid expire time in 'setex' command"):
        kv.setex("a", 0, "2")


@pytest.mark.usefixtures("standing_clock")
def test_counters(kv: Any) -> None:
    assert kv.incr("n") == 1
    assert kv.incrby("n", 10) == 11
    assert kv.decr("n") == 10
    assert kv.decrby("n", 3) == 7
    assert kv.get("n") == b"7"
    assert kv.incr("missing", xx=True) is None
    assert kv.exists("missing") == 0
    kv.expire("n", 100)
    kv.incr("n")
    assert kv.ttl("n") == 100


@pytest.mark.parametrize("value", [b"", b"a", b"1.5", b" 1", b"+1", b"01", b"-0", b"9" * 20, "٣".encode()])
def test_incr_refuses_what_is_no_integer_in_redis_words(kv: Any, value: bytes) -> None:
    kv.set("k", value)
    with pytest.raises(ResponseError, match="value is not an integer or out of range"):
        kv.incr("k")
    assert kv.get("k") == value


def test_incr_refuses_to_overflow(kv: Any) -> None:
    kv.set("k", (1 << 63) - 1)
    with pytest.raises(ResponseError, match="increment or decrement would overflow"):
        kv.incr("k")
    with pytest.raises(ResponseError):
        kv.incrby("k", 1 << 63)
    with pytest.raises(DataError):
        kv.incrby("k", True)


def test_mget_mset(kv: Any) -> None:
    assert kv.mset({"a": 1, "b": "2"}) is True
    assert kv.mget("a", "nothing", "b") == [b"1", None, b"2"]
    assert kv.mget(["b", "a"]) == [b"2", b"1"]
    with pytest.raises(DataError):
        kv.mset({})


@pytest.mark.usefixtures("standing_clock")
def test_expire_and_persist(kv: Any) -> None:
    assert kv.expire("k", 10) is False
    assert kv.ttl("k") == kv.pttl("k") == -2
    kv.set("k", "v")
    assert kv.expire("k", 10, xx=True) is False
    assert kv.expire("k", 10, gt=True) is False
    assert kv.expire("k", 10, nx=True) is True
    assert kv.expire("k", 20, lt=True) is False
    assert kv.expire("k", 20, gt=True) is True
    assert kv.ttl("k") == 20
    assert kv.persist("k") is True
    assert kv.persist("k") is False
    assert kv.pexpire("k", 10_750) is True
    assert kv.pttl("k") == 10_750
    assert kv.expire("k", 0) is True
    assert kv.exists("k") == 0
    with pytest.raises(ResponseError, match="NX and XX, GT or LT"):
        kv.expire("k", 1, nx=True, gt=True)
    with pytest.raises(ResponseError, match="GT and LT"):
        kv.expire("k", 1, gt=True, lt=True)


@pytest.mark.usefixtures("standing_clock")
def test_getex_rename_and_compare(kv: Any) -> None:
    kv.set("k", "v", ex=50)
    assert kv.getex("k") == b"v"
    assert kv.ttl("k") == 50
    assert kv.getex("k", persist=True) == b"v"
    assert kv.ttl("k") == -1
    assert kv.getex("k", ex=9) == b"v"
    assert kv.rename("k", "other") is True
    assert kv.ttl("other") == 9
    with pytest.raises(ResponseError, match="no such key"):
        kv.rename("k", "other")
    assert kv.compare_and_set("other", "wrong", "x") is False
    assert kv.compare_and_set("other", "v", "w") is True
    assert kv.ttl("other") == 9
    assert kv.compare_and_delete("other", "v") is False
    assert kv.compare_and_delete("other", "w") is True
    assert kv.compare_and_delete("other", "w") is False


def test_scans_are_ordered_both_ways(kv: Any) -> None:
    kv.mset({b"key:%d" % i: i for i in range(300)})
    kv.set("other", 1)
    expected = sorted((b"key:%d" % i, b"%d" % i) for i in range(300))
    for _ in range(2):
        assert list(kv.scan(prefix="key:")) == expected
        assert list(kv.scan(prefix="key:", reverse=True)) == expected[::-1]
        assert list(kv.scan("key:10", "key:12")) == [pair for pair in expected if b"key:10" <= pair[0] < b"key:12"]
        assert list(kv.scan("key:10", prefix="key:1", limit=3)) == [p for p in expected if p[0] >= b"key:10"][:3]
        assert list(kv.scan(limit=0)) == []
        assert list(kv.scan("z")) == list(kv.scan("b", "a")) == []
        assert list(kv.scan_iter("key:?")) == [b"key:%d" % i for i in range(10)]
        assert kv.keys("*[0]") == [key for key, _ in expected if key.endswith(b"0")]
        assert kv.keys("o[^a]h\\er") == [b"other"]
        kv.flush()
    with pytest.raises(DataError):
        list(kv.scan(limit=-1))


@pytest.mark.usefixtures("standing_clock")
def test_batch_is_one_step_and_the_last_write_counts(kv: Any) -> None:
    kv.set("gone", 1)
    before = kv.stats().commits
    batch = WriteBatch().set("a", 1).set("a", 2, ex=5).delete("gone").set("b", 1).delete("b")
    assert kv.write(batch) is True
    assert kv.stats().commits == before + 1
    assert kv.mget("a", "b", "gone") == [b"2", None, None]
    assert kv.ttl("a") == 5
    assert kv.write(WriteBatch()) is True
    with pytest.raises(DataError):
        kv.write([("a", 1)])
    with pytest.raises(ResponseError):
        batch.set("a", 1, ex=0)


def test_snapshot_stands_still(kv: Any) -> None:
    kv.mset({"a": 1, "b": 2})
    snapshot = kv.snapshot()
    kv.set("a", 9)
    kv.delete("b")
    kv.set("c", 3)
    kv.flush()
    kv.compact()
    if isinstance(kv, Driven):
        kv.db, live = snapshot, kv.db
        assert kv.mget("a", "b", "c") == [b"1", b"2", None]
        assert kv.scan() == [(b"a", b"1"), (b"b", b"2")]
        kv.db = live
    else:
        assert snapshot.mget("a", "b", "c") == [b"1", b"2", None]
        assert list(snapshot.scan(reverse=True)) == [(b"b", b"2"), (b"a", b"1")]
        assert snapshot.keys() == [b"a", b"b"]
    snapshot.close()
    snapshot.close()
    assert kv.mget("a", "b", "c") == [b"9", None, b"3"]


def test_keyspaces_are_apart_and_cleared_in_one_step(kv: Any) -> None:
    other = kv.keyspace("other")
    if isinstance(kv, Driven):
        kv.set("k", 1)
        home, kv.db = kv.db, other
        kv.set("k", 2)
        assert kv.flushdb() is True
        assert kv.get("k") is None
        kv.set("k", 3)
        assert kv.keys() == [b"k"]
        kv.close()
        kv.db = home
    else:
        kv.set("k", 1)
        other.set("k", 2)
        assert other.flushdb() is True
        assert other.get("k") is None
        other.set("k", 3)
        assert other.keys() == [b"k"]
        other.close()
    assert kv.get("k") == b"1"
    assert kv.stats().keyspaces == ("default", "other")


def test_flush_and_compact_keep_everything(kv: Any) -> None:
    kv.mset({b"key:%d" % i: i for i in range(1_000)})
    kv.flush()
    kv.delete(*(b"key:%d" % i for i in range(0, 1_000, 2)))
    kv.compact()
    levels = [level for level in kv.stats().levels if level.tables]
    assert len(levels) == 1
    assert levels[0].tombstones == 0
    assert kv.get("key:1") == b"1"
    assert kv.get("key:2") is None
    assert len(kv.keys()) == 500


@pytest.mark.parametrize("key", [b"", "", 1, None, 1.5, b"k" * 65_536, object()])
def test_bad_keys_are_refused_before_anything_is_written(kv: Any, key: Any) -> None:
    for call in (lambda: kv.get(key), lambda: kv.set(key, 1), lambda: kv.delete("ok", key), lambda: kv.mset({key: 1})):
        with pytest.raises(DataError):
            call()
    assert kv.stats().commits == 0


@pytest.mark.parametrize("value", [None, True, [], {}, object(), b"v" * ((64 << 20) + 1)])
def test_bad_values_are_refused_before_anything_is_written(kv: Any, value: Any) -> None:
    with pytest.raises(DataError):
        kv.set("k", value)
    with pytest.raises(DataError):
        kv.mset({"ok": 1, "k": value})
    assert kv.stats().commits == 0


def test_largest_key_and_a_large_value_are_kept(kv: Any) -> None:
    key, value = b"k" * 65_535, b"v" * (5 << 20)
    kv.set(key, value)
    assert kv.get(key) == value
    kv.flush()
    kv.compact()
    assert kv.get(key) == value
    assert list(kv.scan()) == [(key, value)]


def test_the_two_faces_are_equal() -> None:
    for ours, theirs in ((ferrokv.FerroKV, BlockingFerroKV), (ferrokv.Snapshot, ferrokv.BlockingSnapshot)):
        for kind in (ours, theirs):
            missing = {n for n in dir(kind) if not n.startswith("_")} ^ {
                n for n in dir(theirs) if not n.startswith("_")
            }
            assert missing == set()
        for name in (n for n in dir(ours) if not n.startswith("_") and n != "open"):
            a, b = (getattr(kind, name) for kind in (ours, theirs))
            a, b = (x.fget if isinstance(x, property) else x for x in (a, b))
            parameters = [
                [(p.name, p.kind, p.default) for p in inspect.signature(x).parameters.values()] for x in (a, b)
            ]
            assert parameters[0] == parameters[1], name
            assert a.__doc__, name
            assert a.__doc__.replace("FerroKV", "").replace("await ", "") == b.__doc__.replace("BlockingFerroKV", ""), (
                name
            )
