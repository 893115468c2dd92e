"""Which keys a reading command touches.

A deferral asks, to see whether a read can meet writes that are not durable yet
(`runtime/deferrals/ledger.py`). A command that declares nothing may touch any key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_POSITION: Final = "key_position"
_APPENDED: Final = "reads_appended"


def reads_keys_at(position: int) -> Callable[[F], F]:
    """Declare that a command reads no keys but those in one argument: a key, or a list of keys.

    The position does not count the records, which come first.
    """

    def declare(command: F) -> F:
        setattr(command, _POSITION, position)
        return command

    return declare


def reading_appended(command: F) -> F:
    """Declare that a command wants to know of writes by others that are appended and not durable."""
    setattr(command, _APPENDED, True)
    return command


def reads_appended(command: Callable[..., Any]) -> bool:
    """Return True for a command declared with `reading_appended`."""
    return getattr(command, _APPENDED, False)


def keys_read(command: Callable[..., Any], args: tuple[Any, ...]) -> Iterable[bytes] | None:
    """Return the keys that a command reads; None if it may read any."""
    position: int | None = getattr(command, _POSITION, None)
    if position is None:
        return None
    held = args[position]
    return (held,) if isinstance(held, bytes) else held
