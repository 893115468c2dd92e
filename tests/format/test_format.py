"""The decoders: what was encoded comes back, and any other bytes are a result or a named error, never anything else."""

from __future__ import annotations

from array import array
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferrokv.errors import CorruptionError, UnsupportedFormat
from ferrokv.local.format import blocks, commits, current, edits, filters, keys, limits, logs, tables
from ferrokv.local.format.checksums import checksum, hash_key

REFUSED = (CorruptionError, UnsupportedFormat)
NUMBERS = st.integers(0, (1 << 64) - 1)
ENTRIES = st.tuples(st.none() | st.binary(max_size=30), st.integers(0, 1 << 62)).map(
    lambda e: (e[0], 0 if e[0] is None else e[1])
)
RECORDS = st.dictionaries(st.binary(min_size=5, max_size=16), ENTRIES, min_size=1, max_size=40)


def make_block(records: dict, seed: int) -> tuple[bytes, list[bytes]]:
    ordered = sorted(records)
    tags = bytes(hash_key(key) & 255 for key in ordered)
    return blocks.encode_block(ordered, [(*records[key], 0, None) for key in ordered], tags, seed), ordered


@given(records=RECORDS, seed=NUMBERS, others=st.lists(st.binary(max_size=12)))
def test_blocks(records: dict, seed: int, others: list[bytes]) -> None:
    data, ordered = make_block(records, seed)
    blocks.verify_block(data, seed)
    found_keys, found = blocks.decode_block(data)
    assert found_keys == ordered
    assert [entry[:2] for entry in found] == [records[key] for key in ordered]
    for key in [*ordered, *others]:
        entry = blocks.find_in_block(data, key, hash_key(key) & 255)
        assert (entry and entry[:2]) == records.get(key)
    with pytest.raises(CorruptionError):
        blocks.verify_block(data, (seed + 1) & ((1 << 64) - 1))


