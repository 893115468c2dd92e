"""docs/commands.md says what the code does."""

from __future__ import annotations

from ferrokv import FerroKV
from tools.make_commands import DIFFERS, GROUPS, HOME, NOT_PLANNED, lines, methods_of


def test_the_page_is_current() -> None:
    """Else: `python -m tools.make_commands`."""
    assert HOME.read_text(encoding="utf-8") == "\n".join(lines())


def test_each_method_of_redis_py_is_there_or_has_a_reason_not_to_be() -> None:
    methods = {name for group in GROUPS.values() for name in methods_of(group)}
    assert set(DIFFERS) | set(NOT_PLANNED) <= methods
    assert not set(DIFFERS) & set(NOT_PLANNED)
    assert not {name for name in NOT_PLANNED if hasattr(FerroKV, name)}
