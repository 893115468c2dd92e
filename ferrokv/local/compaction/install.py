"""Installing a change of the tables.

Order: first the edit is written to the manifest and synced, then VERSION is incremented and the new
view published, and only then are old files removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...errors import FerroKVError
from ..engine.compactor import Waiting
from ..engine.engine import Engine
from ..engine.manifest import ROLL_BYTES, prepare_roll, rename_current, write_edit
from ..engine.removal import remove_files, remove_obsolete, remove_waiting
from ..format.control import VERSION
from ..format.edits import Edit
from ..names import CURRENT_ASIDE, file_name, numbers_of
from ..storage.requests import ListDirectory, Op, Sync
from ..tree.memtable import Memtable
from ..tree.table import Table
from .score import announce_score


def install(
    engine: Engine,
    edit: Edit,
    added: Sequence[Table] = (),
    flushed: Sequence[Memtable] = (),
    obsolete: Iterable[str] = (),
) -> Op[None]:
    """Make `edit` durable and visible, then remove the `obsolete` files.

    Only for the holder of the compact lock. The added tables and their names must be durable
    already.

    On `StoreFull`, nothing has changed for readers. If the edit may be partly written, the manifest
    may or may not name the new files. They stay as orphans until a new manifest is written.
    """
    engine.check_usable()
    manifest = engine.compactor.manifest
    # Without tables that move: the manifest names their files already, and still does if this
    # fails.
    made = [table.name for table in added if table.number not in edit.removed]
    if manifest.doubtful or manifest.position.end >= ROLL_BYTES:
        try:
            yield from roll(engine)
        except FerroKVError:
            if engine.failure is None:
                yield from remove_files(made)
            raise
        manifest = engine.compactor.manifest
    try:
        position, tables = yield from write_edit(manifest, edit)
    except OSError as error:
        manifest.doubtful = True
        engine.compactor.orphans.extend(made)
        raise engine.write_error("writing the manifest", error) from error
    try:
        yield Sync(manifest.file)
    except OSError as error:
        raise engine.poison("syncing the manifest", error) from error
    before = manifest.tables
    manifest.position, manifest.tables = position, tables
    version_word = engine.words[VERSION] + 1
    engine.words[VERSION] = version_word
    manifest.version_word = version_word
    engine.install_tables(added, edit.removed, flushed, version_word)
    for number in edit.removed if engine.compactor.damaged else ():
        engine.compactor.damaged.pop(number, None)
    announce_score(engine.words, engine.view.version, engine.options, len(engine.compactor.damaged))
    yield from remove_obsolete(engine, obsolete, before)


def roll(engine: Engine) -> Op[None]:
    """Replace the manifest by a new one, and remove the orphans.

    Only a doubtful edit of the old manifest may have named them.
    """
    old = engine.compactor.manifest
    try:
        rolled = yield from prepare_roll(engine.storage, old)
    except OSError as error:
        failure = engine.write_error("making a new manifest", error)
        if engine.failure is None:
            names = yield ListDirectory()
            own = old.current.manifest_number
            unfinished = [file_name("manifest", number) for number in numbers_of("manifest", names) if number != own]
            yield from remove_files([*unfinished, CURRENT_ASIDE])
        raise failure from error
    try:
        yield from rename_current()
    except OSError as error:
        raise engine.poison("renaming CURRENT", error) from error
    rolled.version_word = old.version_word
    engine.compactor.open_manifest = rolled
    old.file.close()
    yield from remove_files([file_name("manifest", old.current.manifest_number)])
    orphans, engine.compactor.orphans = engine.compactor.orphans, []
    if orphans:
        # A process that has read the old manifest may have found the doubtful edit complete, and be
        # using its tables. A new VERSION makes it read the manifest again.
        rolled.version_word = engine.words[VERSION] = engine.words[VERSION] + 1
        engine.compactor.waiting += [Waiting(rolled.version_word, name, 0) for name in orphans]
        yield from remove_waiting(engine)
