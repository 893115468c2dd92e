"""Writes docs/commands.md: each of redis-py's methods on keys and data types, and what ferrokv does of it.

`python -m tools.make_commands`. Whether a method is there is read from the code; only differences and reasons are written here.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Final

from redis.commands import core

from ferrokv import FerroKV

HOME: Final = Path(__file__).parent.parent / "docs" / "commands.md"
GROUPS: Final = {
    "Keys and strings": core.BasicKeyCommands,
    "Lists": core.ListCommands,
    "Hashes": core.HashCommands,
    "Sets": core.SetCommands,
    "Sorted sets": core.SortedSetCommands,
    "Scans": core.ScanCommands,
}
RANDOM: Final = "O(n): members are in order, and none can be drawn by its position"
WAITS: Final = (
    "waiters are woken, also by other processes; those of one process get elements in about the order they came in; "
    "inside a pipeline or transaction it does not wait"
)
RANK: Final = "O(position): ranks are counted"
SORTED_ANSWER: Final = "answers in the order of the fields"
NEW: Final = "newer than the Redis 7 that equality is tested against"
FIELD_TTL: Final = "a collection has one TTL; its elements have none"
POP_MANY: Final = "`transaction` does it, with any choice of keys"
CURSOR: Final = "use the iterator: `{}_iter`"
INTERNAL: Final = "a part of redis-py's machinery"
DIFFERS: Final = {
    "bitop": "AND, OR, XOR and NOT",
    "copy": "`destination_db` is refused: keyspaces have names",
    "getbit": "a bit beyond the largest value (64 MiB) is refused",
    "setbit": "a bit beyond the largest value (64 MiB) is refused",
    "incr": "an additional `xx` leaves a missing key alone",
    "decr": "an additional `xx` leaves a missing key alone",
    "incrby": "an additional `xx` leaves a missing key alone",
    "decrby": "an additional `xx` leaves a missing key alone",
    "keys": "answers in key order; reads only the range of the pattern's literal beginning",
    "randomkey": RANDOM,
    "touch": "counts only: there is no time of last use",
    "set": "without `ifeq` and its kin: see `compare_and_set`; TTLs are exact to the millisecond also when given as a float",
    "hgetall": SORTED_ANSWER,
    "hkeys": SORTED_ANSWER,
    "hvals": SORTED_ANSWER,
    "hrandfield": RANDOM,
    "blpop": WAITS,
    "brpop": WAITS,
    "blmove": WAITS,
    "brpoplpush": WAITS,
    "bzpopmin": WAITS,
    "bzpopmax": WAITS,
    "linsert": "O(n)",
    "lrem": "O(n)",
    "spop": RANDOM,
    "srandmember": RANDOM,
    "zrandmember": RANDOM + "; scores are floats",
    "zrank": RANK,
    "zrevrank": RANK,
    "zrange": RANK + " when asked by position; `score_cast_func` gets a float",
    "zrevrange": RANK,
    "zremrangebyrank": RANK,
    "zcount": "O(members counted)",
    "zlexcount": "O(members counted)",
    "zdiff": "with `withscores` a list of pairs",
    "scan": "another method: an ordered range of keys and values, in both directions; cursors are not needed",
    "scan_iter": "in key order, as of one moment; an unknown `_type` raises",
    "hscan_iter": "in the order of the fields",
    "sscan_iter": "in the order of the members",
    "zscan_iter": "in the order of the members",
}
NOT_PLANNED: Final = {
    "bitfield": "fields packed into strings have found no user among web applications",
    "bitfield_ro": "as `bitfield`",
    "dump": "Redis's own serialization",
    "restore": "Redis's own serialization",
    "move": "keyspaces have names: a transaction moves between them",
    "lcs": "a computation on two values, better done by the caller",
    "stralgo": "as `lcs`",
    "sort": "sorting by patterns over other keys; the caller can sort",
    "sort_ro": "as `sort`",
    "watch": "on pipelines",
    "unwatch": "on pipelines",
    "lmpop": POP_MANY,
    "blmpop": POP_MANY,
    "lmovem": NEW,
    "blmovem": NEW,
    "zmpop": POP_MANY,
    "bzmpop": POP_MANY,
    "delex": NEW + "; see `compare_and_delete`",
    "digest": NEW,
    "digest_local": NEW,
    "increx": NEW,
    "msetex": NEW + "; `write(batch)` gives each key its TTL",
    "sdiffcard": NEW,
    "sunioncard": NEW,
    "hscan": CURSOR.format("hscan"),
    "sscan": CURSOR.format("sscan"),
    "zscan": CURSOR.format("zscan"),
    **dict.fromkeys(("himport_prepare_internal", "himport_set"), INTERNAL),
    **dict.fromkeys(("himport_discard_internal", "himport_discard_all_internal"), INTERNAL),
    **dict.fromkeys(
        ("hexpire", "hpexpire", "hexpireat", "hpexpireat", "hpersist", "hexpiretime", "hpexpiretime"), FIELD_TTL
    ),
    **dict.fromkeys(("httl", "hpttl", "hsetex", "hgetex"), FIELD_TTL),
    "hgetdel": NEW,
}
OURS: Final = (
    *("compare_and_set", "compare_and_delete", "set_ex", "write", "transaction", "pipeline", "lock", "keyspace"),
    *("keyspaces", "set_quota", "snapshot", "dbsize", "flushdb", "delete_range", "flush", "compact", "stats"),
    *("verify", "backup", "changes", "ready", "capabilities"),
)
INTRODUCTION: Final = """# Commands

