"""Which directories may hold a store: the checks of rules S1, H11, H14 and H15, made once at opening."""

from __future__ import annotations

import os
import stat
from typing import Final, NamedTuple

from ..errors import StorePathError

# Locks and shared mappings do not reach across hosts on these; two machines would each believe to be alone.
NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "virtiofs", "fuse.sshfs"}
)
VOLATILE_FILE_SYSTEMS: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})


class Directory(NamedTuple):
    """A checked store directory. `durable` is False on a file system that lives in memory."""

    path: str
    file_system: str
    durable: bool
    owner: tuple[int, int] | None  # (uid, gid) to give new files, when root works in another user's directory
    file_mode: int = 0o600  # of new files: the group's rights on a directory that is closed to others, else none
    read_only: bool = False


def prepare_directory(path: str | os.PathLike[str], *, read_only: bool = False) -> Directory:
    """The directory at `path`, made with mode 0700 if it is missing (its parent must exist; never made to read only).

    `StorePathError` when it is not a directory, is not writable (readable, to read only), is open to everybody's writes,
    belongs to another user who did not open it to this one's group, or is on a network file system.
    """
    given = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(given, str) or not given or "\0" in given:
        raise StorePathError(f"the path of a store is a non-empty str or path without NUL: path={path!r}")
    real = os.path.realpath(given)
    if not read_only:
        _make(real)
    try:
        facts = os.stat(real)
    except OSError as error:
        raise StorePathError(f"the store directory can not be used: path={real} reason={error.strerror}") from error
    if not stat.S_ISDIR(facts.st_mode):
        raise StorePathError(f"the path of a store is a directory: path={real}")
    _refuse_insecure(real, facts, read_only=read_only)
    needed = os.R_OK | os.X_OK | (0 if read_only else os.W_OK)
    if not os.access(real, needed, effective_ids=os.access in os.supports_effective_ids):
        lacking = "readable" if read_only else "writable"
        raise StorePathError(f"the store directory is not {lacking}: path={real} uid={os.geteuid()}")
    file_system = _file_system(real)
    if file_system in NETWORK_FILE_SYSTEMS:
        raise StorePathError(f"a store needs a local file system: path={real} file_system={file_system}")
    euid = os.geteuid()
    owner = (facts.st_uid, facts.st_gid) if euid == 0 and facts.st_uid != 0 else None
    # A directory that everybody may read is more often an accident of the umask than a wish: its files stay private.
    file_mode = 0o600 if facts.st_mode & stat.S_IRWXO else 0o600 | facts.st_mode & 0o060
    return Directory(real, file_system, file_system not in VOLATILE_FILE_SYSTEMS, owner, file_mode, read_only)


def _make(path: str) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    except OSError as error:
        raise StorePathError(
            f"the store directory can not be made: path={path} reason={error.strerror}; its parent must exist"
        ) from error
    # Durability: the new name must not vanish with a power cut after the store's own files were synced.
    parent = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _refuse_insecure(path: str, facts: os.stat_result, *, read_only: bool) -> None:
    euid = os.geteuid()
    shared = facts.st_mode & stat.S_IWGRP and not facts.st_mode & stat.S_IRWXO
    if facts.st_uid not in (euid, 0) and euid != 0 and not shared and not read_only:
        raise StorePathError(
            f"the store directory belongs to another user: path={path} owner={facts.st_uid} uid={euid}"
        )
    if facts.st_mode & stat.S_IWOTH:
        raise StorePathError(
            f"the store directory is writable by everybody: path={path} mode={facts.st_mode & 0o777:o}"
        )


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
