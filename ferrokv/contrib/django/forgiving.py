"""OPTIONS["IGNORE_EXCEPTIONS"]: if the store fails, the cache acts empty and logs a warning.

Errors of the call itself are still raised: a bad key, a value that cannot be pickled, or counting
on something that is not a number.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any, Final

from ferrokv import (
    CorruptionError,
    StoreBusy,
    StoreClosed,
    StoreFailed,
    StoreFull,
    StorePathError,
    StoreReadOnly,
    UnsupportedFormat,
)

logger = logging.getLogger("ferrokv.contrib.django")

IGNORED: Final = (
    CorruptionError,
    StoreBusy,
    StoreClosed,
    StoreFailed,
    StoreFull,
    StorePathError,
    StoreReadOnly,
    UnsupportedFormat,
)
Answer = Callable[[dict[str, Any]], Any]
"""Returns the substitute answer of a method from its arguments by name; `self` is the cache."""


def _nothing(arguments: dict[str, Any]) -> None:
    """The answer of methods that return None."""


def _false(arguments: dict[str, Any]) -> bool:
    return False


def _not_set(arguments: dict[str, Any]) -> bool | None:
    return False if arguments.get("nx") or arguments.get("xx") else None


def _counted(arguments: dict[str, Any]) -> Any:
    """The result for a counter that was at zero, so that code that counts goes on."""
    return arguments.get("delta", 1)


def _counted_down(arguments: dict[str, Any]) -> Any:
    return -arguments.get("delta", 1)


def _version(arguments: dict[str, Any], sign: int) -> int:
    """The version that the key would have now, so that code that moves keys goes on."""
    version = arguments.get("version")
    return int((arguments["self"].version if version is None else version) + sign * arguments.get("delta", 1))


ANSWERS: Final[dict[str, Answer]] = {
    "add": _false,
    "clear": _nothing,
    "decr": _counted_down,
    "decr_version": lambda arguments: _version(arguments, -1),
    "delete": _false,
    "delete_many": lambda arguments: 0,
    "delete_pattern": lambda arguments: 0,
    "delete_tag": _nothing,
    "expire": _false,
    "expire_at": _false,
    "get": lambda arguments: arguments.get("default"),
    "get_many": lambda arguments: {},
    "has_key": _false,
    "incr": _counted,
    "incr_version": lambda arguments: _version(arguments, 1),
    "keys": lambda arguments: [],
    "persist": _false,
    "pexpire": _false,
    "pexpire_at": _false,
    "pttl": lambda arguments: 0,
    "set": _not_set,
    "set_many": lambda arguments: list(arguments["data"]),
    "touch": _false,
    "ttl": lambda arguments: 0,
}


@functools.cache
def forgiving(kind: Any) -> type:
    """Return a subclass whose methods answer like an empty cache when the store fails.

    `get_or_set` computes the value, once.
    """
    methods: dict[str, Callable[..., Any]] = {}
    for name, answer in ANSWERS.items():
        methods[name] = _forgiving(getattr(kind, name), answer)
        methods["a" + name] = _forgiving_later(getattr(kind, "a" + name), answer)
    methods["get_or_set"] = _computing(kind.get_or_set)
    methods["aget_or_set"] = _computing_later(kind.aget_or_set)
    methods["iter_keys"] = _iterating(kind.iter_keys)
    methods["aiter_keys"] = _iterating_later(kind.aiter_keys)
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, "__doc__": kind.__doc__, **methods})


def _log(method: Callable[..., Any], error: Exception) -> None:
    logger.warning("cache failure ignored: method=%s error=%r", method.__name__, error)


def _named(method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    return inspect.signature(method).bind(*args, **kwargs).arguments


def _forgiving(method: Callable[..., Any], answer: Answer) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except IGNORED as error:
            _log(method, error)
            return answer(_named(method, args, kwargs))

    return call


def _forgiving_later(method: Callable[..., Any], answer: Answer) -> Callable[..., Any]:
    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return await method(*args, **kwargs)
        except IGNORED as error:
            _log(method, error)
            return answer(_named(method, args, kwargs))

    return call


class _Once:
    """A default that is computed at most once.

    An error that it raises is no failure of the cache.
    """

    def __init__(self, default: Any) -> None:
        self._default = default
        self._is_computed = False
        self._value: Any = None
        self.error: BaseException | None = None

    def __call__(self) -> Any:
        if self.error is not None:
            raise self.error
        if not self._is_computed:
            try:
                self._value = self._default() if callable(self._default) else self._default
            except BaseException as error:
                self.error = error
                raise
            self._is_computed = True
        return self._value

    async def later(self) -> Any:
        value = self()
        if inspect.isawaitable(value):
            try:
                value = self._value = await value
            except BaseException as error:
                self.error = error
                raise
        return value


def _computing(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, key: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
        once = _Once(default)
        try:
            return method(self, key, once if callable(default) else default, *args, **kwargs)
        except IGNORED as error:
            if error is once.error:
                raise
            _log(method, error)
            return once()

    return call


def _computing_later(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def call(self: Any, key: Any, default: Any, *args: Any, **kwargs: Any) -> Any:
        once = _Once(default)
        try:
            return await method(self, key, once.later if callable(default) else default, *args, **kwargs)
        except IGNORED as error:
            if error is once.error:
                raise
            _log(method, error)
            return await once.later()

    return call


def _iterating(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            yield from method(*args, **kwargs)
        except IGNORED as error:
            _log(method, error)

    return call


def _iterating_later(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            async for key in method(*args, **kwargs):
                yield key
        except IGNORED as error:
            _log(method, error)

    return call
