"""Files of released formats: the encoders still make the same bytes, and a store of each version still reads the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ferrokv import BlockingFerroKV
from ferrokv.format.limits import FORMAT_VERSION

from .make_golden import HOME, encoders


def test_the_encoders_make_the_bytes_of_the_golden_file() -> None:
    assert encoders() == json.loads((HOME / f"v{FORMAT_VERSION}.json").read_text())


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