Made from the code by `python -m tools.make_commands`; a test compares. Each method of redis-py {version} on keys and data types
is listed. *works*: the same arguments, answers, errors and words as redis-py has against a real server, with `protocol=2` and
bytes; random sequences of these methods are run against both and compared (`tests/commands/test_redis.py`). Both faces, pipelines
and `transaction` have all of them but the iterators; asyncio's are awaited.

Everywhere: a key has 1 to 65,535 bytes (Redis allows an empty one), a field or member up to 65,535, a value up to 64 MiB. WATCH
compares what a key holds and its TTL: a string that was changed and changed back does not count as changed, a collection does.
What is wrong with an argument may be reported before what is wrong with the key.
Keys are bytes or str: numbers are refused as keys. One command or transaction writes at most 131,072 records, and reads as
many in ranges, while others wait for it; more is refused with `DataError`, before it is read. So a longer list is
popped by parts, and cleared in one. Here and there more is accepted than by redis-py: TTLs may be floats or have milliseconds,
keyword arguments of newer servers work, and `score_cast_func` gets a float. Hexadecimal numbers are not taken as scores. A
pipeline's error says which command failed by its place alone.
"""


def methods_of(group: type) -> list[str]:
    """The public methods that a group of redis-py's defines."""
    return sorted(name for name in vars(group) if not name.startswith("_"))


def lines() -> list[str]:
    """The page."""
    import redis

    version = ".".join(redis.__version__.split(".")[:2])
    page = [INTRODUCTION.format(version=version)]
    for title, group in GROUPS.items():
        page += [f"## {title}\n", "| redis-py | ferrokv |", "|---|---|"]
        for name in methods_of(group):
            if name in NOT_PLANNED:
                status = f"not planned: {NOT_PLANNED[name]}"
            else:
                assert hasattr(FerroKV, name), f"{name} is missing, and there is no reason why"
                status = f"works; {DIFFERS[name]}" if name in DIFFERS else "works"
            page.append(f"| `{name}` | {status} |")
        page.append("")
    page += ["## What ferrokv has besides\n", "| method | |", "|---|---|"]
    for name in OURS:
        document = inspect.getdoc(getattr(FerroKV, name)) or ""
        page.append(f"| `{name}` | {' '.join(document.split(chr(10) * 2)[0].split())} |")
    return [*page, ""]


if __name__ == "__main__":
    HOME.write_text("\n".join(lines()), encoding="utf-8")
