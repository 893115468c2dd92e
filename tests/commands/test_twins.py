"""The commands of threads and pipelines are made from those of asyncio, and all three have the same arguments."""

from __future__ import annotations

import inspect

import pytest

from ferrokv import BlockingFerroKV, BlockingPipeline, DataError, FerroKV, Pipeline, Tx
from tools import make_contract, make_twins


def test_the_twins_are_current() -> None:
    """Else: `python -m tools.make_contract`, then `python -m tools.make_twins`."""
    for path, text in (*make_contract.made().items(), *make_twins.made().items()):
        assert path.read_text(encoding="utf-8") == text, f"{path.name} was edited by hand, or is old"


NO_COMMANDS = {"pipelines", "snapshots"}


def commands(kind: type) -> dict[str, list[object]]:
    """The public commands of a face with their parameters."""
    found = {}
    for base in kind.__mro__:
        folder, _, module = base.__module__.rpartition(".")
        if folder in ("ferrokv.local.faces.aio", "ferrokv.local.faces.blocking") and module not in NO_COMMANDS:
            for name, method in vars(base).items():
                if not name.startswith("_"):
                    parameters = inspect.signature(method).parameters.values()
                    found[name] = [(p.name, p.kind, p.default) for p in parameters]
    return found


def test_pipelines_and_transactions_have_every_command_of_the_faces() -> None:
    no_commands = {"lock", "changes", "scan", "scan_iter", "hscan_iter", "sscan_iter", "zscan_iter"}
    expected = {name: said for name, said in commands(FerroKV).items() if name not in no_commands}
    assert len(expected) > 120
    for kind in (BlockingFerroKV, Tx, BlockingPipeline, Pipeline):
        assert {name: said for name, said in commands(kind).items() if name not in no_commands} == expected, kind


def test_a_transaction_is_refused_what_it_can_not_run(db: BlockingFerroKV) -> None:
    async def waits(tx: Tx) -> None:
        tx.set("a", 1)

    for function in (waits, "function"):
        with pytest.raises(DataError, match="plain function"):
            db.transaction(function)  # type: ignore[arg-type]
    assert db.get("a") is None
