"""Writing tables: from pages of sorted records to synced files and their metadata."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Final

from xxhash import xxh3_64

from ...errors import CorruptionError
from ...options import Options
from ..engine.engine import logger
from ..engine.removal import remove_files
from ..engine.spares import NO_SPACE, SPARE_TABLE, create_file, cut_to_length
from ..format.checksums import hash_key, table_seed
from ..format.commits import Entry
from ..format.edits import TableMeta
from ..format.filters import add_hashes, word_count
from ..format.limits import NEVER
from ..format.table_formats import newest_format
from ..format.tables import Footer, Index, encode_footer
from ..names import file_name
from ..storage.requests import PAUSE, File, Op, Rename, Sync, SyncDirectory, WriteAt

WRITE_BYTES: Final = 256 << 10
FILTER_SLICE: Final = 1024


class TableBuilder:
    """Builds table `number` for `level`. Keys must be added in ascending order, each one once.

    The caller syncs the directory before it refers to the table. If it does not finish the table,
    it calls `give_up`. With `spare`, the table is written to the reserve's spare table, if that
    exists.
    """

    def __init__(
        self,
        number: int,
        level: int,
        store_id: bytes,
        block_bytes: int,
        seqnos: tuple[int, int],
        *,
        spare: bool = False,
    ) -> None:
        self.number = number
        self.level = level
        self.name = file_name("table", number)
        self.file_bytes = 0
        self.records = 0
        self._format = newest_format()
        self._seed = table_seed(store_id, number)
        self._block_bytes = block_bytes
        self._seqnos = seqnos
        self._spare = spare
        self._file: File | None = None
        self._chunk: list[bytes] = []
        self._chunk_bytes = 0
        self._written = 0
        self._digest = xxh3_64()
        self._hashes = array("Q")
        self._offsets: list[int] = [0]
        self._max_expiries: list[int] = []
        self._last_keys: list[bytes] = []
        self._keys: list[bytes] = []
        self._entries: list[Entry] = []
        self._pending_bytes = 0
        self._tombstones = 0
        self._min_expiry: int | None = None
        self._max_expiry = 0
        self._min_key = b""

    def add(self, keys: Sequence[bytes], entries: Sequence[Entry]) -> Op[None]:
        """Add a page of records.

        Writes to the file when WRITE_BYTES have gathered. About 1.5 µs per record.
        """
        if not self.records and keys:
            self._min_key = keys[0]
        start = 0
        pending = self._pending_bytes
        sizes = [len(key) + len(entry[0] or b"") + 12 for key, entry in zip(keys, entries, strict=True)]
        for i, size in enumerate(sizes):
            if size >= self._block_bytes and (i > start or self._keys):
                self._close_block(keys[start:i], entries[start:i])
                start, pending = i, 0
            pending += size
            if pending >= self._block_bytes or i - start + len(self._keys) + 1 >= self._format.block_records_max:
                self._close_block(keys[start : i + 1], entries[start : i + 1])
                start = i + 1
                pending = 0
        self._keys.extend(keys[start:])
        self._entries.extend(entries[start:])
        self._pending_bytes = pending
        self.records += len(keys)
        if self._chunk_bytes >= WRITE_BYTES:
            yield from self._write()

    def finish(self) -> Op[tuple[TableMeta, File]]:
        """Write the rest and sync the file.

        Return what the manifest says about the table, and the file. At least one record must have
        been added.
        """
        assert self.records
        if self._keys:
            self._close_block([], [])
        filter_offset = self.file_bytes
        words = array("Q", bytes(8 * word_count(self.records)))
        for start in range(0, len(self._hashes), FILTER_SLICE):
            add_hashes(words, self._hashes[start : start + FILTER_SLICE])
            yield PAUSE
        self._append(self._format.encode_filter(words, self._seed + filter_offset))
        index_offset = self.file_bytes
        index = Index(self._offsets, self._max_expiries, self._last_keys)
        self._append(self._format.encode_index(index, self._seed + index_offset))
        footer = Footer(self._format.version, self.number, filter_offset, index_offset, self.records)
        self._append(encode_footer(footer, self._seed + self.file_bytes))
        yield from self._write()
        assert self._file is not None
        if self._spare:
            self._spare = False
            yield from cut_to_length(self._file, self.file_bytes)
        yield Sync(self._file, metadata=True)
        return self._meta(), self._file

    def give_up(self) -> Op[None]:
        """Remove what was written.

        If it went to the reserve's spare table, give that back to the reserve.
        """
        if self._spare and self._file is not None:
            self._spare = False
            try:
                yield Rename(self.name, SPARE_TABLE)
            except OSError as error:
                logger.warning("could not give %s back to the reserve: %s", self.name, error.strerror)
        else:
            yield from remove_files([self.name])

    def _meta(self) -> TableMeta:
        return TableMeta(
            self.number,
            self.level,
            self.file_bytes,
            self.records,
            self._tombstones,
            *self._seqnos,
            self._min_expiry or 0,
            self._max_expiry,
            self._digest.intdigest(),
            self._min_key,
            self._last_keys[-1],
        )

    def _close_block(self, keys: Sequence[bytes], entries: Sequence[Entry]) -> None:
        if self._keys:
            keys, entries = [*self._keys, *keys], [*self._entries, *entries]
            self._keys, self._entries = [], []
        self._pending_bytes = 0
        if self._last_keys and self._last_keys[-1] >= keys[0]:
            raise CorruptionError("keys of a table that is merged are not ascending")  # checksums cannot show that
        hashes = [hash_key(key) for key in keys]
        self._hashes.extend(hashes)
        self._append(self._format.encode_block(keys, entries, hashes, self._seed + self.file_bytes))
        self._offsets.append(self.file_bytes)
        self._last_keys.append(keys[-1])
        self._note_expiries(entries)

    def _note_expiries(self, entries: Sequence[Entry]) -> None:
        lowest, highest = expiry_range(entries)
        self._max_expiries.append(highest)
        self._max_expiry = max(self._max_expiry, highest)
        self._min_expiry = lowest if self._min_expiry is None else min(self._min_expiry, lowest)
        self._tombstones += sum(1 for entry in entries if entry[0] is None)

    def _append(self, data: bytes) -> None:
        self._chunk.append(data)
        self._chunk_bytes += len(data)
        self.file_bytes += len(data)

    def _write(self) -> Op[None]:
        if self._file is None:
            self._file = yield from self._create()
        data = b"".join(self._chunk)
        self._chunk.clear()
        self._chunk_bytes = 0
        self._digest.update(data)
        yield WriteAt(self._file, self._written, data)
        self._written += len(data)

    def _create(self) -> Op[File]:
        if self._spare:
            try:
                return (yield from create_file(self.name, (), (SPARE_TABLE,)))[0]
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise
                self._spare = False  # earlier tables of this merge have used up the spare table
        return (yield from create_file(self.name, (0,)))[0]


def expiry_range(entries: Sequence[Entry]) -> tuple[int, int]:
    """Return the lowest and highest expiry as the manifest has them.

    If a record never expires, they are 0 and NEVER. Tombstones count as records that never expire,
    because they hide older records.
    """
    expiries = [entry[1] for entry in entries]
    return min(expiries), NEVER if 0 in expiries else max(expiries)


class Outputs:
    """Writes tables of one level, one after the other, each of about `table_bytes`.

    Keys must be added in ascending order. `next_number` returns a number for each table. `finished`
    is called with each finished table and its synced file. If the caller does not finish, it calls
    `give_up`.
    """

    def __init__(
        self,
        level: int,
        store_id: bytes,
        options: Options,
        seqnos: tuple[int, int],
        next_number: Callable[[], int],
        finished: Callable[[TableMeta, File], None],
        *,
        spare: bool = False,
    ) -> None:
        self.names: list[str] = []
        self._level = level
        self._store_id = store_id
        self._options = options
        self._seqnos = seqnos
        self._next_number = next_number
        self._finished = finished
        self._spare = spare  # each table takes what the one before it has left of the spare table
        self._builder: TableBuilder | None = None
        self._closed_bytes = 0

    @property
    def file_bytes(self) -> int:
        """The size of the tables so far, without the records that are not in a block yet."""
        return self._closed_bytes + (0 if self._builder is None else self._builder.file_bytes)

    def add(self, keys: Sequence[bytes], entries: Sequence[Entry]) -> Op[None]:
        """Add a page of records, which may be empty."""
        if not keys:
            return
        if self._builder is None:
            number = self._next_number()
            self._builder = TableBuilder(
                number, self._level, self._store_id, self._options.block_bytes, self._seqnos, spare=self._spare
            )
            self.names.append(self._builder.name)
        yield from self._builder.add(keys, entries)
        if self._builder.file_bytes >= self._options.table_bytes:
            yield from self._close()

    def finish(self) -> Op[None]:
        """Finish the last table, and make the names of all tables durable."""
        if self._builder is not None:
            yield from self._close()
        if self.names:
            yield SyncDirectory()

    def give_up(self) -> Op[None]:
        """Remove all tables."""
        if self._builder is not None:
            self.names.remove(self._builder.name)
            yield from self._builder.give_up()
        yield from remove_files(self.names)

    def _close(self) -> Op[None]:
        assert self._builder is not None
        builder = self._builder
        self._finished(*(yield from builder.finish()))
        self._builder = None
        self._closed_bytes += builder.file_bytes
