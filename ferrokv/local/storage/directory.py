"""Checking whether a directory can hold a store (rules S1, H11, H14, H15 in docs/reliability.md).

`prepare_directory` makes and checks a directory at opening. `inspect_directory` runs the same
checks without changing anything.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from typing import Final, NamedTuple

from ...errors import FerroKVError, StoreFull, StorePathError
from .lock_files import lock_name
from .probing import probe
from .requests import UNBOUNDED, Space

CURRENT: Final = "CURRENT"
"""The file whose presence makes a directory a store."""
SPARE_TABLE: Final = "reserve.table"
"""The largest piece of a store's reserve, and the last to be made (engine/spares.py)."""
LITTLE_BYTES: Final = 1 << 20  # a disk with less free space than this counts as full

# On these, locks and shared mappings do not reach other hosts, so two would each think it is alone.
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.rclone", "fuse.s3fs"),
    }
)
# Whether these work depends on what is behind them. `probing.py` tries them, and all FUSE ones.
PROBED_FILE_SYSTEMS: Final = frozenset({"9p", "virtiofs", "vboxsf", "vmhgfs", "prl_fs", "fuse", "fuseblk"})
VOLATILE_FILE_SYSTEMS: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})


# Files that a directory may hold before it becomes a store: remains of an interrupted creation, and
# files that are nobody's data.
_HARMLESS: Final = re.compile(
    r"CURRENT\.new|control|(open|write|sync|compact)\.lock|process-[0-9a-f]{16}\.lock|(wal|manifest|table)-[0-9]{8,18}\.(log|sst)"
    r"|reserve[.-].*|probe-[0-9a-f]{16}\.tmp|lost\+found|\.gitkeep|\.gitignore"
)


class Directory(NamedTuple):
    """A store directory that passed the checks. `durable` is False if its file system is in memory."""

    path: str
    file_system: str
    durable: bool
    owner: tuple[int, int] | None  # (uid, gid) for new files, if root works in another user's directory
    file_mode: int = 0o600  # of new files: with the group's rights if the directory is closed to others
    read_only: bool = False


class DirectoryReport(NamedTuple):
    """What `inspect_directory` found. All of it may have changed a moment later."""

    path: str
    """The real path, without symbolic links; if the argument is not a path, its `repr`."""
    exists: bool
    is_store: bool
    """True if the directory has a file CURRENT, whatever the state of the store."""
    file_system: str
    """Type of the file system (for a missing directory, its parent's); "" if the system does not say."""
    is_network: bool
    """True on a network file system, which cannot hold a store.

    File systems that may be remote in other ways are only tried at opening.
    """
    is_volatile: bool
    """True on a file system in memory, which a reboot empties."""
    mode: int | None
    """Permission bits; None if the path is missing or cannot be examined."""
    owner_uid: int | None
    problem: str | None
    """The `StorePathError` message that opening the store to write would give now, or None."""
    free_bytes: int | None = None
    """Free space for this process on the file system; None if the system does not say."""
    warning: str | None = None
    """Why the store may refuse writes although it can be opened: the disk is full, or almost."""


class Target(NamedTuple):
    """A directory that will hold a copy of a store. `made` is True if it was created for that."""

    directory: Directory
    made: bool


def prepare_directory(path: str | os.PathLike[str], *, read_only: bool = False) -> Directory:
    """Check the directory at `path` and return it. Create it with mode 0700 if it is missing.

    Its parent must exist. With `read_only` nothing is created. Raises `StorePathError` if the path

    - is not a directory, or not writable (with `read_only`: not readable),
    - is writable by everybody,
    - belongs to another user, who has not opened it to a group or created it where everybody may,
    - holds files but no store,
    - or is on a file system that lacks what a store needs.
    """
    real = _resolve(path)
    if not read_only and not _make(real) and not os.path.lexists(os.path.join(real, CURRENT)):
        # Durability: whoever made the directory has not made a store, and perhaps not come to this sync.
        with suppress(PermissionError):  # who may not read the parent has not made the directory
            _sync_parent(real)
    directory = _check(real, read_only=read_only)
    if not read_only:
        _refuse_foreign(real)
        if needs_probing(directory.file_system):
            probe(real)
    return directory


def prepare_target(path: str | os.PathLike[str], source: str) -> Target:
    """Make and check the directory at `path` for a copy of the store in `source`, a real path.

    It is made and checked as in `prepare_directory`; it also must not be the store's directory or inside
    it, else `StorePathError`. Its name is durable, even if the directory existed before. The caller
    checks that it is empty, after keeping others out.
    """
    real = _resolve(path)
    if os.path.commonpath((real, source)) == source:
        raise StorePathError(f"a copy of a store must be outside of the store's directory: path={real} store={source}")
    made = _make(real)
    directory = _check(real, read_only=False)
    if not made:
        with suppress(PermissionError):  # who may not read the parent has not made the directory
            _sync_parent(real)
    return Target(directory, made)


