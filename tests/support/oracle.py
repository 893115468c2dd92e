"""A real redis-server, and random commands to hold ferrokv against it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from hypothesis import strategies as st

KEYS = ["a", "b", "c", "d"]
MEMBERS = ["", "1", "x", "y", "z", b"\xff\x00", "field"]
FAR_S = 4_000_000_000
FAR_MS = FAR_S * 1000

key = st.sampled_from(KEYS)
member = st.sampled_from(MEMBERS)
number = st.sampled_from([-(2**63), -1000, -7, -3, -2, -1, 0, 1, 2, 3, 5, 10, 2**63 - 1])
small = st.integers(-6, 6)
fraction = st.sampled_from(
    ["0.1", "0.2", "-1.5", "1e3", "3", "-0", "1e-7", "10.25", "1e17", "abc", "", " 1", "inf", "nan"]
)
value = st.sampled_from(
    ["", "1", "-5", "10", "9223372036854775807", "007", "0.1", "1e2", "hello world", b"\x00\xff\x10", "abc"]
)
score = st.sampled_from([-3.5, -1.0, 0.0, 0.5, 1.0, 2.0, 1e20, float("inf"), float("-inf")])
score_bound = st.sampled_from(["-inf", "+inf", "inf", "(1", "1", "(0.5", "-1", "2", "(", "x", 0, 1.5])
lex_bound = st.sampled_from(["-", "+", "[", "(", "[1", "(x", "[x", "[y", "(z", "x"])
flag = st.booleans()


class Call(NamedTuple):
    """A method's name and arguments."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def call(name: str, *args: st.SearchStrategy[Any], **kwargs: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    """Calls of a method; an argument that is given by keyword may also be left out."""
    return st.builds(Call, st.just(name), st.tuples(*args), st.fixed_dictionaries({}, optional=dict(kwargs)))


