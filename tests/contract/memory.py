"""A backend in memory, `memory://name`: as small as the contract of the adapters allows.

It keeps nothing beyond its process, and nobody's death frees its locks; its `capabilities` say so. One lock guards all of it, and a
deferral's writes are seen at once by everybody, which is allowed: they may be lost until it is settled, not hidden.
"""

from __future__ import annotations

import asyncio
import copy
import fnmatch
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from ferrokv import Capability, DataError, LockError, LockNotOwnedError, ResponseError, StoreClosed, WriteBatch
from ferrokv.contract.aio.cache import AsyncCacheStore
from ferrokv.contract.blocking.cache import BlockingCacheStore
from ferrokv.contract.encoding import (
    Expiry,
    Key,
    encode_key,
    encode_keyspace,
    encode_moment,
    encode_ttl,
    encode_value,
)

T = TypeVar("T")
WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_AN_INTEGER: Final = "value is not an integer or out of range"


class Memory:
    """All keyspaces of one name: key -> [value, expiry in ms or 0]. A sorted set is a dict."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.keyspaces: dict[str, dict[bytes, list[Any]]] = {}
        self.counts = 0  # of changes
        self.quotas: dict[str, int | None] = {}

    def space(self, keyspace: str) -> dict[bytes, list[Any]]:
        return self.keyspaces.setdefault(keyspace, {})


class Commands:
    """The commands of a keyspace, for threads and in transactions."""

    def __init__(self, memory: Memory, keyspace: str) -> None:
        self._memory = memory
        self._keyspace = encode_keyspace(keyspace)

    @contextmanager
    def _turn(self) -> Iterator[dict[bytes, list[Any]]]:
        with self._memory.lock:
            self._check()
            space = self._memory.space(self._keyspace)
            now = time.time() * 1000
            for key in [key for key, (_, expires) in space.items() if expires and expires <= now]:
                del space[key]
            before = {key: list(held) for key, held in space.items()}
            yield space
            if before != space:
                self._memory.counts += 1
                self._memory.changed.notify_all()

    def _check(self) -> None:
        """A handle refuses after its closing."""

    @staticmethod
    def _string(space: dict[bytes, list[Any]], key: bytes) -> bytes | None:
        held = space.get(key)
        if held is not None and not isinstance(held[0], bytes):
            raise ResponseError(WRONG_TYPE)
        return None if held is None else held[0]

    # -- strings -------------------------------------------------------------------------------------------------

    def get(self, name: Key) -> bytes | None:
        with self._turn() as space:
            return self._string(space, encode_key(name))

    def mget(self, keys: Any, *args: Key) -> list[bytes | None]:
        names = [keys, *args] if isinstance(keys, str | bytes) else [*keys, *args]
        with self._turn() as space:
            found = [space.get(encode_key(name)) for name in names]
            return [held[0] if held is not None and isinstance(held[0], bytes) else None for held in found]

    def set(
        self,
        name: Key,
        value: Any,
        ex: Expiry | None = None,
        px: Expiry | None = None,
        nx: bool = False,
        xx: bool = False,
        keepttl: bool = False,
        get: Any = False,
        exat: Any = None,
        pxat: Any = None,
    ) -> Any:
        key, stored = encode_key(name), encode_value(value)
        ttl = encode_ttl(ex) if ex is not None else None if px is None else encode_ttl(px, unit_ms=1)
        moment = encode_moment(exat) if exat is not None else None if pxat is None else encode_moment(pxat, unit_ms=1)
        if (ttl is not None and ttl <= 0) or (moment is not None and moment <= 0):
            raise ResponseError("invalid expire time in 'set' command")
        if nx and xx:
            raise DataError("``nx`` and ``xx`` are mutually exclusive.")
        with self._turn() as space:
            held = space.get(key)
            old = self._string(space, key) if get else None
            if (nx and held is not None) or (xx and held is None):
                return old if get else None
            expires = 0 if ttl is None else time.time() * 1000 + ttl
            space[key] = [stored, moment or expires or (held[1] if keepttl and held else 0)]
            return old if get else True

    def psetex(self, name: Key, time_ms: Expiry, value: Any) -> bool:
        return bool(self.set(name, value, px=time_ms))

    def getex(
        self, name: Key, ex: Any = None, px: Any = None, exat: Any = None, pxat: Any = None, persist: bool = False
    ) -> bytes | None:
        key = encode_key(name)
        with self._turn() as space:
            found = self._string(space, key)
            if found is not None and persist:
                space[key][1] = 0
            elif found is not None and not ex is px is exat is pxat is None:
                self.set(key, found, ex=ex, px=px, exat=exat, pxat=pxat)
            return found

    def write(self, batch: WriteBatch) -> bool:
        with self._turn() as space:
            for key, value, ttl in batch.writes:
                space.pop(key, None)
                if value is not None:
                    space[key] = [value, 0 if ttl is None else time.time() * 1000 + ttl]
        return True

    def compare_and_set(
        self, name: Key, expected: Any, value: Any, ex: Expiry | None = None, px: Expiry | None = None
    ) -> bool:
        key = encode_key(name)
        with self._turn() as space:
            if self._string(space, key) != encode_value(expected):
                return False
            self.set(key, value, ex=ex, px=px, keepttl=ex is px is None)
            return True

    def compare_and_delete(self, name: Key, expected: Any) -> bool:
        with self._turn() as space:
            if self._string(space, encode_key(name)) != encode_value(expected):
                return False
            del space[encode_key(name)]
            return True

    def incr(self, name: Key, amount: int = 1, *, xx: bool = False) -> Any:
        key = encode_key(name)
        with self._turn() as space:
            found = self._string(space, key)
            if found is None and xx:
                return None
            try:
                counted = int(found or b"0") + amount
            except ValueError:
                raise ResponseError(NOT_AN_INTEGER) from None
            if not -(1 << 63) <= counted < 1 << 63:
                raise ResponseError("increment or decrement would overflow")
            self.set(key, counted, keepttl=True)
            return counted

    # -- keys ----------------------------------------------------------------------------------------------------

    def exists(self, *names: Key) -> int:
        with self._turn() as space:
            return sum(encode_key(name) in space for name in names)

    def delete(self, *names: Key) -> int:
        with self._turn() as space:
            return sum(space.pop(encode_key(name), None) is not None for name in names)

    def pttl(self, name: Key) -> int:
        with self._turn() as space:
            held = space.get(encode_key(name))
            return -2 if held is None else max(0, round(held[1] - time.time() * 1000)) if held[1] else -1

    def rename(self, src: Key, dst: Key) -> bool:
        with self._turn() as space:
            if encode_key(src) not in space:
                raise ResponseError("no such key")
            space[encode_key(dst)] = space.pop(encode_key(src))
            return True

    def _expire_at(self, name: Key, moment: float, nx: bool, xx: bool, gt: bool, lt: bool) -> bool:
        key = encode_key(name)
        with self._turn() as space:
            held = space.get(key)
            if held is None:
                return False
            has, old = bool(held[1]), held[1] or float("inf")
            if (nx and has) or (xx and not has) or (gt and moment <= old) or (lt and moment >= old):
                return False
            held[1] = moment
            if moment <= time.time() * 1000:
                del space[key]
            return True

    def expire(
        self, name: Key, time: Expiry, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        return self._expire_at(name, _now() + encode_ttl(time), nx, xx, gt, lt)

    def pexpire(
        self, name: Key, time: Expiry, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        return self._expire_at(name, _now() + encode_ttl(time, unit_ms=1), nx, xx, gt, lt)

    def expireat(
        self, name: Key, when: Any, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        return self._expire_at(name, encode_moment(when), nx, xx, gt, lt)

    def pexpireat(
        self, name: Key, when: Any, nx: bool = False, xx: bool = False, gt: bool = False, lt: bool = False
    ) -> bool:
        return self._expire_at(name, encode_moment(when, unit_ms=1), nx, xx, gt, lt)

    def persist(self, name: Key) -> bool:
        with self._turn() as space:
            held = space.get(encode_key(name))
            had = held is not None and bool(held[1])
            if held is not None:
                held[1] = 0
            return had

    def keys(self, pattern: Key = b"*") -> list[bytes]:
        glob = pattern if isinstance(pattern, str) else bytes(pattern).decode()
        glob = glob.replace("\\*", "[*]").replace("\\?", "[?]")
        with self._turn() as space:
            return sorted(key for key in space if fnmatch.fnmatchcase(key.decode("latin-1"), glob))

    def delete_range(self, start: Any = None, end: Any = None, *, prefix: Any = None) -> int:
        low, high = encode_key(start) if start else b"", encode_key(end) if end else None
        head = encode_key(prefix) if prefix else b""
        with self._turn() as space:
            names = [key for key in space if low <= key and (high is None or key < high) and key.startswith(head)]
            return self.delete(*names)

    def set_quota(self, max_bytes: int | None) -> bool:
        self._memory.quotas[self._keyspace] = max_bytes
        return True

    def flushdb(self) -> bool:
        with self._turn() as space:
            space.clear()
        return True

    # -- sorted sets ---------------------------------------------------------------------------------------------

    def zadd(self, name: Key, mapping: Mapping[Any, Any], *flags: bool, **more: bool) -> Any:
        with self._turn() as space:
            held = space.setdefault(encode_key(name), [{}, 0])
            members = {encode_value(member): float(score) for member, score in mapping.items()}
            added = len(members.keys() - held[0].keys())
            held[0] = {**held[0], **members}
            return added

    def zrem(self, name: Key, *values: Any) -> int:
        return self._keep(name, lambda member, score: member not in {encode_value(value) for value in values})

    def zremrangebyscore(self, name: Key, min: Any, max: Any) -> int:
        return self._keep(name, lambda member, score: not float(min) <= score <= float(max))

    def _keep(self, name: Key, wanted: Callable[[bytes, float], bool]) -> int:
        key = encode_key(name)
        with self._turn() as space:
            if key not in space:
                return 0
            old = space[key][0]
            space[key][0] = kept = {member: score for member, score in old.items() if wanted(member, score)}
            if not kept:
                del space[key]
            return len(old) - len(kept)

    def zrange(self, name: Key, start: Any, end: Any, *more: Any, **options: Any) -> list[Any]:
        with self._turn() as space:
            held = space.get(encode_key(name), [{}, 0])[0]
            members = sorted(held, key=lambda member: (held[member], member))
            return members[start:] if end == -1 else members[start : end + 1]

    # -- transactions --------------------------------------------------------------------------------------------

    def keyspace(self, name: str) -> Any:
        return Commands(self._memory, name)

    def transaction(self, function: Callable[[Any], T]) -> T:
        with self._memory.lock:
            self._check()
            before = copy.deepcopy(self._memory.keyspaces)
            try:
                return function(Commands(self._memory, self._keyspace))
            except BaseException:
                self._memory.keyspaces = before
                raise

    def lock(
        self,
        name: Key,
        timeout: Expiry | None = None,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        *,
        thread_local: bool = True,
    ) -> Lock:
        return Lock(self, name, timeout, blocking, blocking_timeout, threading.local() if thread_local else Plain())


def _now() -> float:
    return time.time() * 1000


class Plain:
    """Where a lock of all threads keeps its token."""


class Lock:
    """A lock with redis-py's methods."""

    def __init__(
        self, commands: Commands, name: Key, timeout: Any, blocking: bool, limit: float | None, local: Any
    ) -> None:
        self._commands = commands
        self.name = name
        self._timeout = timeout
        self._blocking = blocking
        self._limit = limit
        self._local = local

    @property
    def token(self) -> bytes | None:
        return getattr(self._local, "token", None)

    def acquire(
        self,
        sleep: float | None = None,
        blocking: bool | None = None,
        blocking_timeout: float | None = None,
        token: Key | None = None,
    ) -> bool:
        own = uuid.uuid4().bytes if token is None else encode_value(token)
        limit = self._limit if blocking_timeout is None else blocking_timeout
        deadline = None if limit is None else time.monotonic() + limit
        wait = self._blocking if blocking is None else blocking
        memory = self._commands._memory
        with memory.changed:
            while self._commands.set(self.name, own, ex=self._timeout, nx=True) is not True:
                if not wait or (deadline is not None and time.monotonic() >= deadline):
                    return False
                memory.changed.wait(0.01)
        self._local.token = own
        return True

    def _own(self, doing: str) -> bytes:
        if self.token is None:
            raise LockError(f"Cannot {doing} an unlocked lock")
        return self.token

    def release(self) -> None:
        own = self._own("release")
        self._local.token = None
        if not self._commands.compare_and_delete(self.name, own):
            raise LockNotOwnedError("Cannot release a lock that's no longer owned")

    def locked(self) -> bool:
        return bool(self._commands.exists(self.name))

    def owned(self) -> bool:
        return self.token is not None and self._commands.get(self.name) == self.token

    def extend(self, additional_time: Expiry, replace_ttl: bool = False) -> bool:
        own, left = self._own("extend"), 0 if replace_ttl else max(0, self._commands.pttl(self.name))
        if not self._commands.compare_and_set(self.name, own, own, px=left + encode_ttl(additional_time)):
            raise LockNotOwnedError("Cannot extend a lock that's no longer owned")
        return True

    def reacquire(self) -> bool:
        return self.extend(self._timeout, replace_ttl=True)

    def __enter__(self) -> Lock:
        if not self.acquire():
            raise LockError("Unable to acquire lock within the time specified")
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


