"""What the fuzzer calls: one function for each decoder. Checksums are mended, so that it gets behind them.

A target returns, whatever the bytes are, or raises something that is a fault. `tests/format/test_corpus.py` replays what was found.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress

from ferrokv.contrib.codecs import compressors, serializers
from ferrokv.contrib.codecs.envelopes import open_envelope, replace_inner, seal_in
from ferrokv.contrib.codecs.values import ValueCodec
from ferrokv.errors import CorruptionError, UnsupportedFormat
from ferrokv.local.clock import Belief
from ferrokv.local.commands.floats import score_of
from ferrokv.local.engine.manifest import EMPTY, overlaps
from ferrokv.local.format import blocks, commits, control, current, edits, filters, logs, tables
from ferrokv.local.format.checksums import MASK_64, checksum, hash_key
from ferrokv.local.format.roots import Root, decode_root
from ferrokv.local.format.wal import next_commit
from ferrokv.local.storage import lock_files
from ferrokv.local.tree.version import LEVELS
from ferrokv.local.tree.view import Catalogue, catalogue_after

STORE_ID = b"s" * 16
REFUSED = (CorruptionError, UnsupportedFormat)


def mended(data: bytes, seed: int = 0) -> bytes:
    """With the right checksum in front."""
    return checksum(data[8:], seed).to_bytes(8, "little") + data[8:]


def fuzz_current(data: bytes) -> None:
    body = (current.MAGIC + data)[:48].ljust(48, b"\0")
    with suppress(*REFUSED):
        found = current.decode_current(body + checksum(body).to_bytes(8, "little"))
        assert current.decode_current(current.encode_current(found)) == found


def make_header(data: bytes, magic: bytes) -> bytes:
    body = (magic + (1).to_bytes(2, "little") + bytes(6) + STORE_ID + data)[:88].ljust(88, b"\0")
    return body + checksum(body).to_bytes(8, "little")


def fuzz_header(data: bytes) -> None:
    number = int.from_bytes(data[:8].ljust(8, b"\0"), "little")
    with suppress(*REFUSED):
        header = logs.decode_header(make_header(data, logs.WAL_MAGIC), logs.WAL_MAGIC, STORE_ID, number)
        # What recovery does with it: it goes on from there.
        successor = logs.Position(number, logs.HEADER_BYTES, header.predecessor.seqno, header.checksum)
        logs.encode_header(logs.WAL_MAGIC, STORE_ID, number + 1, 1, successor)
        control.pack_position(header.predecessor.number, header.predecessor.end)


HEADER = logs.decode_header(logs.encode_header(logs.WAL_MAGIC, STORE_ID, 7, 1, logs.START), logs.WAL_MAGIC, STORE_ID, 7)


def fuzz_frames(data: bytes) -> None:
    """Any number of frames, chained and with right checksums, and whatever the rest is behind them."""
    log = bytes(logs.HEADER_BYTES)
    position = HEADER.start()
    while len(data) >= 4:
        kind, size, count = data[0], data[1], int.from_bytes(data[2:4], "little")
        payload, data = data[4 : 4 + size], data[4 + size :]
        if not payload:
            break
        frame = logs.encode_frame(HEADER.checksum, position, kind % 3, count, payload)
        position = logs.position_after(position, frame)
        log += frame
    log += data
    start = HEADER.start()
    with suppress(*REFUSED):
        while (found := next_commit(log, HEADER, start)) is not None:
            start = found[1]
    logs.holds_later_durable(log, HEADER.checksum, start.end)


def fuzz_raw_frame(data: bytes) -> None:
    """The fields of one frame as they come."""
    head = logs.FRAME_MAGIC + data[:36].ljust(36, b"\0")
    length = int.from_bytes(head[4:8], "little")
    payload = data[36:]
    frame = head + payload
    stored = checksum(frame[: 40 + length], (HEADER.checksum + logs.HEADER_BYTES) & MASK_64)
    log = bytes(logs.HEADER_BYTES) + stored.to_bytes(8, "little") + frame
    with suppress(*REFUSED):
        next_commit(log, HEADER, HEADER.start())
    logs.holds_later_durable(log, HEADER.checksum, 0)


def fuzz_commit(data: bytes) -> None:
    """A payload, and what the catalogue becomes by it."""
    count = data[0] if data else 0
    with suppress(*REFUSED):
        entries = commits.decode_commit(data[1:], count, 5)
        assert len(entries) == count
        catalogue_after(Catalogue({}, 1, {}), entries)
        for entry in entries.values():
            if isinstance(entry[0], Root):
                decode_root(entry[0])


NOTHING = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def fuzz_edit(data: bytes) -> None:
    """An edit, applied twice to a manifest, and what is made of it."""
    count = data[0] if data else 0
    with suppress(*REFUSED):
        edit = edits.decode_edit(data[1:], count)
        changed = EMPTY.changed(edit)
        list(overlaps(changed.metas.values()))
        fields, payload = edits.encode_edit(changed.as_edit())
        assert EMPTY.changed(edits.decode_edit(payload, fields)) == changed
        # What opening does with it.
        levels: list[list[int]] = [[] for _ in range(LEVELS)]
        for meta in changed.metas.values():
            levels[meta.level].append(meta.number)
            os.pread(NOTHING, 1, meta.file_bytes - tables.FOOTER_BYTES)
        edits.encode_edit(edits.Edit((), (), changed.log_number + 1, changed.next_table + 1, changed.last_seqno + 1))
        changed.changed(edit)


def fuzz_block(data: bytes) -> None:
    block = mended(data)
    with suppress(*REFUSED):
        blocks.verify_block(block, 0)
        keys, entries = blocks.decode_block(block)
        assert len(keys) == len(entries)
        for key in keys[:20]:
            blocks.find_in_block(block, key, hash_key(key) & 255)
        for tag in range(0, 256, 16):
            blocks.find_in_block(block, keys[0], tag)


def fuzz_index(data: bytes) -> None:
    with suppress(*REFUSED):
        index = tables.decode_index(mended(data), 0)
        assert len(index.offsets) == len(index.last_keys) + 1 == len(index.max_expiries) + 1


def fuzz_filter(data: bytes) -> None:
    with suppress(*REFUSED):
        words = filters.decode_filter(mended(data), 0)
        for key in (b"", b"a", data[:8]):
            filters.may_contain(words, hash_key(key))


def fuzz_footer(data: bytes) -> None:
    body = (b"FKVTABLE" + (1).to_bytes(2, "little") + data)[:56].ljust(56, b"\0")
    with suppress(*REFUSED):
        footer = tables.decode_footer(mended(bytes(8) + body), int.from_bytes(body[16:24], "little"), 1 << 40, 0)
        assert 0 < footer.filter_offset < footer.index_offset < 1 << 40


def fuzz_root(data: bytes) -> None:
    for root in (data, data[:40].ljust(40, b"\0")):
        with suppress(*REFUSED):
            found = decode_root(root)
            # What a command does next: count on.
            found._replace(version=found.version + 1, size=found.size + 1).encode()
        with suppress(*REFUSED):
            score_of(root[:9])


FRESH_PAGE = control.encode_page(STORE_ID, bytes(16), 1)


def fuzz_control(data: bytes) -> None:
    page = (control.MAGIC + STORE_ID + bytes(16) + data)[: control.HEAD_BYTES].ljust(control.HEAD_BYTES, b"\0")
    fresh = FRESH_PAGE
    words = [int.from_bytes(page[i : i + 8], sys.byteorder) for i in range(0, 600, 8)]
    control.is_page_of(words[: control.IDENTITY_WORDS], STORE_ID, None)
    control.previous_commit(page, fresh)
    number, end = control.unpack_position(words[control.COMMIT])
    assert control.pack_position(number, end) == words[control.COMMIT]
    control.is_reached(words[control.COMMIT], words[control.APPENDED])
    control.previous_clock(page, fresh)
    belief = Belief(*words[8:11]).seen(words[11] - (1 << 63), words[12])
    assert all(0 <= word <= MASK_64 for word in belief)


def fuzz_presence(data: bytes) -> None:
    lock_files._decode(data)


def fuzz_envelope(data: bytes) -> None:
    for stored in (data, b"\x03" + data, b"\x04" + data, b"\x03" + data[:8] + b"\x04" + data[8:]):
        opened = open_envelope(stored)
        if opened is not None:
            assert seal_in(opened.inner, opened.soft_ms, opened.guard) == stored
            assert replace_inner(stored, opened.inner, b"") + opened.inner == stored


CODECS = [
    ValueCodec([], serializer, compressor)
    for serializer in (serializers.JSONSerializer(), serializers.MessagePackSerializer())
    for compressor in (compressors.ZlibCompressor(), compressors.ZstdCompressor(), compressors.Lz4Compressor())
]


def fuzz_value(data: bytes) -> None:
    """Values of the cache that need no seal; what has one is verified before it is looked at."""
    for codec in CODECS:
        codec.decode(data)
        codec.decode(codec._head[:2] + data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    name.removeprefix("fuzz_"): target for name, target in list(globals().items()) if name.startswith("fuzz_")
}
