"""Reading tables that other processes may replace and remove at any moment.

Whoever replaces tables removes their files at once, unless a living process has pinned a version
that is older than the edit (engine/removal.py). So there are two ways to read.

Without a pin: read, and if a table is gone (`TableGoneError`), take over the newest tables and ask
again (`find_newest`, `ask_newest`). That is right for a question about the newest state, and costs
nothing in the usual case. After UNPINNED_ATTEMPTS, the question is asked of a pinned view.

With a pin: `pin_view` announces the version in the process's slot, for readers that need one
version for longer, such as snapshots and scans. This is a handshake without a lock, as with hazard
pointers. The reader stores PINNED and then loads VERSION; the remover stores VERSION and then loads
PINNED; each has a fence in between. If VERSION has not moved, every later edit sees the pin. If it
has moved, the edits that it counts may have missed the pin, so the reader takes over the newest
tables, which later edits respect.

A read-only replica has no slot to pin in. It opens all files of the version instead, and holds
them.
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
from ..tree.read import PendingRead, live, probe, read_entry, search_value
from ..tree.view import View
from .load import ATTEMPTS_MAX, NAP_SECONDS
from .replica import refresh

UNPINNED_ATTEMPTS: Final = 3  # attempts without a pin, before the question is asked of a pinned view
T = TypeVar("T")


def pin_view(engine: Engine) -> Op[View]:
    """Return the newest view, frozen and with its tables pinned, until `View.unpin`. Any thread.

    A read-only replica opens all tables instead. It raises `StoreBusy` if there are not enough
    descriptors.
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
    """Pin the tables of `engine.view`, as it is when this returns, and of every later version.

    Returns the version word to pass to `Pins.give_back`.
    """
    word = engine.seen_version
    engine.pins.add(word)
    try:
        # Order: load VERSION after the pin is announced.
        if engine.words[VERSION] != engine.seen_version:
            yield from refresh(engine)
    except BaseException:
        _give_back(engine, word)
        raise
    return word


def find_newest(engine: Engine, keyspace: str, key: bytes, found: PendingRead | None = None) -> Op[bytes | None]:
    """Return the live value of a user key, without pinning anything. Any thread.

    `found` is the answer of `probe` of the newest view, if the caller has asked it already. If a
    table is gone, the key is looked up in the newest view; its answer is as good, since it is
    newer.
    """
    for _ in range(UNPINNED_ATTEMPTS):
        if found is None:
            view = engine.view
            prefix = view.prefix(keyspace)
            answer = None if prefix is None else probe(view, prefix + key, engine.clock)
            if not isinstance(answer, PendingRead):
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
    """Return the answer of `question` for the newest view.

    If a table is gone, ask again with a newer view.
    """
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
    """Take over the newest tables, because one was `gone`.

    Raises `gone` if no living process could have replaced the table.
    """
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
