"""Whether a history of concurrent calls could have happened one after the other (Wing and Gong's search, with Lowe's memory).

Keys are independent, so each is checked alone. A call that never answered may have happened at any time after it began, or
not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

NEVER = float("inf")


class Call(NamedTuple):
    """One call. `answer` counts only if it returned; times are of one clock for all processes."""

    process: int
    kind: str
    key: bytes
    argument: Any
    called: float
    returned: float = NEVER
    answer: Any = None


State = bytes | None


def apply(state: State, kind: str, argument: Any) -> tuple[State, Any]:
    """The value after the call, and its answer."""
    if kind == "get":
        return state, state
    if kind == "set":
        return argument, True
    if kind == "setnx":
        return (argument, True) if state is None else (state, None)
    if kind == "delete":
        return None, int(state is not None)
    if kind == "incr":
        total = int(state or b"0") + argument
        return b"%d" % total, total
    raise ValueError(kind)


def explain(history: Iterable[Call]) -> list[Call] | None:
    """None if every key's calls have an order that explains all answers; else the calls of a key that have none."""
    by_key: dict[bytes, list[Call]] = {}
    for call in history:
        by_key.setdefault(call.key, []).append(call)
    for calls in by_key.values():
        if not _has_order(sorted(calls, key=lambda call: call.called)):
            return calls
    return None


def _has_order(calls: list[Call]) -> bool:
    everything = (1 << len(calls)) - 1
    must = sum(1 << i for i, call in enumerate(calls) if call.returned != NEVER)
    seen: set[tuple[int, State]] = set()
    stack: list[tuple[int, State]] = [(0, None)]
    while stack:
        done, state = stack.pop()
        if done & must == must:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        left = everything & ~done
        first_return = min(call.returned for i, call in enumerate(calls) if left >> i & 1)
        for i, call in enumerate(calls):
            if call.called > first_return:
                break
            if left >> i & 1:
                after, answer = apply(state, call.kind, call.argument)
                if call.returned == NEVER or answer == call.answer:
                    stack.append((done | 1 << i, after))
    return False
