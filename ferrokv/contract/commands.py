"""The commands, and which keys of its keyspace each of them touches.

A backend needs to know the keys of a call before it runs it: to send it to the node that has them,
or to know that it does not conflict with pending writes. So each command names the parameters that
hold its keys. A parameter may hold one key, several, a mapping by key, or a `WriteBatch`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from .batch import WriteBatch
from .encoding import encode_key


class Command(NamedTuple):
    """A command, by the name of its method.

    `keys` are the names of the parameters that hold keys. None means that the command may touch any
    key of the keyspace; `transaction` and `keyspaces` may touch other keyspaces, too. `is_write` is
    True if the command may change something.
    """

    name: str
    keys: tuple[str, ...] | None
    is_write: bool

    def keys_in(self, arguments: Mapping[str, Any]) -> list[bytes] | None:
        """Return the keys that a call touches, encoded; None if it may touch any.

        `arguments` are those of the call by parameter name; defaults may be left out. `DataError`
        if something that is not a key stands in a key's place.
        """
        if self.keys is None:
            return None
        return [encode_key(key) for parameter in self.keys for key in _each(arguments.get(parameter, ()))]


def _each(held: Any) -> Iterable[Any]:
    if isinstance(held, WriteBatch):
        return [key for key, _, _ in held.writes]
    if isinstance(held, str | bytes | bytearray | memoryview):
        return (held,)
    return held if isinstance(held, Iterable) else (held,)


# A line for each command: its name, then the parameters that hold keys; `*` means any key.
_READS: Final = """
exists names
touch args
type name
ttl name
pttl name
expiretime key
pexpiretime key
keys *
dbsize *
randomkey *
keyspaces *
get name
mget keys args
strlen name
getrange key
substr name
getbit name
bitcount key
bitpos key
llen name
lindex name
lrange name
lpos name
hget name
hmget name
hgetall name
hexists name
hlen name
hkeys name
hvals name
hstrlen name
hrandfield key
scard name
smembers name
sismember name
smismember name
srandmember name
sinter keys args
sunion keys args
sdiff keys args
sintercard keys
zcard name
zscore name
zmscore key
zrank name
zrevrank name
zrandmember key
zunion keys
zinter keys
zdiff keys
zintercard keys
zcount name
zlexcount name
zrange name
zrevrange name
zrangebyscore name
zrevrangebyscore name
zrangebylex name
zrevrangebylex name
scan *
scan_iter *
hscan_iter name
sscan_iter name
zscan_iter name
"""
_WRITES: Final = """
delete names
unlink names
rename src dst
renamenx src dst
copy source destination
expire name
pexpire name
expireat name
pexpireat name
persist name
delete_range *
set_quota *
flushdb *
set name
set_ex name
setex name
psetex name
setnx name
getex name
getdel name
getset name
append key
setrange name
setbit name
bitop dest keys
compare_and_set name
compare_and_delete name
mset mapping
msetnx mapping
write batch
incrby name
incr name
decrby name
decr name
incrbyfloat name
lpush name
rpush name
lpushx name
rpushx name
lpop name
rpop name
lset name
linsert name
lrem name
ltrim name
lmove first_list second_list
rpoplpush src dst
blpop keys
brpop keys
blmove first_list second_list
brpoplpush src dst
hset name
hmset name
hsetnx name
hdel name
hincrby name
hincrbyfloat name
sadd name
srem name
smove src dst
spop name
sinterstore dest keys args
sunionstore dest keys args
sdiffstore dest keys args
zadd name
zincrby name
zrem name
zpopmin name
zpopmax name
bzpopmin keys
bzpopmax keys
zremrangebyrank name
zremrangebyscore name
zremrangebylex name
zrangestore dest name
zunionstore dest keys
zinterstore dest keys
zdiffstore dest keys
transaction *
"""


def _parsed(lines: str, *, is_write: bool) -> Iterable[Command]:
    for line in lines.split("\n"):
        name, _, parameters = line.partition(" ")
        if name:
            yield Command(name, None if parameters == "*" else tuple(parameters.split()), is_write)


COMMANDS: Final[Mapping[str, Command]] = {
    command.name: command for command in (*_parsed(_READS, is_write=False), *_parsed(_WRITES, is_write=True))
}
