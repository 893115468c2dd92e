"""Files of released formats: the encoders still make the same bytes, and a store of each version still reads the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ferrokv import BlockingFerroKV, CorruptionError, UnsupportedFormat
from ferrokv.local.commands.floats import encode_score, score_of
from ferrokv.local.format.blocks import decode_block, find_in_block, verify_block
from ferrokv.local.format.checksums import hash_key
from ferrokv.local.format.commits import decode_commit
from ferrokv.local.format.roots import Root, decode_root
from ferrokv.local.format.versions import STORE
from tools.make_golden import HOME, collection_records, encoders


def test_the_encoders_make_the_bytes_of_the_golden_file() -> None:
    assert encoders() == json.loads((HOME / f"v{STORE.written}.json").read_text())


def test_a_store_of_version_1_reads_as_it_was_written(tmp_path: Path) -> None:
    shutil.copytree(HOME / "v1", tmp_path / "store")
    (tmp_path / "store").chmod(0o700)
    expected = {b"key:%02d" % i: b"value %d" % i for i in range(30) if i not in (5, 25)}
    with BlockingFerroKV.open(tmp_path / "store") as db:
        # Every third record has a TTL that ended in 2024 by the golden clock; the others live for ever.
        living = {key: value for key, value in expected.items() if int(key[4:]) % 3}
        assert dict(db.scan()) == living
        assert all(db.get(key) == living.get(key) for key in expected)
        db.compact()
        assert dict(db.scan()) == living


def test_what_the_golden_file_says_of_collections_decodes() -> None:
    golden = {
        name: bytes.fromhex(data) for name, data in json.loads((HOME / f"v{STORE.written}.json").read_text()).items()
    }
    assert decode_root(golden["root"]) == (b"l", 5 << 20 | 3, 7, 2, (1 << 63) - 1)
    decoded = decode_commit(golden["collections"], 3, 41)
    assert {key: (entry[0], entry[1]) for key, entry in decoded.items()} == collection_records()
    assert [entry[0].__class__ for entry in decoded.values()] == [bytes, Root, bytes]
    verify_block(golden["collection_block"], 99)
    keys, entries = decode_block(golden["collection_block"])
    assert [(key, entry[:2]) for key, entry in zip(keys, entries, strict=True)] == sorted(collection_records().items())
    for key, entry in zip(keys, entries, strict=True):
        found = find_in_block(golden["collection_block"], key, hash_key(key) & 255)
        assert found is not None
        assert (found[0], found[0].__class__, found[1]) == (entry[0], entry[0].__class__, entry[1])


def test_scores_sort_as_numbers_do() -> None:
    numbers = [float("-inf"), -1e300, -2.0, -1.5, -5e-324, 0.0, 5e-324, 1.0, 1.5, 1e300, float("inf")]
    assert [score_of(encode_score(number)) for number in numbers] == numbers
    assert sorted(map(encode_score, numbers)) == [encode_score(number) for number in numbers]
    assert encode_score(-0.0) == encode_score(0.0)


@pytest.mark.parametrize(
    ("data", "error"), [(b"l" + bytes(38), CorruptionError), (b"?" + bytes(39), UnsupportedFormat)]
)
def test_a_root_that_can_not_be_is_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        decode_root(data)
