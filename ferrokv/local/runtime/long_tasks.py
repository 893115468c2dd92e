"""Long tasks: verifications and backups, which read the whole store in steps.

A caller waits for its task, while other threads run between the steps. A blocking caller runs it in
its own thread, an asyncio caller in the store's pool (`async_tasks.py`). A task holds no lock of
the store, and ends early when the store is closed or the caller gives up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ...errors import DataError, StoreBusy, StoreClosed, StorePathError
from ...stats import BackupReport, VerifyReport
from ..storage.directory import Target, prepare_target, remove_target
from ..storage.drivers import complete
from ..storage.local import LocalStorage
from .background import NAP_SECONDS

if TYPE_CHECKING:
    from ...stats import Progress
    from .store import Store

# Modules that only tasks need are imported when one begins: few processes have any.

ERRANDS_MAX: Final = 2  # per store, so that threads of its pool stay free for asyncio reads


class LongTasks:
    """The running tasks of one store.

    No lock guards them, since a forked child might inherit it while its holder is gone.
    """

    def __init__(self) -> None:
        self._running: set[LongTask] = set()
        self._stopped = False

    def stop(self) -> None:
        """End all tasks at their next step, and accept no more."""
        self._stopped = True
        for task in list(self._running):
            task.stop(StoreClosed("the store was closed before the task was done"))

    @contextmanager
    def including(self, task: LongTask) -> Iterator[None]:
        """Count the task as running."""
        # Order: add the task before checking the flag, so that this or `stop` sees the other.
        self._running.add(task)
        try:
            if self._stopped:
                raise StoreClosed("the store is closing; open it again")
            if len(self._running) > ERRANDS_MAX:
                raise StoreBusy(f"too many verifications and backups are running: limit={ERRANDS_MAX}")
            yield
        finally:
            self._running.discard(task)


class LongTask:
    """One verification or backup. `stop` may be called from any thread."""

    def __init__(self, store: Store, progress: Progress | None) -> None:
        if progress is not None and not callable(progress):
            raise DataError(f"progress must be a function of two numbers, or None: found={progress!r}")
        store.attend()
        self._engine = store.engine
        self._directory = store.directory
        self._tasks = store.long_tasks
        self.progress = progress  # called from the task's thread
        self._pid = os.getpid()
        self.reason: Exception | None = None  # why the task has to end; set once

    def stop(self, reason: Exception) -> None:
        """Make the task raise `reason` at its next step."""
        self.reason = self.reason or reason

    def verify(self) -> VerifyReport:
        """Check the whole store. Blocks."""
        from ..upkeep.verify import verify

        with self._tasks.including(self):
            found = complete(verify(self._engine, self.progress), self._engine.storage, self._pause)
        return VerifyReport(*found)

    def back_up(self, path: str | os.PathLike[str]) -> BackupReport:
        """Write a copy of the store to `path`. Blocks."""
        from ..upkeep.backup import target_error

        with self._tasks.including(self):
            try:
                target = prepare_target(path, self._directory.path)
                storage = LocalStorage(target.directory)
            except StorePathError:
                raise
            except OSError as error:
                raise target_error(error) from error
            try:
                return self._write_copy(target, storage)
            finally:
                storage.close()

    def _write_copy(self, target: Target, storage: LocalStorage) -> BackupReport:
        from ..upkeep.backup import back_up, take_target

        take_target(storage)
        try:
            copy = complete(back_up(self._engine, storage, self.progress), self._engine.storage, self._pause)
        except BaseException:
            # Order: the lock is released with the storage, after this. In a forked child both are
            # the parent's.
            if self._is_own:
                remove_target(target)
            raise
        return BackupReport(target.directory.path, *copy)

    @property
    def _is_own(self) -> bool:
        """False in a child forked while the task was running."""
        return os.getpid() == self._pid

    def _pause(self) -> None:
        if not self._is_own:
            raise StoreClosed("the task was started by the parent process")
        if self.reason is not None:
            raise self.reason
        time.sleep(NAP_SECONDS)