@pytest.mark.parametrize("key_bytes", [1, 7])
@pytest.mark.parametrize("value_bytes", [0, 1, 120])
def test_blocks_of_records_of_one_size_and_nearly_so(key_bytes: int, value_bytes: int) -> None:
    """Where all are equally long, another way leads to the same. A block that is nearly like the last one is none of its kind."""
    for count in (1, 2, 30, blocks.CUT_PIECES_MAX, blocks.CUT_PIECES_MAX + 1):
        for odd in (None, 0, count // 2, count - 1):
            records = {
                b"key:" + (b"%05d" % i).rjust(key_bytes, b"0") + b"x" * (i == odd): (
                    b"v" * (value_bytes + 2 * (i == odd)),
                    0,
                )
                for i in range(count)
            }
            data, ordered = make_block(records, 1)
            blocks.verify_block(data, 1)
            keys_found, entries = blocks.decode_block(data)
            assert keys_found == ordered
            assert [entry[:2] for entry in entries] == [records[key] for key in ordered]


def test_what_is_remembered_of_blocks_is_bounded() -> None:
    for size in range(1, 2 * blocks.CUTS_MAX):
        data, ordered = make_block({b"k%d" % i: (b"v" * size, 0) for i in range(3)}, 0)
        for _ in range(2):
            assert blocks.decode_block(data)[0] == ordered
        assert len(blocks._CUTS) <= blocks.CUTS_MAX


@given(records=RECORDS, data=st.data())
def test_a_changed_block_is_refused_even_with_a_mended_checksum_or_reads_without_error(records: dict, data) -> None:
    block = bytearray(make_block(records, 0)[0])
    position = data.draw(st.integers(8, len(block) - 1))
    block[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptionError):
        blocks.verify_block(bytes(block), 0)
    block[:8] = checksum(bytes(block[8:])).to_bytes(8, "little")
    try:
        blocks.verify_block(bytes(block), 0)
    except REFUSED:
        return
    keys_found, entries = blocks.decode_block(bytes(block))
    assert len(keys_found) == len(entries)


@given(records=RECORDS, seqno=st.integers(1, 1 << 40))
def test_commits(records: dict, seqno: int) -> None:
    payload = commits.encode_commit(records)
    found = commits.decode_commit(payload, len(records), seqno)
    assert found == {key: (*entry, seqno, None) for key, entry in records.items()}


@given(payloads=st.lists(st.binary(min_size=1, max_size=40), max_size=6), salt=NUMBERS, cut=st.integers(0, 400))
def test_logs(payloads: list[bytes], salt: int, cut: int) -> None:
    data = logs.encode_header(logs.WAL_MAGIC, b"s" * 16, 7, salt, logs.Position(6, 500, 41, 99))
    header = logs.decode_header(data, logs.WAL_MAGIC, b"s" * 16, 7)
    position = header.start()
    ends = [position]
    for payload in payloads:
        frame = logs.encode_frame(header.checksum, position, logs.TYPE_COMMIT, 1, payload)
        data += frame
        position = logs.position_after(position, frame)
        ends.append(position)
    data = data[: len(data) - cut] if cut < len(data) - 96 else data
    position = header.start()
    read = []
    while (frame_read := logs.read_frame(data, header.checksum, position)) is not None:
        read.append(frame_read.payload)
        position = frame_read.after
    assert read == payloads[: len(read)]
    assert position == ends[len(read)]
    assert not logs.holds_later_durable(data, header.checksum, position.end)
    if len(read) >= 2:
        # Damage in an earlier frame is told from a torn tail by the frames behind it.
        damaged = bytearray(data)
        damaged[ends[0].end + 48] ^= 1
        assert logs.read_frame(bytes(damaged), header.checksum, header.start()) is None
        assert logs.holds_later_durable(bytes(damaged), header.checksum, ends[0].end)


def test_a_left_over_frame_of_a_dead_writer_can_not_revive() -> None:
    """Unchained checksums would accept the second of two old frames behind a new one of equal length."""
    head = logs.encode_header(logs.WAL_MAGIC, b"s" * 16, 1, 5, logs.START)
    header = logs.decode_header(head, logs.WAL_MAGIC, b"s" * 16, 1)
    start = header.start()
    old_1 = logs.encode_frame(header.checksum, start, logs.TYPE_COMMIT, 1, b"old value 1")
    old_2 = logs.encode_frame(header.checksum, logs.position_after(start, old_1), logs.TYPE_COMMIT, 1, b"zombie")
    new_1 = logs.encode_frame(header.checksum, start, logs.TYPE_COMMIT, 1, b"new value 1")
    assert len(old_1) == len(new_1)
    data = head + new_1 + old_2
    frame = logs.read_frame(data, header.checksum, start)
    assert frame is not None
    assert frame.payload == b"new value 1"
    assert logs.read_frame(data, header.checksum, frame.after) is None


FILE_NUMBERS = st.integers(1, limits.NUMBER_MAX)
SEQNOS = st.integers(0, limits.SEQNO_MAX)
METAS = st.builds(
    edits.TableMeta,
    number=FILE_NUMBERS,
    level=st.integers(0, 6),
    file_bytes=st.integers(1 << 20, limits.FILE_BYTES_MAX),
    records=st.integers(1 << 10, 1 << 20),
    tombstones=st.integers(0, 1 << 10),
    first_seqno=st.just(0) | st.integers(0, 1 << 20),
    last_seqno=st.integers(1 << 20, limits.SEQNO_MAX),
    min_expiry_ms=st.integers(0, 1 << 62),
    max_expiry_ms=st.just(limits.NEVER) | st.integers(1 << 62, 1 << 63),
    file_checksum=NUMBERS,
    min_key=st.binary(min_size=5, max_size=9),
    max_key=st.binary(min_size=9, max_size=9).map(lambda key: b"\xff" * 10 + key),
)


MERGES = st.builds(
    edits.MergeProgress,
    level=st.integers(0, 5),
    upper=st.lists(NUMBERS, min_size=1, max_size=3).map(tuple),
    done=st.binary(max_size=20),
)


@given(
    edit=st.builds(
        edits.Edit,
        added=st.lists(METAS, max_size=3).map(tuple),
        removed=st.lists(FILE_NUMBERS, max_size=3).map(tuple),
        log_number=st.none() | FILE_NUMBERS,
        next_table=st.none() | FILE_NUMBERS,
        last_seqno=st.none() | SEQNOS,
        merge=st.none() | st.just(edits.NO_MERGE) | MERGES,
        unknown=st.just(()),
    )
)
def test_edits(edit: edits.Edit) -> None:
    count, payload = edits.encode_edit(edit)
    assert edits.decode_edit(payload, count) == edit


def test_an_unknown_edit_is_refused_unless_it_may_be_passed_over() -> None:
    assert edits.decode_edit(b"\x81\x02\0\0\0xy", 1).unknown == (129,)
    with pytest.raises(UnsupportedFormat, match="tag=127"):
        edits.decode_edit(b"\x7f\0\0\0\0", 1)


@given(hashes=st.lists(NUMBERS, min_size=1, max_size=200), seed=NUMBERS)
def test_filters_never_deny_what_was_added(hashes: list[int], seed: int) -> None:
    words = array("Q", bytes(8 * filters.word_count(len(hashes))))
    filters.add_hashes(words, hashes)
    found = filters.decode_filter(filters.encode_filter(words, seed), seed)
    assert all(filters.may_contain(found, key_hash) for key_hash in hashes)


def test_filters_deny_most_of_what_was_not_added() -> None:
    words = array("Q", bytes(8 * filters.word_count(10_000)))
    filters.add_hashes(words, (hash_key(b"in:%d" % i) for i in range(10_000)))
    wrong = sum(filters.may_contain(words, hash_key(b"out:%d" % i)) for i in range(10_000))
    assert wrong < 300, "more than 3 % false positives"


@given(found=st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=9), seed=NUMBERS)
def test_index_and_footer(found: list[bytes], seed: int) -> None:
    found.sort()
    index = tables.Index(tuple(range(len(found) + 1)), tuple(range(len(found))), found)
    data = tables.encode_index(index, seed)
    assert tables.decode_index(data, seed) == index
    footer = tables.Footer(1, 5, 10, 20, 3)
    assert tables.decode_footer(tables.encode_footer(footer, seed), 5, 30, seed) == footer
    with pytest.raises(CorruptionError):
        tables.decode_footer(tables.encode_footer(footer, seed), 6, 30, seed)


