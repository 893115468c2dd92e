"""Equal to Redis: random commands at ferrokv and at a real redis-server, every answer, error and TTL compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, note, settings

from ferrokv import BlockingFerroKV, Tx
from ferrokv import FerroKVError as Refused

from ..support.harness import SCALE
from ..support.oracle import GROUPS, Call, answer_of, normal, running_server, sequences, spelled, state_of

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")  # redis-py of its own old names


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A client of a server of its own."""
    with running_server(tmp_path_factory.mktemp("redis")) as client:
        yield client


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlockingFerroKV]:
    """A store with small memtables, so that tables and compaction take part."""
    with BlockingFerroKV.open(tmp_path_factory.mktemp("stores") / "store", memtable_bytes=1 << 16) as db:
        yield db


PROFILE = settings(
    max_examples=60 * SCALE,
    derandomize=SCALE == 1,  # the same sequences in each normal run; `make torture` looks for new ones
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)


def compare(one: Call, ours: Any, theirs: Any) -> None:
    assert ours == theirs, f"{one.name}{one.args}{one.kwargs}: ferrokv {ours!r}, redis {theirs!r}"


@pytest.mark.parametrize("group", GROUPS)
def test_each_command_answers_as_redis_does(group: str, server: redis.Redis, store: BlockingFerroKV) -> None:
    @PROFILE
    @given(sequences(group))
    def check(calls: list[Call]) -> None:
        server.flushdb()
        store.flushdb()
        for one in calls:
            note(str(one))
            compare(one, answer_of(store, one), answer_of(server, one))
        assert state_of(store) == state_of(server)

    check()


@pytest.mark.parametrize("group", GROUPS)
def test_a_transaction_answers_as_redis_does(group: str, server: redis.Redis, store: BlockingFerroKV) -> None:
    """The same within one transaction, where everything is read from changes that are not written yet."""

    @PROFILE
    @given(sequences(group), sequences(group))
    def check(before: list[Call], calls: list[Call]) -> None:
        server.flushdb()
        store.flushdb()
        for one in before[:5]:
            compare(one, answer_of(store, one), answer_of(server, one))

        def run(tx: Tx) -> tuple[list[Any], Any]:
            return [answer_of(tx, one) for one in calls], state_of(tx)

        answers, state = store.transaction(run)
        for one, ours in zip(calls, answers, strict=True):
            note(str(one))
            compare(one, ours, answer_of(server, one))
        assert state == state_of(store) == state_of(server)

    check()


@pytest.mark.parametrize("group", GROUPS)
def test_a_pipeline_answers_as_redis_does(group: str, server: redis.Redis, store: BlockingFerroKV) -> None:
    @PROFILE
    @given(sequences(group, 15))
    def check(calls: list[Call]) -> None:
        server.flushdb()
        store.flushdb()
        ours, theirs = store.pipeline(), server.pipeline(transaction=True)
        queued = []
        for one in calls:
            refusals = []
            for pipe in (ours, theirs):
                try:
                    getattr(pipe, one.name)(*one.args, **one.kwargs)
                    refusals.append(False)
                except (Refused, redis.RedisError):
                    refusals.append(True)
            if refusals == [True, False]:
                # What redis-py only learns from the server, and what the server would then refuse, is refused here at once.
                with pytest.raises(redis.ResponseError):
                    getattr(server, one.name)(*one.args, **one.kwargs)
                theirs.reset()
                ours.reset()
                return
            assert refusals[0] == refusals[1], one
            if not refusals[0]:
                queued.append(one)
        found = [comparable(one, a) for one, a in zip(queued, ours.execute(raise_on_error=False), strict=True)]
        expected = [comparable(one, a) for one, a in zip(queued, theirs.execute(raise_on_error=False), strict=True)]
        for one, a, b in zip(queued, found, expected, strict=True):
            compare(one, a, b)
        assert state_of(store) == state_of(server)

    check()


def comparable(one: Call, answer: Any) -> Any:
    return spelled(answer) if isinstance(answer, Exception) else normal(one.name, answer)
