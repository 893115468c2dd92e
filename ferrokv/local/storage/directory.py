"""Which directories may hold a store: the checks of rules S1, H11, H14 and H15, made once at opening, or only looked at."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from typing import Final, NamedTuple

from ...errors import FerroKVError, StoreFull, StorePathError
from .locks import lock_name
from .probing import probe
from .requests import UNBOUNDED, Space

CURRENT: Final = "CURRENT"
"""The file whose presence makes a directory a store."""
SPARE_TABLE: Final = "reserve.table"
"""The largest piece of a store's reserve, which is made last (engine/spares.py)."""
LITTLE_BYTES: Final = 1 << 20  # of free space, which counts as none

# Locks and shared mappings do not reach across hosts on these; two machines would each believe to be alone.
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.rclone", "fuse.s3fs"),
    }
)
# Of these it depends on what is behind them: they are asked by `probing.py`, as is everything of FUSE.
PROBED_FILE_SYSTEMS: Final = frozenset({"9p", "virtiofs", "vboxsf", "vmhgfs", "prl_fs", "fuse", "fuseblk"})
VOLATILE_FILE_SYSTEMS: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})


# What may be in a directory that becomes a store: what an interrupted creation left, and what is nobody's data.
_HARMLESS: Final = re.compile(
    r"CURRENT\.new|control|(open|write|sync|compact)\.lock|process-[0-9a-f]{16}\.lock|(wal|manifest|table)-[0-9]{8,18}\.(log|sst)"
    r"|reserve[.-].*|probe-[0-9a-f]{16}\.tmp|lost\+found|\.gitkeep|\.gitignore"
)


class Directory(NamedTuple):
    """A checked store directory. `durable` is False on a file system that lives in memory."""

    path: str
    file_system: str
    durable: bool
    owner: tuple[int, int] | None  # (uid, gid) to give new files, when root works in another user's directory
    file_mode: int = 0o600  # of new files: the group's rights on a directory that is closed to others, else none
    read_only: bool = False


class DirectoryReport(NamedTuple):
    """What `inspect_directory` found. Nothing of it is a promise for the next moment."""

    path: str
    """The real path, without symbolic links. If what was given is no path at all, its `repr`."""
    exists: bool
    is_store: bool
    """True if there is a store: a directory with a file CURRENT, whatever its state."""
    file_system: str
    """Type of the file system, for a missing directory that of its place; "" where the system does not tell."""
    is_network: bool
    """True on a network file system, where no store can be. Remote ones of other kinds are only tried at opening."""
    is_volatile: bool
    """True on a file system that lives in memory, where nothing outlasts a reboot."""
    mode: int | None
    """Permission bits, None if the path is missing or can not be looked at."""
    owner_uid: int | None
    problem: str | None
    """What the `StorePathError` would say if the store were opened to write now, or None if the directory can serve."""
    free_bytes: int | None = None
    """Room on the file system for this process, None where the system does not tell."""
    warning: str | None = None
    """What does not keep the store from opening, but from taking writes: the disk is full, or about to be."""


class Target(NamedTuple):
    """A directory that is to become a copy of a store, and whether it was made for that."""

    directory: Directory
    made: bool


def prepare_directory(path: str | os.PathLike[str], *, read_only: bool = False) -> Directory:
    """The directory at `path`, made with mode 0700 if it is missing (its parent must exist; never made to read only).

    `StorePathError` when it is not a directory, is not writable (readable, to read only), is open to everybody's writes,
    belongs to another user who did not open it to this one's group or who made it where everybody may, holds files but no store, or
    is on a file system that lacks what a store needs.
    """
    real = _resolve(path)
    if not read_only and not _make(real) and not os.path.lexists(os.path.join(real, CURRENT)):
        # Durability: made by somebody who did not come as far as a store, and perhaps not as far as this.
        with suppress(PermissionError):  # its parent may be closed to this process, which then has not made it
            _sync_parent(real)
    directory = _check(real, read_only=read_only)
    if not read_only:
        _refuse_foreign(real)
        if needs_probing(directory.file_system):
            probe(real)
    return directory


def prepare_target(path: str | os.PathLike[str], source: str) -> Target:
    """The directory at `path`, as `prepare_directory` makes and checks it, for a copy of the store at the real path `source`.

    `StorePathError` also when it is that store's directory, or inside it. Whether it is empty is left to the caller, who can
    keep others out. Its name is durable, also that of a directory which was there already.
    """
    real = _resolve(path)
    if os.path.commonpath((real, source)) == source:
        raise StorePathError(f"a copy of a store stands outside of its directory: path={real} store={source}")
    made = _make(real)
    directory = _check(real, read_only=False)
    if not made:
        with suppress(PermissionError):  # its parent may be closed to this process, and is then somebody else's affair
            _sync_parent(real)
    return Target(directory, made)


def remove_target(target: Target) -> None:
    """Remove the directory if it was made for a copy and nothing but a lock file is left in it.

    The caller still holds the open lock, so that nobody else begins a store in it meanwhile.
    """
    if target.made:
        with suppress(OSError):
            os.unlink(os.path.join(target.directory.path, lock_name("open")))
        with suppress(OSError):
            os.rmdir(target.directory.path)