def remove_target(target: Target) -> None:
    """Remove the directory if it was made for the copy and holds nothing but a lock file.

    The caller still holds the open lock, so that nobody else creates a store there meanwhile.
    """
    if target.made:
        with suppress(OSError):
            os.unlink(os.path.join(target.directory.path, lock_name("open")))
        with suppress(OSError):
            os.rmdir(target.directory.path)


def inspect_directory(path: str | os.PathLike[str]) -> DirectoryReport:
    """Report what is at `path`, and whether a store could be opened there.

    This is for checks at the start of a program. It creates, opens, locks and changes nothing.
    `problem` comes from the checks that `FerroKV.open` makes. For a missing directory it says whether
    it could be created: its parent must exist and be writable. Whether a store there is damaged or
    busy is not examined. Makes a few system calls, which block. Raises nothing. Any thread.
    """
    try:
        real = _resolve(path)
    except StorePathError as error:
        return DirectoryReport(repr(path), False, False, "", False, False, None, None, str(error))
    try:
        facts = os.stat(real)
    except OSError:
        facts = None
    problem = None
    try:
        if os.path.lexists(real):
            _check(real, read_only=False)
            _refuse_foreign(real)
        else:
            _check_makeable(real)
    except StorePathError as error:
        problem = str(error)
    file_system = _file_system(real)
    return DirectoryReport(
        path=real,
        exists=facts is not None,
        is_store=os.path.isfile(os.path.join(real, CURRENT)),
        file_system=file_system,
        is_network=file_system in NETWORK_FILE_SYSTEMS,
        is_volatile=file_system in VOLATILE_FILE_SYSTEMS,
        mode=None if facts is None else stat.S_IMODE(facts.st_mode),
        owner_uid=None if facts is None else facts.st_uid,
        problem=problem,
        free_bytes=_free_bytes(real),
        warning=_warning(real),
    )


def _free_bytes(real: str) -> int | None:
    """Return the free space at a path, or in its parent if it is missing; None if that is not known."""
    try:
        free = space_of(real if os.path.lexists(real) else os.path.dirname(real)).free
    except OSError:
        return None
    return None if free == UNBOUNDED else free


def _warning(real: str) -> str | None:
    """Return a warning about free space, from what is visible outside: the disk and the reserve."""
    free = _free_bytes(real)
    if free is None:
        return None
    advice = "delete keys, clear keyspaces, or free space outside of the store"
    if free < LITTLE_BYTES:
        return f"the disk is full: free_bytes={free}; reading, deleting and clearing still work; {advice}"
    if os.path.isfile(os.path.join(real, CURRENT)) and not os.path.isfile(os.path.join(real, SPARE_TABLE)):
        return f"the store's reserve for a full disk is missing or in use: free_bytes={free}; if it stays so, {advice}"
    return None


def space_of(place: str | int) -> Space:
    """Return the space on the file system of a path or descriptor, without blocks reserved for root."""
    facts = os.statvfs(place)
    if not facts.f_blocks:  # some container and user-space file systems report nothing
        return Space(UNBOUNDED, UNBOUNDED)
    return Space(facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize)


def _resolve(path: object) -> str:
    """Return the real path of an argument. Raises `StorePathError` if it is not a path."""
    given = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(given, str) or not given or "\0" in given:
        raise StorePathError(f"the path of a store must be a non-empty str or PathLike without NUL: path={path!r}")
    return os.path.realpath(given)


def _check(real: str, *, read_only: bool) -> Directory:
    """Return the existing directory at `real`. Raises `StorePathError` if it cannot hold a store."""
    try:
        facts = os.stat(real)
    except OSError as error:
        raise StorePathError(f"the store directory cannot be used: path={real} reason={error.strerror}") from error
    if not stat.S_ISDIR(facts.st_mode):
        raise StorePathError(f"the path of a store must be a directory: path={real}")
    _refuse_insecure(real, facts, read_only=read_only)
    if not _may(real, os.R_OK | os.X_OK | (0 if read_only else os.W_OK)):
        lacking = "readable" if read_only else "writable"
        raise StorePathError(f"the store directory is not {lacking}: path={real} uid={os.geteuid()}")
    file_system = _local_file_system(real)
    euid = os.geteuid()
    owner = (facts.st_uid, facts.st_gid) if euid == 0 and facts.st_uid != 0 else None
    # A directory that everybody may read is usually an accident of the umask. Its files stay private.
    file_mode = 0o600 if facts.st_mode & stat.S_IRWXO else 0o600 | facts.st_mode & 0o060
    return Directory(real, file_system, file_system not in VOLATILE_FILE_SYSTEMS, owner, file_mode, read_only)


