"""The driver that blocks; its twin that awaits is `adrivers.acomplete`. And how one operation works at two storages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .requests import PAUSE, Op, Pause, Storage

T = TypeVar("T")


def _no_pause() -> None:
    """Let nobody else run: the caller waits for this operation."""


def complete(op: Op[T], storage: Storage, pause: Callable[[], None] = _no_pause) -> T:
    """The operation's result. Blocks; `pause` is called wherever the operation offers to let others run."""
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
            except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the operation
                request = op.throw(error)
            else:
                request = op.send(reply)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        op.close()


def elsewhere(op: Op[T], storage: Storage) -> Op[T]:
    """The operation, with its requests performed at another storage than that of the driver, which gets the pauses alone.

    Blocks in between, so it is not for an event loop's driver.
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
            except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the operation
                request = op.throw(error)
            else:
                request = op.send(reply)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        op.close()
