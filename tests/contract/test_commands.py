"""Which keys a command declares, against what the local backend's methods pass on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pytest

from ferrokv import BlockingFerroKV, DataError, Tx, WriteBatch
from ferrokv.contract.commands import COMMANDS
from ferrokv.local.commands.touched import keys_read
from ferrokv.local.faces.blocking.pipelines import BlockingPipeline
from ferrokv.local.faces.pipelines import Queued

NO_METHODS_OF_PIPELINES = {"transaction", "scan", "scan_iter", "hscan_iter", "sscan_iter", "zscan_iter"}
ANY_KEY = {"keys", "dbsize", "randomkey", "keyspaces", "scan", "scan_iter", "transaction"} | {
    "delete_range",
    "set_quota",
    "flushdb",
}
# Arguments that are no keys, by parameter; the others get the number 1.
VALUES: Mapping[str, Any] = {
    "mapping": {"m": 1},
    "operation": "AND",
    "where": "BEFORE",
    "src": "LEFT",
    "dest": "RIGHT",
    "members": ["m"],
    "values": ["m"],
    "pattern": "*",
    "min": 0,
    "max": 1,
}


def call(name: str) -> tuple[dict[str, Any], list[bytes]]:
    """The arguments of a call by name, and the keys among them."""
    command, parameters = COMMANDS[name], inspect.signature(getattr(BlockingFerroKV, name)).parameters
    given: dict[str, Any] = {}
    keys: list[bytes] = []
    for number, parameter in enumerate(parameters.values()):
        marked = [f"key:{number}:{i}" for i in range(2)]
        if parameter.name == "self":
            continue
        if parameter.name in (command.keys or ()):
            many = parameter.kind is parameter.VAR_POSITIONAL or parameter.name in ("keys", "mapping", "batch")
            keys += [key.encode() for key in marked[: 2 if many else 1]]
            given[parameter.name] = marked if many else marked[0]
            if parameter.name == "mapping":
                given["mapping"] = dict.fromkeys(marked, 1)
            if parameter.name == "batch":
                given["batch"] = WriteBatch().set(marked[0], 1).delete(marked[1])
        elif parameter.name == "numkeys":
            given["numkeys"] = 2
        elif parameter.kind is parameter.VAR_POSITIONAL:
            given[parameter.name] = ["m"]
        elif parameter.default is parameter.empty or (name == "hset" and parameter.name in ("key", "value")):
            given[parameter.name] = VALUES.get(parameter.name, 1)
        if "lex" in name and parameter.name in ("min", "max"):
            given[parameter.name] = {"min": "-", "max": "+"}[parameter.name]
    return given, keys


def queued(name: str, given: Mapping[str, Any]) -> Queued:
    """What a pipeline queues for a call: the function that runs it, and its arguments."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for parameter in inspect.signature(getattr(BlockingFerroKV, name)).parameters.values():
        if parameter.name in given and parameter.kind is parameter.VAR_POSITIONAL:
            positional += given[parameter.name]
        elif parameter.name in given and (parameter.kind is parameter.KEYWORD_ONLY or named):
            named[parameter.name] = given[parameter.name]
        elif parameter.name in given:
            positional.append(given[parameter.name])
    pipeline = BlockingPipeline(None)
    getattr(pipeline, name)(*positional, **named)
    (one,) = pipeline._queued
    return one


def marked_in(held: Any) -> list[bytes]:
    """The keys anywhere in the arguments of a function."""
    if isinstance(held, bytes):
        return [held] if held.startswith(b"key:") else []
    if isinstance(held, dict):
        return [key for part in held.items() for key in marked_in(part)]
    if isinstance(held, list | tuple):
        return [key for part in held for key in marked_in(part)]
    return []


def test_every_command_is_declared() -> None:
    shown = {
        name
        for base in BlockingFerroKV.__mro__
        if base.__module__.startswith("ferrokv.local.faces.blocking.")
        for name in vars(base)
        if not name.startswith("_")
    }
    assert shown - {"lock", "changes"} | {"transaction"} == set(COMMANDS)
    assert {name for name, command in COMMANDS.items() if command.keys is None} == ANY_KEY


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - NO_METHODS_OF_PIPELINES - ANY_KEY))
def test_a_command_touches_the_keys_that_it_declares(name: str) -> None:
    given, keys = call(name)
    assert keys, name
    assert COMMANDS[name].keys_in(given) == keys
    one = queued(name, given)
    assert sorted(set(marked_in(one.args))) == sorted(set(keys))
    read = keys_read(one.command, one.args)
    if read is not None:
        assert sorted(set(read)) == sorted(set(keys))
        assert not COMMANDS[name].is_write


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - NO_METHODS_OF_PIPELINES - ANY_KEY))
def test_a_write_is_declared_as_one(name: str) -> None:
    given, _ = call(name)
    assert COMMANDS[name].is_write is queued(name, given).is_write


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(DataError):
        COMMANDS["get"].keys_in({"name": 5})
    with pytest.raises(DataError):
        COMMANDS["mget"].keys_in({"keys": [b""]})
    assert COMMANDS["mget"].keys_in({"keys": "one"}) == [b"one"]
    assert COMMANDS["flushdb"].keys_in({}) is None


def test_a_deferral_leaves_what_it_has_not_touched_to_the_usual_way(db: BlockingFerroKV) -> None:
    db.rpush("list", "a")
    db.hset("hash", "f", "v")
    with db.deferral() as deferral:
        within = db.within(deferral)
        within.set("other", 1)
        asked: list[str] = []
        perform = deferral._driver.perform
        deferral._driver.perform = lambda *args, **kwargs: asked.append("writer") or perform(*args, **kwargs)  # type: ignore[method-assign,func-returns-value]
        assert within.llen("list") == 1
        assert within.hgetall("hash") == {b"f": b"v"}
        assert asked == []
        within.rpush("list", "b")
        assert within.lrange("list", 0, -1) == [b"a", b"b"]
        assert len(asked) == 2
        db.rpush("list", "c")
        assert within.llen("list") == 3


def test_the_commands_of_transactions_are_those_of_the_contract() -> None:
    assert {name for name in COMMANDS if hasattr(Tx, name)} >= set(COMMANDS) - NO_METHODS_OF_PIPELINES
