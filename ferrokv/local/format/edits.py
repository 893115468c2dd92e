"""Manifest edits: changes to the set of tables, as tagged fields (docs/format.md section 3)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from ...errors import CorruptionError, UnsupportedFormat
from .keys import PREFIX_BYTES
from .limits import FILE_BYTES_MAX, LEVELS, NEVER, NUMBER_MAX, SEQNO_MAX
from .versions import MANIFEST

TAG_ADD: Final = 1
TAG_REMOVE: Final = 2
TAG_LOG_NUMBER: Final = 3
TAG_NEXT_TABLE: Final = 4
TAG_LAST_SEQNO: Final = 5
IGNORABLE: Final = 128
TAG_MERGE: Final = 128

_FIELD: Final = struct.Struct("<BI")
_TABLE: Final = struct.Struct("<QB7xQQQQQQQQI")
_NUMBER: Final = struct.Struct("<Q")
_TABLE_BYTES_MIN: Final = 64  # the size of the footer; every table is larger than that
_MERGE: Final = struct.Struct("<B3xI")


class TableMeta(NamedTuple):
    """What the manifest says about a table: enough to decide whether it has to be read at all."""

    number: int
    level: int
    file_bytes: int
    records: int
    tombstones: int
    first_seqno: int
    last_seqno: int
    min_expiry_ms: int  # 0 if some record never expires
    max_expiry_ms: int  # NEVER if some record never expires
    file_checksum: int
    min_key: bytes
    max_key: bytes

    def expired_before(self, now_ms: int) -> bool:
        """Return True if every record expired before `now_ms`. None has to be read to know that."""
        return self.max_expiry_ms != NEVER and self.max_expiry_ms < now_ms


class MergeProgress(NamedTuple):
    """The progress of a merge in parts, of tables `upper` of `level` into the next level.

    It is done up to and including the key `done`. Without `upper`, no merge is under way.
    """

    level: int
    upper: tuple[int, ...]
    done: bytes


NO_MERGE: Final = MergeProgress(0, (), b"")
"""No merge is under way."""


class Edit(NamedTuple):
    """One atomic change of the manifest. A field that is None does not change."""

    added: tuple[TableMeta, ...] = ()
    removed: tuple[int, ...] = ()
    log_number: int | None = None
    next_table: int | None = None
    last_seqno: int | None = None
    merge: MergeProgress | None = None
    unknown: tuple[int, ...] = ()


def encode_edit(edit: Edit) -> tuple[int, bytes]:
    """Return the number of fields and the payload."""
    fields: list[tuple[int, bytes]] = []
    for meta in edit.added:
        body = _TABLE.pack(
            meta.number,
            meta.level,
            meta.file_bytes,
            meta.records,
            meta.tombstones,
            meta.first_seqno,
            meta.last_seqno,
            meta.min_expiry_ms,
            meta.max_expiry_ms,
            meta.file_checksum,
            len(meta.min_key),
        )
        fields.append((TAG_ADD, body + meta.min_key + meta.max_key))
    fields.extend((TAG_REMOVE, _NUMBER.pack(number)) for number in edit.removed)
    numbers = ((TAG_LOG_NUMBER, edit.log_number), (TAG_NEXT_TABLE, edit.next_table), (TAG_LAST_SEQNO, edit.last_seqno))
    fields.extend((tag, _NUMBER.pack(number)) for tag, number in numbers if number is not None)
    if edit.merge is not None:
        fields.append((TAG_MERGE, _encode_merge(edit.merge)))
    return len(fields), b"".join(_FIELD.pack(tag, len(body)) + body for tag, body in fields)


def decode_edit(payload: bytes, count: int) -> Edit:
    """Decode an edit of `count` fields. Raises `CorruptionError` if it is damaged.

    An unknown tag below IGNORABLE raises `UnsupportedFormat`. From IGNORABLE on, the field is
    skipped and its tag added to `Edit.unknown`.
    """
    added: list[TableMeta] = []
    removed: list[int] = []
    unknown: list[int] = []
    numbers: dict[int, int] = {}
    merge: MergeProgress | None = None
    position = 0
    for _ in range(count):
        if position + _FIELD.size > len(payload):
            raise CorruptionError("manifest edit is cut short")
        tag, length = _FIELD.unpack_from(payload, position)
        position += _FIELD.size
        body = payload[position : position + length]
        position += length
        if len(body) != length:
            raise CorruptionError("manifest field is cut short")
        if tag == TAG_ADD:
            added.append(_decode_table(body))
        elif tag == TAG_REMOVE:
            removed.append(_decode_number(body, NUMBER_MAX))
        elif tag in (TAG_LOG_NUMBER, TAG_NEXT_TABLE, TAG_LAST_SEQNO):
            numbers[tag] = _decode_number(body, SEQNO_MAX if tag == TAG_LAST_SEQNO else NUMBER_MAX)
        elif tag == TAG_MERGE:
            merge = _decode_merge(body)
        elif tag >= IGNORABLE:
            unknown.append(tag)
        else:
            raise UnsupportedFormat(f"manifest field with an unknown tag: tag={tag} this_version={MANIFEST.written}")
    if position != len(payload):
        raise CorruptionError("manifest edit lengths do not add up")
    return Edit(
        tuple(added),
        tuple(removed),
        numbers.get(TAG_LOG_NUMBER),
        numbers.get(TAG_NEXT_TABLE),
        numbers.get(TAG_LAST_SEQNO),
        merge,
        tuple(unknown),
    )


def _encode_merge(merge: MergeProgress) -> bytes:
    if not merge.upper:
        return b""
    return _MERGE.pack(merge.level, len(merge.upper)) + b"".join(map(_NUMBER.pack, merge.upper)) + merge.done


def _decode_merge(body: bytes) -> MergeProgress:
    if not body:
        return NO_MERGE
    if len(body) < _MERGE.size:
        raise CorruptionError("manifest merge field is cut short")
    level, count = _MERGE.unpack_from(body)
    key = _MERGE.size + 8 * count
    if not count or key > len(body) or level >= LEVELS - 1:
        raise CorruptionError("manifest merge field lengths do not add up")
    return MergeProgress(level, struct.unpack_from(f"<{count}Q", body, _MERGE.size), body[key:])


def _decode_number(body: bytes, highest: int) -> int:
    number = int.from_bytes(body, "little")
    if len(body) != _NUMBER.size or number > highest:
        raise CorruptionError("manifest number has the wrong length or is out of range")
    return number


def _decode_table(body: bytes) -> TableMeta:
    if len(body) < _TABLE.size:
        raise CorruptionError("manifest table field is cut short")
    numbers: tuple[int, ...] = _TABLE.unpack_from(body)
    min_key_bytes = numbers[10]
    keys = body[_TABLE.size :]
    if not 0 < min_key_bytes < len(keys) + 1:
        raise CorruptionError("manifest table keys do not add up")
    min_key, max_key = keys[:min_key_bytes], keys[min_key_bytes:]
    if not min_key <= max_key or min(len(min_key), len(max_key)) < PREFIX_BYTES:
        raise CorruptionError("manifest table keys are out of order or too short")
    meta = TableMeta(*numbers[:10], min_key=min_key, max_key=max_key)  # type: ignore[arg-type,misc]
    if (
        not 1 <= meta.number <= NUMBER_MAX
        or meta.level >= LEVELS
        or not _TABLE_BYTES_MIN < meta.file_bytes <= FILE_BYTES_MAX
        or not meta.tombstones <= meta.records <= meta.file_bytes
        or not meta.first_seqno <= meta.last_seqno <= SEQNO_MAX
        or meta.min_expiry_ms > meta.max_expiry_ms
    ):
        raise CorruptionError(f"manifest describes an impossible table: table={meta.number}")
    return meta
