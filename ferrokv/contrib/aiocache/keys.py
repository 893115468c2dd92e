r"""Stored keys: namespace and key form one string from which both can be read back.

That makes clearing a namespace exact. As in aiocache's Redis cache, a colon follows the namespace.
Colons and backslashes in the namespace are escaped, and a key without a namespace that contains a
colon gets a colon in front:

    namespace  key    stored key
    a          b:c    a:b:c
    a:b        c      a\:b:c
    (none)     x:y    :x:y
    (none)     x      x
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

KeyBuilder = Callable[[Any, Any], Any]
"""Called with the key and the namespace, which is "" or None for none. Returns text or bytes."""


def usual_key(key: Any, namespace: Any) -> str | bytes:
    """Return the stored key for text, bytes, or anything that `str` converts."""
    head = _head(namespace)
    if isinstance(key, bytes):
        return head.encode() + key if head or b":" not in key else b":" + key
    text = str(key)
    return head + text if head or ":" not in text else ":" + text


def _head(namespace: Any) -> str:
    text = "" if namespace is None else str(namespace)
    return text and text.replace("\\", "\\\\").replace(":", "\\:") + ":"


def stored_prefix(builder: KeyBuilder, namespace: str) -> bytes:
    """Return the prefix shared by the stored keys of a namespace and by no others.

    `ValueError` if the builder does not produce such keys.
    """
    head, probe, other = (_encoded(builder(key, namespace)) for key in ("", "\x00a", "b\x00"))
    without = _encoded(builder("", ""))
    if head == without or not (probe.startswith(head) and other.startswith(head)):
        raise ValueError("this key_builder does not put the namespace first, so a namespace cannot be cleared")
    return head


def _encoded(key: Any) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogatepass")
