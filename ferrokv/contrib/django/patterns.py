"""Globs for stored keys, and the way back from a stored key to the caller's key."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from django.core.cache.backends.base import BaseCache

_SPECIAL: Final = re.compile(r"([*?\[\]\\])")


def glob_of(cache: BaseCache, pattern: str, version: int | None, prefix: str | None = None) -> bytes:
    """Turn a caller's pattern into one for stored keys. The key prefix is taken literally."""
    escaped = _SPECIAL.sub(r"\\\1", cache.key_prefix if prefix is None else prefix)
    made: str = cache.key_func(pattern, escaped, cache.version if version is None else version)
    return made.encode("utf-8", "surrogatepass")


def reversal_of(
    cache: BaseCache, reverse_key: Callable[[str], str] | None, version: int | None
) -> Callable[[bytes], str]:
    """Return a function from stored keys to callers' keys.

    That is REVERSE_KEY_FUNCTION, or by default one that removes what KEY_FUNCTION puts in front.
    """
    head = cache.key_func("", cache.key_prefix, cache.version if version is None else version)
    reverse = reverse_key or (lambda key: key.removeprefix(head))
    return lambda name: str(reverse(name.decode("utf-8", "surrogatepass")))
