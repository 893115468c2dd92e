"""The driver that runs an operation and blocks. Its twin for event loops is `adrivers.acomplete`.

`elsewhere` lets one operation use two storages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .requests import PAUSE, Op, Pause, Storage

T = TypeVar("T")


def _no_pause() -> None:
    """Do nothing at a pause: the caller only waits for this operation."""


def complete(op: Op[T], storage: Storage, pause: Callable[[], None] = _no_pause) -> T:
    """Run the operation and return its result.

    Blocks. `pause` is called when the operation yields a `Pause`.
    """
    perform = storage.perform
    try:
        request = next(op)
        while True:
            try:
                if request.__class__ is Pause:
                    pause()
                    reply = None
                else:
                    reply = perform(request)
            except BaseException as error:  # noqa: BLE001 - all errors are thrown into the operation
                request = op.throw(error)
            else:
                request = op.send(reply)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        op.close()


def elsewhere(op: Op[T], storage: Storage) -> Op[T]:
    """Run an operation at `storage` as a part of one that a driver runs at another storage.

    Its requests are performed here, blocking; only its pauses reach the driver. So this is not for
    operations that run on an event loop.
    """
    try:
        request = next(op)
        while True:
            try:
                if request.__class__ is Pause:
                    yield PAUSE
                    reply = None
                else:
                    reply = storage.perform(request)
            except BaseException as error:  # noqa: BLE001 - all errors are thrown into the operation, as above
                request = op.throw(error)
            else:
                request = op.send(reply)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        op.close()
