"""The ledger of a deferral by itself: no store, no threads, no clock."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from ferrokv.errors import StoreClosed, StoreFull, StoreUncertain
from ferrokv.local.runtime.deferrals.ledger import (
    COLLECTED_BYTES_MAX,
    COLLECTED_RECORDS_MAX,
    UNKNOWN,
    UNTOUCHED,
    Asked,
    CollectedWrite,
    Ledger,
    NotKnown,
    Outcome,
)

WAL = 1 << 32  # the positions below are in WAL number 1
KEYS = (b"a", b"b", b"c")
PREFIX = b"\0\0\0\1"


@dataclass
class Sent:
    """A request, as the ledger sees it."""

    is_done: bool = False
    answer: object = None
    error: BaseException | None = None


class Words:
    """COMMIT and APPENDED of the log."""

    def __init__(self) -> None:
        self.commit = self.end = WAL

    def __call__(self) -> tuple[int, int]:
        return self.commit, self.end


def at(ledger: Ledger, commit: int, end: int) -> Ledger:
    """The ledger, once the log is so far."""
    words = ledger._log
    assert isinstance(words, Words)
    words.commit, words.end = commit, end
    return ledger


def collected(value: bytes | None, *, forgiving: bool = False) -> CollectedWrite:
    return CollectedWrite(value, 0, forgiving)


def outcome(
    changes: dict[bytes, bytes | None], seen: dict[bytes, bytes | None] | None = None, *, remade: bool = False
) -> Outcome:
    written = {PREFIX + key: (value, 0) for key, value in changes.items()}
    read = {PREFIX + key: (value, 0) for key, value in (seen or {}).items()}
    return Outcome(True, None, written, read, {"": PREFIX}, remade)


def asked_of(ledger: Ledger, commit: int, *, loss_matters: bool = False, settles: bool = False) -> tuple[Sent, Asked]:
    sent = Sent()
    asked = Asked(sent, ledger.fresh, commit, loss_matters)
    ledger.ask(asked, settles=settles)
    return sent, asked


def test_a_new_ledger_is_settled_and_touched_nothing() -> None:
    ledger = Ledger(Words())
    assert at(ledger, WAL, WAL).is_settled()
    assert at(ledger, WAL, WAL).find("", b"a") is UNTOUCHED
    assert at(ledger, WAL, WAL).sees_only_durable("", None)


def test_a_write_is_read_in_each_of_its_states() -> None:
    ledger = Ledger(Words())
    ledger.collect({("", b"a"): collected(b"1")}, loss_matters=True)
    assert at(ledger, WAL, WAL).find("", b"a") == (b"1", 0)  # collected
    sent, asked = asked_of(ledger, WAL)
    assert ledger.fresh == {}
    assert at(ledger, WAL, WAL).find("", b"a") == (b"1", 0)  # asked
    sent.is_done, sent.answer = True, outcome({b"a": b"1"})
    at(ledger, WAL, WAL + 10).take_in(asked)
    assert at(ledger, WAL, WAL + 10).find("", b"a") == (b"1", 0)  # unsynced
    assert not at(ledger, WAL, WAL + 10).is_settled()
    assert at(ledger, WAL, WAL + 10).find("", b"b") is UNTOUCHED
    assert at(ledger, WAL + 10, WAL + 10).find("", b"a") is UNTOUCHED  # settled
    assert at(ledger, WAL + 10, WAL + 10).is_settled()


def test_what_was_written_is_not_known_once_others_became_durable() -> None:
    ledger = Ledger(Words())
    sent, asked = asked_of(ledger, WAL)
    sent.is_done, sent.answer = True, outcome({b"a": b"1"}, {b"b": b"5"})
    at(ledger, WAL, WAL + 10).take_in(asked)
    assert at(ledger, WAL, WAL + 10).find("", b"a") == (b"1", 0)
    assert at(ledger, WAL, WAL + 10).find("", b"b") is UNKNOWN  # seen, so it may differ from what is durable
    assert at(ledger, WAL + 5, WAL + 20).find("", b"a") is UNKNOWN


def test_what_was_written_is_not_known_once_a_command_saw_that_others_wrote_over_it() -> None:
    ledger = Ledger(Words())
    for changes, seen in (({b"a": b"1", b"b": b"1"}, {}), ({}, {b"a": b"1", b"b": b"2"})):
        sent, asked = asked_of(ledger, WAL)
        sent.is_done, sent.answer = True, outcome(dict(changes), dict(seen))
        at(ledger, WAL, WAL + 10).take_in(asked)
    assert at(ledger, WAL, WAL + 10).find("", b"a") == (b"1", 0)
    assert at(ledger, WAL, WAL + 10).find("", b"b") is UNKNOWN


def test_a_cleared_keyspace_touches_every_key() -> None:
    ledger = Ledger(Words())
    sent, asked = asked_of(ledger, WAL)
    sent.is_done, sent.answer = True, outcome({}, remade=True)
    at(ledger, WAL, WAL + 10).take_in(asked)
    assert at(ledger, WAL, WAL + 10).find("", b"c") is UNKNOWN
    assert not at(ledger, WAL, WAL + 10).sees_only_durable("", [b"c"])
    assert at(ledger, WAL + 10, WAL + 10).find("", b"c") is UNTOUCHED


@pytest.mark.parametrize("size", [1, COLLECTED_BYTES_MAX // 2])
def test_much_that_is_collected_has_to_be_taken_along(size: int) -> None:
    ledger = Ledger(Words())
    most = min(COLLECTED_RECORDS_MAX, COLLECTED_BYTES_MAX // size)
    full = [ledger.collect({("", b"%d" % i): collected(bytes(size))}, loss_matters=True) for i in range(most)]
    assert full == [False] * (most - 1) + [True]
    asked_of(ledger, WAL)
    assert not ledger.collect({("", b"k"): collected(b"1")}, loss_matters=True)


def test_a_loss_that_matters_is_told_once_and_another_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(Words())
    ledger.collect({("", b"a"): collected(b"1")}, loss_matters=True)
    sent, asked = asked_of(ledger, WAL)
    sent.is_done, sent.error = True, StoreFull("no room")
    at(ledger, WAL, WAL).take_in(asked)
    assert at(ledger, WAL, WAL).find("", b"a") is UNTOUCHED
    assert not at(ledger, WAL, WAL).is_settled()
    with pytest.raises(StoreFull):
        ledger.failures.tell()
    assert at(ledger, WAL, WAL).is_settled()
    ledger.failures.tell()

    with caplog.at_level(logging.WARNING, "ferrokv.deferral"):
        ledger.collect({("", b"a"): collected(b"1", forgiving=True)}, loss_matters=False)
        sent, asked = asked_of(ledger, WAL)
        sent.is_done, sent.error = True, StoreFull("no room")
        at(ledger, WAL, WAL).take_in(asked)
    assert "this is ignored: writes=1" in caplog.text
    assert at(ledger, WAL, WAL).is_settled()


def test_a_request_that_is_given_up_is_of_unknown_outcome_if_it_took_something_along() -> None:
    ledger = Ledger(Words())
    _, asked = asked_of(ledger, WAL)
    ledger.give_up(asked)  # it took nothing along
    assert not ledger.is_open(asked)
    ledger.failures.tell()
    ledger.collect({("", b"a"): collected(b"1")}, loss_matters=True)
    _, asked = asked_of(ledger, WAL)
    ledger.give_up(asked)
    assert at(ledger, WAL, WAL).find("", b"a") is UNTOUCHED
    with pytest.raises(StoreUncertain):
        ledger.failures.tell()


def test_the_end_of_the_log_is_read_only_once_the_request_is_seen_to_be_done() -> None:
    """Else another thread's write may end behind what `settle` waits for."""

    class Late(Sent):
        def __init__(self) -> None:
            super().__init__()
            self.looks = 0

        @property  # type: ignore[override]
        def is_done(self) -> bool:
            self.looks += 1
            words.end = WAL + 10 * self.looks  # the writer appends right before it says that it is done
            return True

        @is_done.setter
        def is_done(self, value: bool) -> None:
            return

    words = Words()
    ledger = Ledger(words)
    late = Late()
    late.answer = outcome({b"a": b"1"})
    ledger.ask(Asked(late, ledger.fresh, WAL, False), settles=False)
    assert ledger.find("", b"a") == (b"1", 0)
    words.commit = WAL + 5
    assert ledger.find("", b"a") is UNKNOWN
    assert not ledger.is_settled()


