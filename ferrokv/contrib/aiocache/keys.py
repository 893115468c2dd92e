"""Stored keys: a namespace and a key become one string from which both can be read back, so that clearing a namespace is exact.

A namespace is followed by a colon, as in aiocache's Redis cache. Colons and backslashes of the namespace itself are escaped, and a
key without namespace that has a colon gets one in front: "a" and "b:c" are `a:b:c`, "a:b" and "c" are `a\\:b:c`, "x:y" alone is
`:x:y`, "x" alone is `x`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

KeyBuilder = Callable[[Any, Any], Any]
"""Called with the key and the namespace, which is "" or None for none. The stored key: text or bytes."""


def usual_key(key: Any, namespace: Any) -> str | bytes:
    """The stored key of text, bytes, or anything that `str` makes text of."""
    head = _head(namespace)
    if isinstance(key, bytes):
        return head.encode() + key if head or b":" not in key else b":" + key
    text = str(key)
    return head + text if head or ":" not in text else ":" + text


def _head(namespace: Any) -> str:
    text = "" if namespace is None else str(namespace)
    return text and text.replace("\\", "\\\\").replace(":", "\\:") + ":"


def stored_prefix(builder: KeyBuilder, namespace: str) -> bytes:
    """What the stored keys of a namespace begin with, and no others. `ValueError` if the builder does not make them so."""
    head, probe, other = (_encoded(builder(key, namespace)) for key in ("", "\x00a", "b\x00"))
    without = _encoded(builder("", ""))
    if head == without or not (probe.startswith(head) and other.startswith(head)):
        raise ValueError("this key_builder does not put the namespace in front, so a namespace can not be cleared")
    return head


def _encoded(key: Any) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogatepass")