@given(
    found=st.sets(st.binary(min_size=1, max_size=6), min_size=1, max_size=70).map(sorted),
    asked=st.lists(st.binary(max_size=7), max_size=20),
    seed=NUMBERS,
)
def test_the_index_in_memory_and_its_summary_find_what_bisect_finds(
    found: list[bytes], asked: list[bytes], seed: int
) -> None:
    offsets = tuple(10 * i for i in range(len(found) + 1))
    data = tables.encode_index(tables.Index(offsets, (0,) * len(found), found), seed)
    index = tables.decode_block_index(data, seed)
    assert (len(index), index.last_keys(), index.last_key()) == (len(found), found, found[-1])
    assert tuple(index.offsets) == offsets
    summary = index.summary(data)
    for key in [*found, *asked]:
        number = bisect_left(found, key)
        assert index.find(key) == number
        if key <= found[-1]:
            group = summary.group_of(key)
            a, b, c = (data[start : start + size] for start, size in summary.places(group))
            assert summary.find(group, (a, b, c), key) == (number, offsets[number], 10)
            for damaged in ((a[:-1] + b"?", b, c), (a, b[:-1] + b"?", c), (a, b, c[:-1] + b"\xff?")):
                with pytest.raises(CorruptionError, match="index checksum"):
                    summary.find(group, damaged, key)


DECODERS = [
    lambda data: blocks.verify_block(data, checksum(data[8:]) and 0),
    lambda data: commits.decode_commit(data, 1, 1),
    lambda data: edits.decode_edit(data, 2),
    lambda data: filters.decode_filter(data, 0),
    lambda data: tables.decode_index(data, 0),
    lambda data: tables.decode_block_index(data, 0),
    lambda data: tables.decode_footer(data, 1, 64, 0),
    lambda data: current.decode_current(data),
    lambda data: logs.decode_header(data, logs.WAL_MAGIC, b"s" * 16, 1),
    lambda data: logs.read_frame(data, 0, logs.START),
]


@settings(max_examples=300)
@given(data=st.binary(max_size=200), which=st.integers(0, len(DECODERS) - 1), sealed=st.booleans())
def test_any_bytes_are_a_result_or_a_named_error(data: bytes, which: int, sealed: bool) -> None:
    if sealed and len(data) > 8:
        data = checksum(data[8:]).to_bytes(8, "little") + data[8:]
    try:
        DECODERS[which](data)
    except REFUSED:
        return


@given(prefix=st.binary(max_size=4), rest=st.binary(max_size=4))
def test_the_successor_of_a_prefix_is_above_all_that_have_it(prefix: bytes, rest: bytes) -> None:
    above = keys.successor_of_prefix(prefix)
    if above is None:
        assert prefix.strip(b"\xff") == b""
    else:
        assert prefix + rest < above
        assert not above.startswith(prefix)
