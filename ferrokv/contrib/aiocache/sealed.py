"""Pickles that are sealed, as the Django cache has them."""

from __future__ import annotations

import logging
from typing import Any, Final

from aiocache.serializers import BaseSerializer

from ..codecs import MISSING, ValueCodec, make_compressor, make_serializer

logger: Final = logging.getLogger("ferrokv.contrib.aiocache")


class SealedSerializer(BaseSerializer):  # type: ignore[misc]
    """Values as sealed pickles: write access to the directory is not enough to run code in the processes that read it.

    `secret_key` seals; values that were sealed with one of `fallbacks` are read as well, so that a key can be replaced. A value
    whose seal is broken, or that cannot be loaded, is a miss and a line in the log. Integers are stored as digits, so `increment`
    works on them. `serializer` and `compressor` are what the Django cache takes: "pickle", "msgpack" or "json", and "zlib",
    "zstd" or "lz4"; a class; or the dotted path of one.
    """

    DEFAULT_ENCODING = None

    def __init__(
        self,
        secret_key: str | bytes,
        *fallbacks: str | bytes,
        serializer: Any = "pickle",
        compressor: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not secret_key:
            raise ValueError("a SealedSerializer needs a secret key")
        self._codec = ValueCodec(
            [secret_key, *fallbacks],
            make_serializer(serializer),
            make_compressor(compressor),
            logger=logger,
            security_logger=logger,
        )

    def dumps(self, value: Any) -> bytes:
        """The stored bytes."""
        return self._codec.encode(value)

    def loads(self, value: bytes | None) -> Any:
        """The value; None for a miss."""
        if value is None:
            return None
        found = self._codec.decode(value)
        return None if found is MISSING else found
