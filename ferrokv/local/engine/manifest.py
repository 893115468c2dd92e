"""The manifest: the log of edits that says which tables make up the store.

The file CURRENT names the manifest that counts. Its first frame states the whole, each later one is
an edit, and the state is the result of all frames. Only the holder of the compact lock changes it.
An edit is made in two steps: `write_edit` appends the frame, and the caller (compaction/install.py)
syncs the file and increments VERSION, so that other processes read the manifest again.

A manifest is *doubtful* if its tail is uncertain: a write has failed, or somebody died during one.
No edit may be appended to it. It is replaced by a new one, as is a manifest that has grown beyond
ROLL_BYTES. This is called a roll: `prepare_roll` writes and syncs a new manifest and a new CURRENT
under another name, and `rename_current` puts the latter into place, which is the moment at which
the new manifest counts. A crash before that leaves the old one in force; what it leaves of the new
files is removed later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from ...errors import CorruptionError
from ..format.current import CURRENT_BYTES, Current, encode_current
from ..format.edits import NO_MERGE, Edit, MergeProgress, TableMeta, decode_edit, encode_edit
from ..format.logs import (
    HEADER_BYTES,
    MANIFEST_MAGIC,
    START,
    TYPE_EDIT,
    LogHeader,
    Position,
    decode_header,
    encode_frame,
    encode_header,
    holds_later_durable,
    position_after,
    read_frame,
)
from ..names import CURRENT, CURRENT_ASIDE, file_name, numbers_of
from ..storage.requests import (
    PAUSE,
    File,
    ListDirectory,
    Op,
    Open,
    ReadAt,
    Remove,
    Rename,
    Storage,
    Sync,
    SyncDirectory,
    WriteAt,
)
from ..tree.table import damage_in
from .spares import MANIFEST_ROOM, SPARE_CURRENT, SPARE_MANIFEST, create_file

ROLL_BYTES: Final = 4 << 20
PAUSE_FRAMES: Final = 64  # between two pauses, since this may run on an event loop


class Tables(NamedTuple):
    """The state that a manifest describes.

    The tables by number; the number of the oldest WAL that is needed; the next table number; the
    last seqno that is in tables; and the merge under way.
    """

    metas: dict[int, TableMeta]
    log_number: int
    next_table: int
    last_seqno: int
    merge: MergeProgress = NO_MERGE

    def changed(self, edit: Edit) -> Tables:
        """Return the state after `edit`.

        Raises `CorruptionError` if the edit does not fit this state.
        """
        metas = dict(self.metas)
        for number in edit.removed:
            if number not in metas:
                raise CorruptionError(f"manifest removes a table that is not there: table={number}")
            del metas[number]
        for meta in edit.added:
            if meta.number in metas:
                raise CorruptionError(f"manifest adds a table twice: table={meta.number}")
            metas[meta.number] = meta
        return Tables(
            metas,
            self.log_number if edit.log_number is None else edit.log_number,
            self.next_table if edit.next_table is None else edit.next_table,
            self.last_seqno if edit.last_seqno is None else edit.last_seqno,
            self.merge if edit.merge is None else edit.merge,
        )

    def with_next_table(self, number: int) -> Tables:
        """Return the state with another next table number, which the next edit makes durable."""
        return self._replace(next_table=number)

    def as_edit(self) -> Edit:
        """Return the whole state as one edit."""
        metas = tuple(meta for _, meta in sorted(self.metas.items()))
        merge = self.merge if self.merge.upper else None
        return Edit(metas, (), self.log_number, self.next_table, self.last_seqno, merge)


EMPTY: Final = Tables({}, 1, 1, 0)


def overlaps(metas: Iterable[TableMeta]) -> Iterator[str]:
    """Describe each overlap of tables in a level from 1 on, where there must be none.

    O(tables log tables).
    """
    for a, b in pairwise(sorted(metas, key=lambda meta: (meta.level, meta.min_key))):
        if a.level and a.level == b.level and b.min_key <= a.max_key:
            yield f"tables of level {a.level} overlap: tables={a.number},{b.number}"


class Manifest:
    """An open manifest and the state that it describes. Owner: the holder of the compact lock."""

    __slots__ = ("current", "doubtful", "file", "header", "position", "tables", "version_word")

    def __init__(self, current: Current, file: File, header: LogHeader, position: Position, tables: Tables) -> None:
        self.current = current
        self.file = file
        self.header = header
        self.position = position
        self.tables = tables
        self.version_word = 0  # the VERSION of this state; if VERSION is another one, another process changed it
        self.doubtful = False  # True if its tail is uncertain, so that the next edit goes to a new file


def read_manifest(current: Current) -> Op[Manifest]:
    """Read the manifest that `current` names. If its tail is torn, it is `doubtful`.

    Raises `CorruptionError` on any other damage, `FileNotFoundError` if another process has
    replaced it.
    """
    name = file_name("manifest", current.manifest_number)
    file = yield Open(name)
    data = yield from _read_whole(file)
    with damage_in(name):
        header = decode_header(data, MANIFEST_MAGIC, current.store_id, current.manifest_number)
        tables = EMPTY
        position = header.start()
        frames = 0
        while (frame := read_frame(data, header.checksum, position)) is not None:
            if frame.type != TYPE_EDIT:
                raise CorruptionError(f"manifest frame of an unknown type: type={frame.type}", offset=position.end)
            tables = tables.changed(decode_edit(frame.payload, frame.records))
            position = frame.after
            frames += 1
            if not frames % PAUSE_FRAMES:
                yield PAUSE
        if position.end == HEADER_BYTES or holds_later_durable(data, header.checksum, position.end):
            raise CorruptionError("manifest frame does not verify", offset=position.end)
    manifest = Manifest(current, file, header, position, tables)
    # Zeros at the end are preallocated room for edits. Anything else is a torn tail.
    manifest.doubtful = data.count(0, position.end) != len(data) - position.end
    return manifest


def _read_whole(file: File) -> Op[bytes]:
    """Read the whole file, even if it is growing."""
    data = b""
    while part := (yield ReadAt(file, len(data), ROLL_BYTES)):
        data += part
        if len(part) < ROLL_BYTES:
            break
    return data


def create_manifest(storage: Storage, current: Current, tables: Tables) -> Op[Manifest]:
    """Create and sync a new manifest that describes `tables`. CURRENT does not name it yet."""
    name = file_name("manifest", current.manifest_number)
    salt = int.from_bytes(storage.random_bytes(8), "little")
    head = encode_header(MANIFEST_MAGIC, current.store_id, current.manifest_number, salt, START)
    header = decode_header(head, MANIFEST_MAGIC, current.store_id, current.manifest_number)
    count, payload = encode_edit(tables.as_edit())
    frame = encode_frame(header.checksum, header.start(), TYPE_EDIT, count, payload)
    data = head + frame
    # Preallocate room for edits, so that they can be written even if the disk is full.
    file, _ = yield from create_file(name, (len(data) + MANIFEST_ROOM, len(data)), (SPARE_MANIFEST,))
    yield WriteAt(file, 0, data)
    yield Sync(file, metadata=True)
    yield SyncDirectory()
    return Manifest(current, file, header, position_after(header.start(), frame), tables)


def write_current_aside(current: Current) -> Op[None]:
    """Write and sync the new CURRENT under another name.

    The store is unchanged until `rename_current`.
    """
    file, _ = yield from create_file(CURRENT_ASIDE, (CURRENT_BYTES,), (SPARE_CURRENT,))
    yield WriteAt(file, 0, encode_current(current))
    yield Sync(file, metadata=True)
    file.close()


def rename_current() -> Op[None]:
    """Make CURRENT name the new manifest, atomically and durably.

    After an error, the outcome is unknown.
    """
    yield Rename(CURRENT_ASIDE, CURRENT)
    yield SyncDirectory()


def write_edit(manifest: Manifest, edit: Edit) -> Op[tuple[Position, Tables]]:
    """Append `edit` without syncing it. Return the position after it and the state after it."""
    tables = manifest.tables.changed(edit)
    count, payload = encode_edit(edit)
    frame = encode_frame(manifest.header.checksum, manifest.position, TYPE_EDIT, count, payload)
    yield WriteAt(manifest.file, manifest.position.end, frame)
    return position_after(manifest.position, frame), tables


def prepare_roll(storage: Storage, manifest: Manifest) -> Op[Manifest]:
    """Create a new manifest with the same state, and a CURRENT under another name that names it.

    `rename_current` is the next step.
    """
    names = yield ListDirectory()
    if CURRENT_ASIDE in names:
        yield Remove(CURRENT_ASIDE)
    number = max(numbers_of("manifest", names), default=0) + 1
    current = manifest.current._replace(manifest_number=number)
    rolled = yield from create_manifest(storage, current, manifest.tables)
    yield from write_current_aside(current)
    return rolled