def _check_makeable(real: str) -> None:
    """Raise `StorePathError` if `_make` would fail to create the directory, as far as is visible."""
    parent = os.path.dirname(real)
    try:
        if not stat.S_ISDIR(os.stat(parent).st_mode):
            raise _unmakeable(real, os.strerror(errno.ENOTDIR))
    except StorePathError:
        raise
    except OSError as error:
        raise _unmakeable(real, error.strerror) from error
    if not _may(parent, os.W_OK | os.X_OK):
        raise _unmakeable(real, os.strerror(errno.EACCES))
    _local_file_system(real)


def _make(path: str) -> bool:
    """Create the directory, durably. Return False if the path existed already."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False
    except OSError as error:
        raise _not_made(path, error) from error
    try:
        _sync_parent(path)
    except OSError as error:
        # Durability: the next attempt must create it again, or it would not sync its name.
        with suppress(OSError):
            os.rmdir(path)
        if isinstance(error, StorePathError):
            raise
        raise _not_made(path, error) from error
    return True


def _not_made(path: str, error: OSError) -> FerroKVError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(f"no space to make the directory: path={path} reason={error.strerror}")
    return _unmakeable(path, error.strerror)


def _unmakeable(path: str, reason: str | None) -> StorePathError:
    return StorePathError(f"the store directory cannot be made: path={path} reason={reason}; its parent must exist")


def _sync_parent(path: str) -> None:
    """Make the directory's own name durable.

    Durability: it must not vanish in a power cut after the store's files in it have been synced.
    """
    try:
        parent = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
    except PermissionError:
        raise
    except OSError as error:
        raise StorePathError(
            f"the name of the store directory cannot be made durable: path={path} reason={error.strerror}"
        ) from error


def _may(path: str, needed: int) -> bool:
    return os.access(path, needed, effective_ids=os.access in os.supports_effective_ids)


def _refuse_insecure(path: str, facts: os.stat_result, *, read_only: bool) -> None:
    euid = os.geteuid()
    shared = facts.st_mode & stat.S_IWGRP and not facts.st_mode & stat.S_IRWXO
    if facts.st_uid not in (euid, 0) and euid != 0 and not shared and not read_only:
        raise StorePathError(
            f"the store directory belongs to another user: path={path} owner={facts.st_uid} uid={euid}"
        )
    if facts.st_uid not in (euid, 0) and not read_only and (open_to_all := _open_ancestor(path)) is not None:
        raise StorePathError(
            "the store directory was made by another user, in a place where everybody may make one; its owner could read "
            f"everything: path={path} owner={facts.st_uid} uid={euid} place={open_to_all}; "
            "choose another place, or remove it and let the store make it"
        )
    if facts.st_mode & stat.S_IWOTH:
        raise StorePathError(
            f"the store directory is writable by everybody: path={path} mode={facts.st_mode & 0o777:o}"
        )


def _open_ancestor(path: str) -> str | None:
    """Return the nearest directory above that every user may write to, such as /tmp, or None."""
    while (parent := os.path.dirname(path)) != path:
        if os.stat(parent).st_mode & stat.S_IWOTH:
            return parent
        path = parent
    return None


def _refuse_foreign(path: str) -> None:
    """Raise `StorePathError` if the directory holds files but no store: somebody else uses it."""
    try:
        names = os.listdir(path)
    except OSError as error:
        raise StorePathError(f"the store directory cannot be listed: path={path} reason={error.strerror}") from error
    if CURRENT in names:
        return
    foreign = sorted(name for name in names if not _HARMLESS.fullmatch(name))
    if foreign:
        raise StorePathError(
            f"the directory holds other files and no store: path={path} files={len(foreign)} first={foreign[0]!r}; "
            "a store needs a directory of its own"
        )


def needs_probing(file_system: str) -> bool:
    """Return True if the file system has to be tried to know whether it can hold a store."""
    return file_system in PROBED_FILE_SYSTEMS or file_system.startswith("fuse.")


def _local_file_system(path: str) -> str:
    """Return the type of the file system. Raises `StorePathError` if it is a network file system."""
    file_system = _file_system(path)
    if file_system in NETWORK_FILE_SYSTEMS:
        raise StorePathError(
            f"a store needs a local file system, since locks do not work between machines: path={path} file_system={file_system}"
        )
    return file_system


def _file_system(path: str) -> str:
    """Return the type of the file system that holds `path`; "" if the system does not say.

    It is that of the longest mount point that is `path` or above it.
    """
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            lines = mounts.read().splitlines()
    except OSError:
        return ""
    best, found = "", ""
    for line in lines:
        fields = line.split(" ")
        point = fields[4].replace("\\040", " ")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best) and "-" in fields:
            best, found = point, fields[fields.index("-") + 1]
    return found
