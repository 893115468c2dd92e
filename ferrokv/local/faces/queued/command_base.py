# Made by `python -m tools.make_twins` from local/faces/aio/command_base.py; edit that.
"""The base of every class of commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from ...log.transaction import Transaction
from ...storage.requests import Op
from ...tree.records import Records

P = ParamSpec("P")
T = TypeVar("T")


class CommandBase:
    """A handle, pipeline or transaction implements these methods to say how its commands run."""

    __slots__ = ()

    def _query(self, command: Callable[Concatenate[Records, P], Op[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a command that only reads, and return its answer."""
        raise NotImplementedError

    def _write(self, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a command that may write, and return its answer."""
        raise NotImplementedError

    def _write_unawaited(
        self, command: Callable[Concatenate[Transaction, P], object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Run a command whose answer nobody waits for. Never raises."""
        raise NotImplementedError

    def _wait_for(
        self,
        timeout: float | None,
        names: list[bytes],
        command: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Repeat a command until its answer is not None, and return that answer.

        Returns None after `timeout` seconds; a timeout of 0 or None waits forever.
        """
        raise NotImplementedError
