"""What is raised for a system call that fails while a store is opened."""

from __future__ import annotations

from ...errors import FerroKVError, StoreBusy, StoreFull, StorePathError
from ..engine.engine import NO_DESCRIPTORS, NO_SPACE
from ..storage.directory import Directory


def opening_error(directory: Directory, error: OSError) -> FerroKVError:
    """Return the error of ours for an OSError."""
    if error.errno in NO_SPACE:
        return StoreFull(f"no space to open the store: path={directory.path} reason={error.strerror}")
    if error.errno in NO_DESCRIPTORS:
        return StoreBusy(f"no free file descriptor to open the store: path={directory.path} reason={error.strerror}")
    return StorePathError(
        f"the store cannot be opened: path={directory.path} file={error.filename} reason={error.strerror}"
    )
