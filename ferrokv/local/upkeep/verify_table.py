"""Checking that a table is consistent and as the manifest says (docs/format.md section 5)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from xxhash import xxh3_64

from ...errors import CorruptionError
from ..compaction.builder import expiry_range
from ..format.checksums import hash_key, table_seed
from ..format.commits import Entry
from ..format.edits import TableMeta
from ..format.filters import may_contain
from ..format.roots import Root, decode_root
from ..format.table_formats import V1, TableFormat, format_of
from ..format.tables import FOOTER_BYTES, Footer, Index, decode_footer
from ..storage.requests import PAUSE, File, Op, ReadAt
from ..tree.merge import PAGE_BYTES, PAGE_RECORDS
from .findings import Findings
from .meter import Meter


class _Parts(NamedTuple):
    """The parts of a table after the blocks; None for what is damaged."""

    footer: Footer | None = None
    format: TableFormat = V1
    words: array[int] | None = None
    blocks: Index | None = None
    data: bytes = b""  # the bytes of all of these parts


class TableCheck:
    """A check of one table.

    It reads everything from disk: what is in memory was read before any damage.
    """

    def __init__(self, meta: TableMeta, file: File, store_id: bytes, meter: Meter) -> None:
        self.findings = Findings()
        self._meta = meta
        self._file = file
        self._seed = table_seed(store_id, meta.number)
        self._meter = meter
        self._digest = xxh3_64()
        self._tombstones = 0
        self._min_expiry: int | None = None
        self._max_expiry = 0
        self._first_key: bytes | None = None
        self._last_key = b""

    def run(self) -> Op[Findings]:
        """Check the table and return the findings.

        Reads the whole file, block by block. About 2 µs per record.
        """
        findings = self.findings
        findings.files = 1
        findings.bytes = self._meta.file_bytes
        parts = yield from self._read_parts()
        self._meter.add(len(parts.data))
        if parts.blocks is not None:
            yield from self._read_blocks(parts.blocks, parts.words, parts.format)
        if not findings.problems:
            self._digest.update(parts.data)
            self._compare(parts)
        return findings

    def _read_parts(self) -> Op[_Parts]:
        findings, name, seed, end = self.findings, self._file.name, self._seed, self._meta.file_bytes
        footer_offset = end - FOOTER_BYTES
        parts = _Parts()
        with findings.collecting(name, end):
            if (yield ReadAt(self._file, end, 1)):
                findings.add("table is longer than the manifest says", name, end)
        with findings.collecting(name, footer_offset):
            footer_data = yield ReadAt(self._file, footer_offset, FOOTER_BYTES)
            footer = decode_footer(footer_data, self._meta.number, footer_offset, seed + footer_offset)
            start = footer.filter_offset
            data = yield ReadAt(self._file, start, footer_offset - start)
            parts = _Parts(footer, format_of(footer), data=data + footer_data)
            split = footer.index_offset - start
            with findings.collecting(name, start):
                parts = parts._replace(words=parts.format.decode_filter(data[:split], seed + start))
            with findings.collecting(name, footer.index_offset):
                index = parts.format.decode_index(data[split:], seed + footer.index_offset)
                if index.offsets[0] or index.offsets[-1] != start:
                    raise CorruptionError("index does not fit the table")
                parts = parts._replace(blocks=index)
        return parts

    def _read_blocks(self, index: Index, words: array[int] | None, table_format: TableFormat) -> Op[None]:
        """Check each block, including those behind a damaged one."""
        records = read_bytes = 0
        for i, (offset, end) in enumerate(pairwise(index.offsets)):
            with self.findings.collecting(self._file.name, offset):
                data: bytes = yield ReadAt(self._file, offset, end - offset)
                self._digest.update(data)
                table_format.verify_block(data, self._seed + offset)
                keys, entries = table_format.decode_block(data)
                self._take(keys, entries)
                _check_block(keys, entries, index, i)
                _check_hashes(data, keys, words, table_format)
                records += len(keys)
            read_bytes += end - offset
            self._meter.add(end - offset)
            if records >= PAGE_RECORDS or read_bytes >= PAGE_BYTES:
                records = read_bytes = 0
                yield PAUSE

    def _take(self, keys: Sequence[bytes], entries: Sequence[Entry]) -> None:
        """Count the records of a block, and check that its keys follow those of the block before."""
        self.findings.records += len(keys)
        last, self._last_key = self._last_key, keys[-1]
        if self._first_key is None:
            self._first_key = keys[0]
        elif keys[0] <= last:
            raise CorruptionError("keys of a table are not ascending")
        lowest, highest = expiry_range(entries)
        self._min_expiry = lowest if self._min_expiry is None else min(self._min_expiry, lowest)
        self._max_expiry = max(self._max_expiry, highest)
        self._tombstones += sum(1 for entry in entries if entry[0] is None)

    def _compare(self, parts: _Parts) -> None:
        """Compare the counts, which are complete, with the footer and the manifest."""
        meta = self._meta
        found = (
            ("records", self.findings.records, meta.records),
            ("records in the footer", parts.footer and parts.footer.records, meta.records),
            ("tombstones", self._tombstones, meta.tombstones),
            ("lowest expiry", self._min_expiry, meta.min_expiry_ms),
            ("highest expiry", self._max_expiry, meta.max_expiry_ms),
            ("smallest key", self._first_key, meta.min_key),
            ("largest key", self._last_key, meta.max_key),
        )
        for what, is_, said in found:
            if is_ != said:
                self.findings.add(f"{what} not as the manifest says: expected={said!r} found={is_!r}", self._file.name)
        # Last, since anything else that is wrong also changes the checksum, and would be reported
        # twice.
        if not self.findings.problems and self._digest.intdigest() != meta.file_checksum:
            self.findings.add("file checksum is not as the manifest says", self._file.name)


def _check_block(keys: Sequence[bytes], entries: Sequence[Entry], index: Index, i: int) -> None:
    """Raise `CorruptionError` if a verified block's records are not ordered or not as indexed."""
    if any(a >= b for a, b in pairwise(keys)):
        raise CorruptionError("keys of a block are not ascending")
    if keys[-1] != index.last_keys[i] or expiry_range(entries)[1] != index.max_expiries[i]:
        raise CorruptionError("index does not fit the block")
    for entry in entries:
        if isinstance(entry[0], Root):
            decode_root(entry[0])


def _check_hashes(data: bytes, keys: Sequence[bytes], words: array[int] | None, table_format: TableFormat) -> None:
    """Raise `CorruptionError` if a lookup by hash would not find every key of a block."""
    hashes = [hash_key(key) for key in keys]
    if not table_format.block_fits(data, hashes):
        raise CorruptionError("tags of a block do not fit its keys")
    if words is not None and not all(may_contain(words, key_hash) for key_hash in hashes):
        raise CorruptionError("filter does not hold a key of the block")
