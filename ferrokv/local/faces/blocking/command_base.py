# Made by `python -m tools.make_twins` from local/faces/aio/command_base.py; edit that.
"""What the commands of a face are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from ...log.transaction import Transaction
from ...storage.requests import Op
from ...tree.records import Records

P = ParamSpec("P")
T = TypeVar("T")


class CommandBase:
    """A face says here how it has commands run."""

    __slots__ = ()

    def _query(self, command: Callable[Concatenate[Records, P], Op[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of a command that only reads."""
        raise NotImplementedError

    def _write(self, command: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of a command that may write."""
        raise NotImplementedError

    def _write_unawaited(
        self, command: Callable[Concatenate[Transaction, P], object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Have a command run that nobody waits for. Never raises."""
        raise NotImplementedError

    def _wait_for(
        self,
        timeout: float | None,
        names: list[bytes],
        command: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """The answer of a command once it is not None, or None after `timeout` seconds; 0 and None wait for ever."""
        raise NotImplementedError