def spread(name: str, *args: st.SearchStrategy[Any], rest: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    """Calls of a method that takes any number of last arguments."""
    more = st.lists(rest, min_size=1, max_size=4)
    return st.builds(lambda first, last: Call(name, (*first, *last), {}), st.tuples(*args), more)


keys_of = st.lists(key, min_size=1, max_size=3)


def counted(name: str) -> st.SearchStrategy[Call]:
    """Calls of a method that is told how many keys come."""
    limit = st.fixed_dictionaries({}, optional={"limit": st.integers(-1, 2)})
    return st.builds(
        lambda names, right, more: Call(name, (len(names) if right else 0, names), more), keys_of, flag, limit
    )


sides = st.sampled_from(["LEFT", "RIGHT", "left", "UP"])
when = st.sampled_from([1, FAR_S, FAR_S + 70, FAR_S + 1000])
flags = {"nx": flag, "xx": flag, "gt": flag, "lt": flag}

GENERAL = [
    spread("delete", rest=key),
    spread("unlink", rest=key),
    spread("exists", rest=key),
    spread("touch", rest=key),
    call("type", key),
    call("rename", key, key),
    call("renamenx", key, key),
    call("copy", key, key, replace=flag),
    call("expireat", key, when, **flags),
    call("pexpireat", key, st.sampled_from([1, FAR_MS, FAR_MS + 17_017]), **flags),
    # GT and LT compare moments, which differ by the milliseconds between two calls: only where they are far apart.
    call("expire", key, st.sampled_from([-1, 0, 10**17]), **flags),
    call("expire", key, st.sampled_from([100_000, 200_000]), nx=flag, xx=flag),
    call("pexpire", key, st.sampled_from([-1, 0, 2**63 - 1]), **flags),
    call("pexpire", key, st.sampled_from([100_000_000]), nx=flag, xx=flag),
    call("persist", key),
    call("ttl", key),
    call("pttl", key),
    call("expiretime", key),
    call("pexpiretime", key),
    call("keys", st.sampled_from(["*", "a", "[ab]", "?", "x*", "[^a]"])),
    call("dbsize"),
]
STRINGS = [
    call(
        "set",
        key,
        value,
        nx=flag,
        xx=flag,
        keepttl=flag,
        get=flag,
        exat=when,
        ex=st.sampled_from([0, 100_000]),
        pxat=st.just(FAR_MS),
    ),
    call("set", key, value),
    call("set", key, value, pxat=st.just(FAR_MS)),
    call("get", key),
    call("mget", keys_of),
    call("mset", st.dictionaries(key, value, min_size=1, max_size=3)),
    call("msetnx", st.dictionaries(key, value, min_size=1, max_size=2)),
    call("setnx", key, value),
    call("setex", key, st.sampled_from([0, -1, 100_000]), value),
    call("psetex", key, st.sampled_from([0, 100_000_000]), value),
    call("getdel", key),
    call("getset", key, value),
    call("getex", key, persist=flag, exat=when, ex=st.sampled_from([-1, 100_000]), px=st.just(100_000_000)),
    call("append", key, value),
    call("strlen", key),
    call("getrange", key, small, small),
    call("substr", key, small, end=small),
    call("setrange", key, st.integers(-1, 9), value),
    call("incr", key, amount=number),
    call("decr", key, amount=number),
    call("incrby", key, number),
    call("decrby", key, number),
    call("incrbyfloat", key, fraction),
    call("setbit", key, st.integers(-1, 40), st.integers(0, 2)),
    call("getbit", key, st.integers(-1, 40)),
    call("bitcount", key),
    call("bitcount", key, small, small, mode=st.sampled_from(["BYTE", "BIT", "bit", "NIBBLE"])),
    call("bitpos", key, st.integers(-1, 2)),
    call("bitpos", key, st.integers(0, 1), small),
    call("bitpos", key, st.integers(0, 1), small, small, mode=st.sampled_from(["BYTE", "BIT"])),
    spread("bitop", st.sampled_from(["AND", "or", "XOR", "NOT", "NOR"]), key, rest=key),
]
LISTS = [
    spread("lpush", key, rest=value),
    spread("rpush", key, rest=value),
    spread("lpushx", key, rest=value),
    spread("rpushx", key, rest=value),
    call("lpop", key),
    call("rpop", key),
    call("lpop", key, count=st.integers(-1, 5)),
    call("rpop", key, count=st.integers(-1, 5)),
    call("llen", key),
    call("lrange", key, small, small),
    call("lindex", key, small),
    call("lset", key, small, value),
    call("linsert", key, st.sampled_from(["BEFORE", "after", "BESIDE"]), value, value),
    call("lrem", key, st.integers(-2, 2), value),
    call("ltrim", key, small, small),
    call("lpos", key, value, rank=st.integers(-2, 2), count=st.integers(-1, 3), maxlen=st.integers(-1, 5)),
    call("lmove", key, key, src=sides, dest=sides),
    call("rpoplpush", key, key),
    call("blpop", keys_of, st.just(0.01)),
    call("brpop", keys_of, st.just(0.01)),
    call("blmove", key, key, st.just(0.01), src=sides, dest=sides),
    call("brpoplpush", key, key, st.just(0.01)),
]
HASHES = [
    call("hset", key, member, value),
    call("hset", key, mapping=st.dictionaries(member, value, min_size=1, max_size=4)),
    call("hset", key, items=st.lists(member, min_size=2, max_size=5)),
    call("hset", key),
    call("hmset", key, st.dictionaries(member, value, min_size=1, max_size=3)),
    call("hsetnx", key, member, value),
    call("hget", key, member),
    call("hmget", key, st.lists(member, min_size=1, max_size=3)),
    call("hgetall", key),
    spread("hdel", key, rest=member),
    call("hexists", key, member),
    call("hlen", key),
    call("hkeys", key),
    call("hvals", key),
    call("hstrlen", key, member),
    call("hincrby", key, member, number),
    call("hincrbyfloat", key, member, fraction),
    call("hrandfield", key, st.just(99)),
]
SETS = [
    spread("sadd", key, rest=member),
    spread("srem", key, rest=member),
    call("scard", key),
    call("smembers", key),
    call("sismember", key, member),
    call("smismember", key, st.lists(member, min_size=1, max_size=3)),
    call("smove", key, key, member),
    call("spop", key, st.sampled_from([-1, 0, 99])),
    call("srandmember", key, st.sampled_from([0, 99])),
    call("sinter", keys_of),
    call("sunion", keys_of),
    call("sdiff", keys_of),
    call("sinterstore", key, keys_of),
    call("sunionstore", key, keys_of),
    call("sdiffstore", key, keys_of),
    counted("sintercard"),
]
scores = st.dictionaries(member, score, min_size=1, max_size=4)
weights = st.dictionaries(key, st.sampled_from([0, 1, -2.5]), min_size=1, max_size=3)
aggregate = st.sampled_from(["SUM", "min", "MAX", "AVG"])
limits = st.just({}) | st.fixed_dictionaries({"start": st.integers(-1, 3), "num": st.integers(-1, 3)})


def limited(name: str, bound: st.SearchStrategy[Any], **kwargs: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    """Calls of a range between two bounds, with or without limits."""
    plain = call(name, key, bound, bound, **kwargs)
    return st.builds(lambda one, limit: one._replace(kwargs={**one.kwargs, **limit}), plain, limits)


SORTED_SETS = [
    call("zadd", key, scores, ch=flag),
    call("zadd", key, scores, ch=flag, incr=flag, **flags),
    call("zadd", key, st.just({"x": "one"})),
    call("zincrby", key, score, member),
    spread("zrem", key, rest=member),
    call("zcard", key),
    call("zscore", key, member),
    call("zmscore", key, st.lists(member, min_size=1, max_size=3)),
    call("zrank", key, member),
    call("zrevrank", key, member),
    call("zcount", key, score_bound, score_bound),
    call("zrange", key, small, small, desc=flag, withscores=flag),
    call("zrange", key, score_bound, score_bound, desc=flag, withscores=flag, byscore=st.just(True)),
    call("zrevrange", key, small, small, withscores=flag),
    limited("zrangebyscore", score_bound, withscores=flag),
    limited("zrevrangebyscore", score_bound, withscores=flag),
    call("zpopmin", key, count=st.integers(-1, 3)),
    call("zpopmax", key, count=st.integers(-1, 3)),
    call("bzpopmin", keys_of, st.just(0.01)),
    call("bzpopmax", keys_of, st.just(0.01)),
    call("zremrangebyrank", key, small, small),
    call("zremrangebyscore", key, score_bound, score_bound),
    call("zrangestore", key, key, small, small, desc=flag),
    call("zrangestore", key, key, score_bound, score_bound, desc=flag, byscore=st.just(True)),
    call("zunion", keys_of, withscores=flag, aggregate=aggregate),
    call("zunion", weights, withscores=flag),
    call("zinter", keys_of, withscores=flag, aggregate=aggregate),
    call("zdiff", keys_of),
    call("zunionstore", key, weights | keys_of, aggregate=aggregate),
    call("zinterstore", key, weights | keys_of, aggregate=aggregate),
    call("zdiffstore", key, keys_of),
    counted("zintercard"),
    call("zrandmember", key, st.just(99)),
]
# Ranges by member mean something only while all scores are equal (Redis's own words: "unspecified" otherwise).
LEXICAL = [
    call("zadd", key, st.dictionaries(member, st.just(0), min_size=1, max_size=4), ch=flag),
    spread("zrem", key, rest=member),
    call("zlexcount", key, lex_bound, lex_bound),
    limited("zrangebylex", lex_bound),
    limited("zrevrangebylex", lex_bound),
    call("zrange", key, lex_bound, lex_bound, desc=flag, bylex=st.just(True)),
    call("zremrangebylex", key, lex_bound, lex_bound),
    call("zrangestore", key, key, lex_bound, lex_bound, desc=flag, bylex=st.just(True)),
    call("zrange", key, small, small, desc=flag),
]
GROUPS = {
    "strings": STRINGS,
    "lists": LISTS,
    "hashes": HASHES,
    "sets": SETS,
    "sorted_sets": SORTED_SETS,
    "lexical": LEXICAL,
}


def sequences(group: str, size: int = 30) -> st.SearchStrategy[list[Call]]:
    """Mostly one group's commands, with some of keys in general, and some of other types to be refused."""
    own = st.one_of(GROUPS[group])
    if group == "lexical":
        return st.lists(st.one_of(own, own, st.one_of(GENERAL)), min_size=1, max_size=size)
    others = st.one_of(
        [strategy for strategies in GROUPS.values() if strategies is not LEXICAL for strategy in strategies]
    )
    return st.lists(st.one_of(own, own, own, own, st.one_of(GENERAL), others), min_size=1, max_size=size)


UNORDERED = {"hkeys", "hvals", "keys", "spop", "srandmember", "hrandfield", "zrandmember"}
PASSING = {"ttl": 1000, "pttl": 1, "expiretime": 1000, "pexpiretime": 1}


class Moment:
    """A TTL or a moment in ms, equal to another one that is less than ten seconds away: both sides have clocks that run on."""

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Moment) and abs(self.ms - other.ms) < 10_000

    def __repr__(self) -> str:
        return f"{self.ms} ms"

    __hash__ = None  # type: ignore[assignment]


def answer_of(target: Any, one: Call) -> Any:
    """The answer, or the error as something to compare."""
    try:
        return normal(one.name, getattr(target, one.name)(*one.args, **one.kwargs))
    except Exception as error:
        return spelled(error)


def spelled(error: Exception) -> tuple[str, str]:
    """An error by the name of its class, and its words when they are Redis's."""
    name = type(error).__name__
    return name, str(error) if name == "ResponseError" else ""


def normal(name: str, answer: Any) -> Any:
    """An answer without what may differ: the order of what has none, and milliseconds that have passed."""
    if name in UNORDERED and isinstance(answer, list):
        return sorted(answer)
    if name in PASSING and isinstance(answer, int) and answer > 0:
        return Moment(answer * PASSING[name])
    return answer


def state_of(target: Any) -> dict[bytes, Any]:
    """Everything that is there, read by each type's plainest command."""
    return {name: (*content_of(target, name), Moment(target.pexpiretime(name))) for name in target.keys("*")}


def content_of(target: Any, name: bytes) -> tuple[Any, ...]:
    """The type of a key, and all that it holds."""
    kind = target.type(name)
    if kind == b"string":
        return kind, target.get(name)
    if kind == b"list":
        return kind, target.llen(name), target.lrange(name, 0, -1)
    if kind == b"hash":
        return kind, target.hlen(name), target.hgetall(name)
    if kind == b"set":
        return kind, target.scard(name), target.smembers(name)
    assert kind == b"zset"
    return kind, target.zcard(name), target.zrange(name, 0, -1, withscores=True)


@contextmanager
def running_server(folder: Path) -> Iterator[redis.Redis]:
    """A server on a free loopback port, ended by its process id."""
    program = shutil.which("redis-server")
    if program is None:
        assert not os.environ.get("FERROKV_REQUIRE_REDIS"), "redis-server has to be installed here"
        pytest.skip("there is no redis-server to compare with; on Debian: apt-get install redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder, "daemonize": "no"}
    command = [program, *(str(part) for name, setting in options.items() for part in (f"--{name}", setting))]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port, protocol=2)
        deadline = time.monotonic() + 20
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < deadline
                assert server.poll() is None
                time.sleep(0.02)
        yield client
        client.close()
    finally:
        server.terminate()
        server.wait(20)
