"""Opening and closing for asyncio: in other threads, and once for all tasks that use a handle first.

Separate from `unopened.py`, so that threads need not import asyncio.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Callable, Generator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ...errors import StoreClosed, StoreReplaced
from ..runtime.registry import release_store
from ..runtime.threads import may_run
from .unopened import OpenArguments, Unopened

if TYPE_CHECKING:
    from ..runtime.store import Store
    from .reader import Reader


class AsyncClosable(Protocol):
    """A handle."""

    async def close(self) -> None:
        """Close it."""


H = TypeVar("H", bound=AsyncClosable)


class AsyncUnopened(Unopened):
    """As `Unopened`, for a handle of asyncio.

    One task opens the store and the others wait for it. If it is cancelled, the next one opens. If
    opening fails, all tasks that wait get the error. Each event loop opens on its own; the last of
    them releases its store again.
    """

    def __init__(self, handle: Reader, arguments: OpenArguments, keyspace: str) -> None:
        super().__init__(handle, arguments, keyspace)
        self._loop_state: _LoopState | None = None  # of the event loop that used it last

    def require(self) -> Store:
        """Raise, since opening would block the event loop."""
        handle = self._handle()
        if handle is not None and handle._was_open:
            raise StoreReplaced(
                "the directory was removed or replaced: await `ready()` or any command to open it again"
            )
        raise StoreClosed("the store is not open yet: await `ready()` or any command before this call")

    async def open(self) -> None:
        """Open the store, unless another task does."""
        loop = asyncio.get_running_loop()
        state = self._loop_state
        if state is None or state.loop is not loop:
            state = self._loop_state = _LoopState(loop)
        failures = state.failures
        async with state.lock:
            while self._is_wanted():
                if state.error is not None and state.failures != failures:
                    raise copy.copy(state.error)
                try:
                    store = await in_thread(partial(self.arguments.open, self._keyspace))
                except Exception as error:
                    state.failures += 1
                    state.error = copy.copy(error)  # without its traceback, which keeps frames alive
                    raise
                if not self._install(store):
                    release_later(store)


class _LoopState:
    """The state of one event loop."""

    __slots__ = ("error", "failures", "lock", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.lock = asyncio.Lock()
        self.failures = 0
        self.error: Exception | None = None  # the most recent one


async def in_thread(open_: Callable[[], Store]) -> Store:
    """Run `open_()` in another thread; in this one where no threads may run.

    If the caller is cancelled meanwhile, that thread releases the store.
    """
    if not may_run():
        return open_()
    opening = _Opening(open_)
    try:
        return await asyncio.to_thread(opening.run)
    except BaseException:  # cancelled, or its coroutine was closed
        opening.give_up()
        raise


class _Opening:
    """Decides under a lock, between opening thread and caller, who releases an unwanted store."""

    def __init__(self, open_: Callable[[], Store]) -> None:
        self._open = open_
        self._lock = threading.Lock()
        self._gave_up = False
        self._store: Store | None = None

    def run(self) -> Store:
        store = self._open()
        with self._lock:
            self._store = store
            unwanted = self._gave_up
        if unwanted:
            release_store(store)
        return store

    def give_up(self) -> None:
        with self._lock:
            self._gave_up = True
            store = self._store
        if store is not None:
            release_later(store)


class Opening(Generic[H]):
    """A store that is about to be opened. Await it, or enter it with `async with`."""

    __slots__ = ("_handle", "_make", "_open")

    def __init__(self, open_: Callable[[], Store], make: Callable[[Store], H]) -> None:
        self._open = open_
        self._make = make
        self._handle: H | None = None

    if not TYPE_CHECKING:  # checkers find these mistakes by themselves

        def __getattr__(self, name: str) -> object:
            if name.startswith("__"):
                raise AttributeError(name)
            raise AttributeError(
                f"the store is not open yet: write `db = await FerroKV.open(...)` before using {name!r}"
            )

        def __enter__(self) -> object:
            raise TypeError("write `async with FerroKV.open(...)`, or use BlockingFerroKV without asyncio")

        def __exit__(self, *error: object) -> None:
            """There for `with` to find it; `__enter__` has raised."""

    def __await__(self) -> Generator[Any, None, H]:
        return self._opened().__await__()

    async def __aenter__(self) -> H:
        self._handle = await self._opened()
        return self._handle

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._handle is not None:
            await self._handle.close()

    async def _opened(self) -> H:
        return self._make(await in_thread(self._open))


async def arelease_store(store: Store) -> None:
    """Release a store in another thread; in this one where no threads may run."""
    if not may_run():
        release_store(store)
        return
    try:
        releasing = asyncio.get_running_loop().run_in_executor(None, release_store, store)
    except RuntimeError:  # the loop's executor has been shut down
        release_later(store)
    else:
        # A cancelled caller stops waiting, but the store is still released.
        await asyncio.shield(releasing)


def release_later(store: Store) -> None:
    """Release a store in another thread, because that may block."""
    threading.Thread(target=release_store, args=(store,), name="ferrokv-release").start()
