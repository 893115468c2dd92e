"""A frame's way to the disk begins before its sync (docs/decisions/0016-begin-before-the-sync.md)."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from ferrokv import BlockingFerroKV, WriteBatch
from ferrokv.local.format.logs import FRAME_BYTES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked to")
PAGE = 4096


class Hints:
    """What the kernel is told, and whether it refuses."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.refusing = False

    def __call__(self, fd: int, offset: int, size: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_DONTNEED
        self.ranges.append((offset, size))
        if self.refusing:
            raise OSError(errno.EINVAL, "Invalid argument")


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> Hints:
    found = Hints()
    monkeypatch.setattr(os, "posix_fadvise", found)
    return found


def test_what_is_synced_begins_early_and_no_page_lies_in_the_range(db: BlockingFerroKV, hints: Hints) -> None:
    for size in (1, 100, 2_000, 3_900):
        at = db.stats().wal_bytes
        db.set("k", b"v" * size)
        (found,) = hints.ranges
        hints.ranges.clear()
        assert found == (at, db.stats().wal_bytes - at - 1)
        assert size + FRAME_BYTES < found[1] < PAGE
    db.set("k", b"v" * PAGE)
    db.write(WriteBatch().set("a", b"v" * 3_000).set("b", b"v" * 3_000))
    assert hints.ranges == [], "whole pages would be dropped from the cache"


def test_what_nobody_waits_for_does_not(db: BlockingFerroKV, hints: Hints) -> None:
    db.set("warm", 1)
    hints.ranges.clear()
    deferral = db.deferral()
    for i in range(10):
        db.within(deferral).set(f"k{i}", i)
    assert hints.ranges == []
    deferral.settle()
    db.set("k", 1)
    assert len(hints.ranges) == 1


def test_a_refused_hint_is_not_repeated_and_harms_no_write(store_path: Path, hints: Hints) -> None:
    hints.refusing = True
    with BlockingFerroKV.open(store_path) as db:
        for i in range(5):
            db.set(f"k{i}", i)
        assert len(hints.ranges) == 1
        assert db.stats().failed is None
    with BlockingFerroKV.open(store_path) as db:
        assert db.mget(f"k{i}" for i in range(5)) == [b"%d" % i for i in range(5)]