def test_the_log_is_not_asked_for_where_nothing_depends_on_it() -> None:
    """The store may be closed by now."""

    def closed() -> tuple[int, int]:
        raise StoreClosed("closed")

    ledger = Ledger(closed)
    assert ledger.find("", b"a") is UNTOUCHED
    assert ledger.sees_only_durable("", None)
    assert ledger.is_settled()
    sent, asked = asked_of(ledger, WAL)
    sent.is_done, sent.error = True, StoreFull("no room")
    ledger.take_in(asked)
    assert ledger.is_settled()


def test_an_outcome_that_a_signal_handler_takes_in_meanwhile_is_taken_in_once() -> None:
    ledger = Ledger(Words())
    sent, asked = asked_of(ledger, WAL)

    class Interrupting(dict[bytes, Any]):
        def keys(self) -> Any:
            if sent.is_done and ledger.is_open(asked):
                sent.is_done = False
                ledger._take_in(asked)
            return super().keys()

    sent.is_done, sent.answer = True, outcome({b"a": b"1"})
    ledger._known = Interrupting()
    ledger.take_in(asked)
    assert ledger.open_requests == ()


@dataclass
class Log:
    """A log that the deferral and others append to. The state of each key after each commit, and who was told of what."""

    random: Random
    history: list[dict[bytes, bytes | None]] = field(default_factory=lambda: [dict.fromkeys(KEYS)])
    durable: int = 0  # commits that are
    waiting: list[tuple[Sent, Asked, bytes | None]] = field(default_factory=list)
    floor: dict[bytes, int] = field(default_factory=lambda: dict.fromkeys(KEYS, 0))  # the oldest state that it may read
    mine: dict[bytes, list[bytes]] = field(default_factory=lambda: {key: [] for key in KEYS})
    values: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger(lambda: self.words)

    @property
    def words(self) -> tuple[int, int]:
        return WAL + self.durable, WAL + len(self.history) - 1

    def fresh_value(self) -> bytes:
        self.values += 1
        return b"%d" % self.values

    def collect(self) -> None:
        key, value = self.random.choice(KEYS), self.fresh_value()
        self.ledger.collect({("", key): collected(value)}, loss_matters=True)
        self.mine[key].append(value)

    def ask(self) -> None:
        written = self.random.choice((None, *KEYS))
        sent = Sent()
        asked = Asked(sent, self.ledger.fresh, self.words[0], True)
        self.ledger.ask(asked, settles=False)
        self.waiting.append((sent, asked, written))

    def append_others(self) -> None:
        self.history.append({**self.history[-1], self.random.choice(KEYS): self.fresh_value()})

    def sync(self) -> None:
        self.durable = self.random.randrange(self.durable, len(self.history))

    def serve(self) -> None:
        """The writer takes the oldest request, and its answer is taken in now or later."""
        if not self.waiting:
            return
        sent, asked, written = self.waiting.pop(0)
        if self.random.random() < 0.15:
            sent.error = StoreFull("no room")
        else:
            states = self.history[self.durable :]
            written_since = pairwise(states)
            unsynced = {key: self.history[-1][key] for a, b in written_since for key in KEYS if a[key] != b[key]}
            changes = {name[1]: write.value for name, write in asked.taken.items()}
            if written is not None:
                changes[written] = self.fresh_value()
            if changes:
                self.history.append({**self.history[-1], **changes})
            sent.answer = outcome(changes, unsynced)
            for key in changes.keys() | unsynced.keys():
                self.floor[key] = len(self.history) - 1
        sent.is_done = True
        for name, write in asked.taken.items():
            values = self.mine[name[1]]
            if write.value in values:
                del values[: values.index(write.value) + 1]  # type: ignore[arg-type]
        if self.random.random() < 0.5:
            self.ledger.take_in(asked)

    def check_reads(self) -> None:
        for key in KEYS:
            found = self.ledger.find("", key)
            floor = self.floor[key]
            if isinstance(found, NotKnown):
                if found is UNTOUCHED:
                    assert not self.mine[key], "a collected write was not seen"
                    newest = len(self.history) - 1
                    is_same = self.history[self.durable][key] == self.history[min(floor, newest)][key]
                    assert self.durable >= floor or is_same, "older than what it wrote or was told of"
            elif self.mine[key]:
                assert found[0] == self.mine[key][-1]
            else:
                assert found[0] in [state[key] for state in self.history[floor:]]

    def check_settling(self) -> None:
        if self.ledger.is_settled():
            assert not any(self.mine.values())
            assert not self.waiting
            for key in KEYS:
                assert self.durable >= self.floor[key] or (
                    self.history[self.durable][key] == self.history[self.floor[key]][key]
                )
        try:
            self.ledger.failures.tell()
        except StoreFull:
            return


@pytest.mark.parametrize("part", range(4))
def test_no_read_is_older_than_what_the_deferral_wrote_or_was_told_of(part: int) -> None:
    known = 0
    for seed in range(part * 250, (part + 1) * 250):
        log = Log(Random(seed))
        for _ in range(60):
            log.random.choice((log.collect, log.ask, log.serve, log.serve, log.append_others, log.sync))()
            log.check_reads()
            known += any(not isinstance(log.ledger.find("", key), NotKnown) for key in KEYS)
            if log.random.random() < 0.1:
                log.check_settling()
        while log.waiting:
            log.serve()
        log.durable = len(log.history) - 1
        if not log.ledger.fresh:
            log.ledger.is_settled()
            log.check_settling()
            log.check_settling()
            assert log.ledger.is_settled()
        log.check_reads()
    assert known > 1000