def inspect_directory(path: str | os.PathLike[str]) -> DirectoryReport:
    """What stands at a place for a store, and whether a store could be opened there. Makes, opens, locks and changes nothing.

    For checks at the start of a program. `problem` is found by the checks of `FerroKV.open` itself; for a missing directory it
    says whether it could be made: its parent must exist and be writable. Whether a store there is whole, or busy, is not looked
    at. A few system calls, which block. Raises nothing. Any thread.
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
    """Room at the place, or where a missing directory would be."""
    try:
        free = space_of(real if os.path.lexists(real) else os.path.dirname(real)).free
    except OSError:
        return None
    return None if free == UNBOUNDED else free


def _warning(real: str) -> str | None:
    """What is known of the room from outside: how much is free, and whether the store's reserve is there."""
    free = _free_bytes(real)
    if free is None:
        return None
    advice = "delete keys, clear keyspaces, or free space outside of the store"
    if free < LITTLE_BYTES:
        return f"the disk is full: free_bytes={free}; reading, deleting and clearing go on; {advice}"
    if os.path.isfile(os.path.join(real, CURRENT)) and not os.path.isfile(os.path.join(real, SPARE_TABLE)):
        return (
            f"the store has no reserve for a full disk, or has it in use: free_bytes={free}; if it stays so, {advice}"
        )
    return None


def space_of(place: str | int) -> Space:
    """The room on the file system of a path or descriptor. Blocks that are kept for root do not count."""
    facts = os.statvfs(place)
    if not facts.f_blocks:  # some file systems of containers and users tell nothing
        return Space(UNBOUNDED, UNBOUNDED)
    return Space(facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize)


def _resolve(path: object) -> str:
    """The real path of what a caller gave."""
    given = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(given, str) or not given or "\0" in given:
        raise StorePathError(f"the path of a store is a non-empty str or path without NUL: path={path!r}")
    return os.path.realpath(given)


def _check(real: str, *, read_only: bool) -> Directory:
    """The directory, which is there, if it can serve."""
    try:
        facts = os.stat(real)
    except OSError as error:
        raise StorePathError(f"the store directory can not be used: path={real} reason={error.strerror}") from error
    if not stat.S_ISDIR(facts.st_mode):
        raise StorePathError(f"the path of a store is a directory: path={real}")
    _refuse_insecure(real, facts, read_only=read_only)
    if not _may(real, os.R_OK | os.X_OK | (0 if read_only else os.W_OK)):
        lacking = "readable" if read_only else "writable"
        raise StorePathError(f"the store directory is not {lacking}: path={real} uid={os.geteuid()}")
    file_system = _local_file_system(real)
    euid = os.geteuid()
    owner = (facts.st_uid, facts.st_gid) if euid == 0 and facts.st_uid != 0 else None
    # A directory that everybody may read is more often an accident of the umask than a computation: its files stay private.
    file_mode = 0o600 if facts.st_mode & stat.S_IRWXO else 0o600 | facts.st_mode & 0o060
    return Directory(real, file_system, file_system not in VOLATILE_FILE_SYSTEMS, owner, file_mode, read_only)


def _check_makeable(real: str) -> None:
    """Return if `_make` would make the missing directory, as far as looking can tell."""
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
    """True if the directory was made, False if the path was there."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False
    except OSError as error:
        raise _not_made(path, error) from error
    try:
        _sync_parent(path)
    except OSError as error:
        # Durability: the next try has to make it again, or it would not sync the name either.
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
    return StorePathError(f"the store directory can not be made: path={path} reason={reason}; its parent must exist")


def _sync_parent(path: str) -> None:
    """Durability: a new name must not vanish with a power cut after the store's own files were synced."""
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
            f"the name of the store directory can not be made durable: path={path} reason={error.strerror}"
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
            "the store directory was made by another user in a place where everybody may make one, and its owner could read "
            f"everything: path={path} owner={facts.st_uid} uid={euid} place={open_to_all}; "
            "choose another place, or remove it and let the store make it"
        )
    if facts.st_mode & stat.S_IWOTH:
        raise StorePathError(
            f"the store directory is writable by everybody: path={path} mode={facts.st_mode & 0o777:o}"
        )


def _open_ancestor(path: str) -> str | None:
    """The nearest directory above in which every user of the machine may make files, as in /tmp."""
    while (parent := os.path.dirname(path)) != path:
        if os.stat(parent).st_mode & stat.S_IWOTH:
            return parent
        path = parent
    return None


def _refuse_foreign(path: str) -> None:
    """A directory with files of others is not made a store: they would stand among its own, under rules that they do not know."""
    try:
        names = os.listdir(path)
    except OSError as error:
        raise StorePathError(f"the store directory can not be listed: path={path} reason={error.strerror}") from error
    if CURRENT in names:
        return
    foreign = sorted(name for name in names if not _HARMLESS.fullmatch(name))
    if foreign:
        raise StorePathError(
            f"the directory holds other files and no store: path={path} files={len(foreign)} first={foreign[0]!r}; "
            "a store needs a directory of its own"
        )


def needs_probing(file_system: str) -> bool:
    """True if only trying tells whether a store can be there."""
    return file_system in PROBED_FILE_SYSTEMS or file_system.startswith("fuse.")


def _local_file_system(path: str) -> str:
    """Type of the file system, which is none of the network's."""
    file_system = _file_system(path)
    if file_system in NETWORK_FILE_SYSTEMS:
        raise StorePathError(
            f"a store needs a file system of this machine, for locks do not hold between two: path={path} file_system={file_system}"
        )
    return file_system


def _file_system(path: str) -> str:
    """Type of the file system that holds `path`, from the longest mount point above it; "" where that is not told."""
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
