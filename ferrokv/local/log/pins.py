"""Pinning a view, so that its tables can be read until it is given back, whatever other processes compact meanwhile.

Whoever replaces tables removes their files at once, unless a living process announces in its slot that it reads a version which is
older than the edit (`removal.py`). Announcing is a handshake without a lock, as with hazard pointers: the announcement is stored
first, and VERSION is loaded behind it. Edits that VERSION counts by then may have missed the announcement, so a view that is
older takes over the newest tables; every later edit respects it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from ...errors import StoreBusy
from ..engine.engine import Engine
from ..format.control import VERSION
from ..storage.requests import Nap, Op
from ..tree.files import TableGoneError
from ..tree.read import Resume, live, probe, read_entry, search_value
from ..tree.view import View
from .load import ATTEMPTS_MAX, NAP_SECONDS
from .replica import refresh

UNPINNED_ATTEMPTS: Final = 3  # then whoever asks announces what it reads, so that nothing can go
T = TypeVar("T")


def pin_view(engine: Engine) -> Op[View]:
    """The newest view, frozen, with its tables; give it back with `unpin`. Any thread.

    A replica that only reads cannot announce anything: it opens the tables, all of them, and `StoreBusy` says that there were not
    enough descriptors.
    """
    if engine.slot is None:
        return (yield from _hold_view(engine))
    word = yield from pin_tables(engine)
    try:
        return engine.view.pinned(give_back=partial(_give_back, engine, word))
    except BaseException:
        _give_back(engine, word)
        raise


def pin_tables(engine: Engine) -> Op[int]:
    """Keep the tables of `engine.view`, as it is from now on, and of every later version, until `Pins.give_back` of the answer."""
    word = engine.seen_version
    engine.pins.add(word)
    try:
        # Order: VERSION is loaded behind the announcement.
        if engine.words[VERSION] != engine.seen_version:
            yield from refresh(engine)
    except BaseException:
        _give_back(engine, word)
        raise
    return word


def find_newest(engine: Engine, keyspace: str, key: bytes, found: Resume | None = None) -> Op[bytes | None]:
    """The live value of a user key, for which nothing is pinned. Any thread. `found` is what `probe` of the newest view said.

    When a table is gone, the key is looked up in the view of those that replaced it, which is newer and so as good an answer.
    """
    for _ in range(UNPINNED_ATTEMPTS):
        if found is None:
            view = engine.view
            prefix = view.prefix(keyspace)
            answer = None if prefix is None else probe(view, prefix + key, engine.clock)
            if not isinstance(answer, Resume):
                return answer
            found = answer
        try:
            return (yield from search_value(found, engine.clock))
        except TableGoneError as error:
            gone, found = error, None
        yield from renew(engine, gone)
    return (yield from _ask_pinned(engine, partial(_find, keyspace=keyspace, key=key, engine=engine)))


def _find(view: View, keyspace: str, key: bytes, engine: Engine) -> Op[bytes | None]:
    prefix = view.prefix(keyspace)
    entry = None if prefix is None else (yield from read_entry(view, prefix + key))
    return entry[0] if entry is not None and live(entry, engine.clock()) else None


def ask_newest(engine: Engine, question: Callable[[View], Op[T]]) -> Op[T]:
    """The answer to a question to one view, which is asked again of a newer one when a table is gone."""
    for _ in range(UNPINNED_ATTEMPTS):
        view = engine.view.pinned()
        try:
            return (yield from question(view))
        except TableGoneError as error:
            gone = error
        finally:
            view.unpin()
        yield from renew(engine, gone)
    return (yield from _ask_pinned(engine, question))


def _ask_pinned(engine: Engine, question: Callable[[View], Op[T]]) -> Op[T]:
    view = yield from pin_view(engine)
    try:
        return (yield from question(view))
    finally:
        view.unpin()


def renew(engine: Engine, gone: TableGoneError) -> Op[None]:
    """Take over the newest tables, because one was `gone`; raises that if there is nobody who could have replaced it."""
    if not (yield from refresh(engine, anew=True)):
        raise gone


def _hold_view(engine: Engine) -> Op[View]:
    failure: Exception = StoreBusy("the tables change faster than they can be opened")
    for _ in range(ATTEMPTS_MAX):
        version = engine.view.version
        try:
            held = yield from version.held()
        except TableGoneError as error:
            failure = error
            yield from renew(engine, error)
            yield Nap(NAP_SECONDS)
            continue
        view = engine.view
        if view.version is version:
            return view.pinned(held)
    raise failure


def _give_back(engine: Engine, word: int) -> None:
    engine.pins.give_back(word)
    engine.pins.settle()