class Changes:
    """Tells of any change of the memory, which may not be one of the keys: callers check."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._seen = 0

    def __enter__(self) -> Changes:
        self._seen = self._memory.counts
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held."""

    def wait(self, timeout: float | None = None) -> bool:
        with self._memory.changed:
            woken = self._memory.changed.wait_for(lambda: self._memory.counts != self._seen, timeout or None)
            self._seen = self._memory.counts
            return woken


class Deferral:
    """There is nothing to wait for."""

    is_inherited = False

    def append(self) -> None:
        """It is in its place."""

    async def aappend(self) -> None:
        """It is in its place."""

    def settle(self) -> None:
        """It is as durable as it gets."""

    async def asettle(self) -> None:
        """It is as durable as it gets."""

    def begin_settling(self) -> Any:
        return self.asettle()

    def close(self) -> None:
        """Nothing is collected."""

    def __enter__(self) -> Deferral:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to settle."""

    async def __aenter__(self) -> Deferral:
        return self

    async def __aexit__(self, *error: object) -> None:
        """Nothing to settle."""


class MemoryStore(Commands):
    """A handle for threads."""

    capabilities = frozenset({Capability.TRANSACTIONS, Capability.DEFERRAL})
    _is_closed = False

    def _check(self) -> None:
        if self._is_closed:
            raise StoreClosed("the handle was closed; open it again")

    def ready(self) -> MemoryStore:
        self._check()
        return self

    def close(self) -> None:
        self._is_closed = True

    def keyspace(self, name: str) -> MemoryStore:
        return MemoryStore(self._memory, name)

    def scan_iter(self, match: Any = None, count: int | None = None, _type: str | None = None) -> Iterator[bytes]:
        return iter(self.keys(match or b"*"))

    def changes(self, *names: Key, also_in: Any = None) -> Changes:
        return Changes(self._memory)

    def deferral(self) -> Deferral:
        return Deferral()

    def within(self, deferral: Any, *, forgiving: bool = False) -> MemoryStore:
        return self


def awaited(name: str) -> Any:
    """The method for asyncio, of one that never waits."""

    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._inner, name)(*args, **kwargs)

    return method


class AsyncMemoryLock:
    """A lock for asyncio."""

    def __init__(self, inner: Lock) -> None:
        self._inner = inner
        self.name = inner.name

    @property
    def token(self) -> bytes | None:
        return self._inner.token

    async def acquire(
        self,
        sleep: float | None = None,
        blocking: bool | None = None,
        blocking_timeout: float | None = None,
        token: Key | None = None,
    ) -> bool:
        limit = self._inner._limit if blocking_timeout is None else blocking_timeout
        deadline = None if limit is None else time.monotonic() + limit
        while not self._inner.acquire(blocking=False, token=token):
            waits = self._inner._blocking if blocking is None else blocking
            if not waits or (deadline is not None and time.monotonic() >= deadline):
                return False
            await asyncio.sleep(0.001)
        return True

    async def __aenter__(self) -> AsyncMemoryLock:
        if not await self.acquire():
            raise LockError("Unable to acquire lock within the time specified")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.release()

    release, locked, owned = awaited("release"), awaited("locked"), awaited("owned")
    extend, reacquire = awaited("extend"), awaited("reacquire")


class AsyncMemoryChanges:
    """As `Changes`, for asyncio."""

    def __init__(self, inner: Changes) -> None:
        self._inner = inner

    def __enter__(self) -> AsyncMemoryChanges:
        self._inner.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held."""

    async def wait(self, timeout: float | None = None) -> bool:
        deadline = time.monotonic() + timeout if timeout else None
        while not self._inner.wait(0.001):
            if deadline is not None and time.monotonic() >= deadline:
                return False
            await asyncio.sleep(0.001)
        return True


class AsyncMemoryStore:
    """A handle for asyncio."""

    capabilities = MemoryStore.capabilities

    def __init__(self, memory: Memory, keyspace: str) -> None:
        self._inner = MemoryStore(memory, keyspace)

    async def ready(self) -> AsyncMemoryStore:
        self._inner.ready()
        return self

    def keyspace(self, name: str) -> AsyncMemoryStore:
        return AsyncMemoryStore(self._inner._memory, name)

    async def scan_iter(
        self, match: Any = None, count: int | None = None, _type: str | None = None
    ) -> AsyncGenerator[bytes, None]:
        for name in self._inner.keys(match or b"*"):
            yield name

    def lock(self, *args: Any, **kwargs: Any) -> AsyncMemoryLock:
        return AsyncMemoryLock(self._inner.lock(*args, **kwargs))

    def changes(self, *names: Key, also_in: Any = None) -> AsyncMemoryChanges:
        return AsyncMemoryChanges(self._inner.changes())

    def deferral(self) -> Deferral:
        return Deferral()

    def within(self, deferral: Any, *, forgiving: bool = False) -> AsyncMemoryStore:
        return self

    get, mget, set, psetex, getex = (awaited(name) for name in ("get", "mget", "set", "psetex", "getex"))
    write, incr, exists, delete, pttl = (awaited(name) for name in ("write", "incr", "exists", "delete", "pttl"))
    compare_and_set, compare_and_delete = awaited("compare_and_set"), awaited("compare_and_delete")
    rename, expire, pexpire, persist = (awaited(name) for name in ("rename", "expire", "pexpire", "persist"))
    expireat, pexpireat, keys, flushdb = (awaited(name) for name in ("expireat", "pexpireat", "keys", "flushdb"))
    delete_range, set_quota, transaction = (awaited(name) for name in ("delete_range", "set_quota", "transaction"))
    zadd, zrem, zrange, close = (awaited(name) for name in ("zadd", "zrem", "zrange", "close"))
    zremrangebyscore = awaited("zremrangebyscore")


class MemoryBackend:
    """Serves `memory://name`."""

    def __init__(self) -> None:
        self.memories: dict[str, Memory] = {}

    def connect(self, url: str, options: Mapping[str, Any]) -> Any:
        return AsyncMemoryStore(self.memories.setdefault(url, Memory()), options.get("keyspace", "default"))

    def connect_blocking(self, url: str, options: Mapping[str, Any]) -> Any:
        return MemoryStore(self.memories.setdefault(url, Memory()), options.get("keyspace", "default"))


def shows_that_it_is_enough(memory: Memory) -> tuple[BlockingCacheStore, AsyncCacheStore]:
    """A type checker reads this: the fake has what the contract of the adapters demands."""
    return MemoryStore(memory, "default"), AsyncMemoryStore(memory, "default")
