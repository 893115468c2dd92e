"""Background work: flushes, compactions and eviction, on one thread and in small steps.

One process at a time does it for all, under the compact lock, and releases the lock when nothing is
due; the others see the result through the VERSION word. Each round removes unused files, runs jobs
that callers submitted, then flushes and compacts step by step. A flush goes first, even in the
middle of a compaction. Where no thread can run, callers do it in `help`.

A thread that merges without a break raises the 99th percentile of a cached read from 10 µs to 5 ms
(the GIL's switch interval); a nap of 1 ms after each page brings it back. The further compaction is
behind, the less it yields: only every few pages, and when writers are nearly stopped, never.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Final

from ...errors import FerroKVError, StoreBusy, StoreClosed, StoreFull
from ..compaction.compaction import compact_once, compaction_due, sweep_everything
from ..compaction.dead_generations import drop_expired, take_expired_roots
from ..compaction.flush import flush, flush_due
from ..compaction.holder import begin_compacting, end_compacting
from ..engine.engine import Engine, logger, named
from ..engine.removal import remove_waiting
from ..engine.space import rebuild
from ..log.replica import catch_up, refresh
from ..opening.same_directory import LOOK_SECONDS
from ..storage.drivers import complete
from ..upkeep.quotas import count_written, quota_due, tables_changed
from .brake import NEARLY_STOPPED, pressure
from .directory_watch import Lookout
from .room import RoomMaker
from .waiters import Stopping, WriterRequest, deliver, fail_all

NAP_SECONDS: Final = 0.001
RETRY_SECONDS: Final = 1.0
ELSEWHERE_SECONDS: Final = 0.05  # how soon to check whether another process did the work
TICK_SECONDS: Final = 10.0  # how soon an idle process releases replaced tables
JOBS_MAX: Final = 1024
SLICE_SECONDS: Final = 0.1  # initial slice of a caller's time
PAGES_EACH_YIELD: Final = 4  # about a millisecond of work


# Lets threads run that wait for the GIL. `time.sleep(0)` waits for a kernel timer (50 µs) instead.
yield_interpreter: Final[Callable[[], object]] = getattr(os, "sched_yield", partial(time.sleep, 0))


class Background:
    """Flushes sealed memtables and compacts levels that are full. `submit` requests either."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._wake = threading.Event()
        self._stopping = False
        self._jobs: deque[WriterRequest] = deque()
        self._waits = False  # waiting for room was logged once; owner: the thread
        self.lookout = Lookout(engine)
        self._has_thread = False  # if False, callers help
        # Held to flush or compact: the compact lock excludes processes, not threads.
        self._turn = threading.RLock()  # re-entrant only so that its owner can be identified
        self._is_mine: Callable[[], bool] = self._turn._is_owned  # type: ignore[attr-defined]
        self._slice_seconds = SLICE_SECONDS
        self._slice_end = 0.0
        self._gate = threading.RLock()
        self._pages = 0  # pages flushed and merged; owner: the thread
        self._flushed: Callable[[], None] = lambda: None
        self._write: Callable[[WriterRequest], None] = lambda request: None
        self._thread = threading.Thread(target=self._run, name="ferrokv-background", daemon=True)

    def start(
        self,
        flushed: Callable[[], None],
        write: Callable[[WriterRequest], None],
        write_first: Callable[[WriterRequest], None],
        given_up: Callable[[], None],
        *,
        threads: bool = True,
    ) -> None:
        """Start. `flushed` is called after each flush; `write` queues a write, `write_first` ahead.

        `given_up` shuts the store down. Without `threads`, work happens only in `help` and
        `submit`.
        """
        self._flushed = flushed
        self._room = RoomMaker(
            self._engine, write_first, self._flush, self._flush_first, self._pause_compaction, self._pause_job
        )
        self.lookout.given_up = given_up
        self._write = write
        self._engine.rotated = self._engine.ran_short = self._wake.set
        self._wake.set()
        self._has_thread = threads
        if threads:
            self._thread.start()

    def wake(self) -> None:
        """Say that there may be work. Any thread."""
        self._wake.set()

    def submit(self, request: WriterRequest) -> None:
        """Queue a job: `args` is ("flush",) or ("compact",). Any thread; `StoreBusy` on re-entry."""
        if self._is_mine():
            raise StoreBusy("a signal handler or destructor cannot flush while its own thread flushes")
        with self._gate:
            if self._stopping:
                raise StoreClosed("the store is closing; open it again")
            if len(self._jobs) >= JOBS_MAX:
                raise StoreBusy(f"too many flushes and compactions are waiting: limit={JOBS_MAX}")
            self._jobs.append(request)
        self._wake.set()
        if not self._has_thread:
            with self._turn:
                if not self._stopping:
                    self._round(idle=False)

    @property
    def mine(self) -> bool:
        """True while the calling thread flushes or compacts."""
        return self._is_mine()

    @property
    def thread(self) -> threading.Thread:
        """The background thread."""
        return self._thread

    def stop(self) -> None:
        """Abandon current work, fail queued jobs, end the thread. Blocks for at most one slice."""
        with self._gate:
            self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        with self._turn:  # also wait for a caller that helps
            late = list(self._jobs)
            self._jobs.clear()
        fail_all(late, StoreClosed("the store was closed before the job was done"))
        deliver(late)

    def go_without_thread(self) -> None:
        """Abandon current work, end the thread, have callers help. Blocks for one slice at most."""
        self.stop()
        with self._gate:
            self._has_thread = self._stopping = False

    def help(self) -> None:
        """Without a thread: do a slice of a compaction, or one flush, in the caller's thread.

        Holds nothing on return. Work that exceeds its slice restarts later with a longer one.
        """
        if self._has_thread or self._stopping or not (self._wake.is_set() or self.lookout.is_due):
            return
        if self._is_mine():
            return
        try:
            # Order: check `_stopping` under the turn: a stop sets it first, then waits for the
            # turn.
            if self._turn.acquire(blocking=False) and not self._stopping:
                self.lookout.check(stopping=self._stopping)
                self._slice_end = time.monotonic() + self._slice_seconds
                self._round(idle=False)
        finally:
            if self._is_mine():  # asked, since a signal can arrive right after it was taken
                self._slice_end = 0.0
                self._turn.release()

    def exclusively(self, work: Callable[[], None]) -> None:
        """Call `work()` while no other thread of this process flushes or compacts."""
        with self._turn:
            work()

    def _run(self) -> None:
        wait: float | None = TICK_SECONDS
        while wait is not None:
            idle = not self._wait(wait)
            with self._turn:
                wait = None if self._stopping else self._round(idle=idle)

    def _round(self, *, idle: bool) -> float | None:
        """Do what is due. Returns seconds to wait; None if the store closes or a slice is over."""
        self._wake.clear()
        try:
            wait = ELSEWHERE_SECONDS if self._work(idle=idle) else TICK_SECONDS
            self._waits = False
            return min(wait, RETRY_SECONDS) if self._engine.is_short else wait
        except Stopping:
            return None
        except (StoreFull, StoreBusy) as error:
            # Warn once: a disk may stay full for days. Log only text: the error's frames hold
            # files.
            logger.log(logging.DEBUG if self._waits else logging.WARNING, "background work is waiting: %s", str(error))
            self._waits = True
            return RETRY_SECONDS
        except FerroKVError as error:
            logger.error("background work stopped: %s", str(error))
            return RETRY_SECONDS if self._engine.failure is None else TICK_SECONDS
        except Exception:  # noqa: BLE001 - the thread must survive, or writers would wait forever
            logger.exception("unexpected error in background work")
            return RETRY_SECONDS
        finally:
            self._flushed()

    def _wait(self, seconds: float) -> bool:
        """Wait, checking the directory every second. True as soon as there may be work."""
        end = time.monotonic() + seconds
        while True:
            rest = end - time.monotonic()
            if self._wake.wait(max(0.0, min(rest, LOOK_SECONDS))):
                self.lookout.check(stopping=self._stopping)
                return True
            self.lookout.check(stopping=self._stopping)
            if rest <= LOOK_SECONDS:
                return False

    def _work(self, *, idle: bool) -> bool:
        """Do what is due. True if another process is at it, so that its result is checked soon."""
        engine = self._engine
        complete(refresh(engine), engine.storage)
        complete(remove_waiting(engine), engine.storage)
        while self._jobs:
            self._do_job(self._jobs.popleft())
        if engine.storage.read_only or not self._due(idle=idle):
            return False
        room_to_seal = len(engine.view.sealed) < engine.options.sealed_memtables_max
        if engine.is_short and engine.view.active.entries and room_to_seal:
            self._tell(WriterRequest(None, "", ()))  # deleting frees no space until it is flushed
        try:
            if not complete(begin_compacting(engine, 0), engine.storage):
                return True
            self._room.flush_early(idle=idle)
            while not self._stopping and not self._jobs and self._step():
                self._flushed()
            end_compacting(engine)
        except (Stopping, StoreFull):
            # The unfinished output is removed and nothing is in doubt, except perhaps the manifest.
            # The next holder continues the merge under way.
            end_compacting(engine)
            raise
        finally:
            engine.unlock_compact()
        self._drop_expired()
        if self._jobs:
            self._wake.set()
        # Once nobody writes any more, data that is only in memory counts towards quotas too.
        return not idle and quota_due(engine, idle=True)

    def _drop_expired(self) -> None:
        """Have the writer delete long-expired collections, so that their elements can go."""
        for keyspace, keys in take_expired_roots(self._engine).items():
            self._tell(WriterRequest(drop_expired, keyspace, (keys,)))

    def _tell(self, request: WriterRequest) -> None:
        """Queue a write that nobody waits for. If it fails, it will be found due again."""
        try:
            self._write(request)
        except FerroKVError as error:
            logger.info("postponing a write to the next round: %s", str(error))

    def _due(self, *, idle: bool) -> bool:
        engine = self._engine
        if engine.failure is not None:
            return False
        engine_is_due = flush_due(engine) or quota_due(engine, idle=idle) or tables_changed(engine)
        return engine.is_short or engine_is_due or compaction_due(engine)

    def _step(self) -> bool:
        """Do one flush or compaction if any is due."""
        engine = self._engine
        if engine.failure is not None:
            return False
        # Order: rebuild the reserve first, from the space that the last step freed.
        if engine.is_short:
            complete(rebuild(engine), engine.storage)
        if flush_due(engine):
            try:
                self._flush()
            except StoreFull:
                # Dropping the tables of a cleared keyspace needs no space.
                if not complete(compact_once(engine), engine.storage, self._pause_compaction):
                    raise
            return True
        if self._room.make_room():
            return True
        done = complete(compact_once(self._engine), self._engine.storage, self._pause_compaction)
        self._slice_seconds = SLICE_SECONDS
        return done

    def _flush(self) -> None:
        sealed = self._engine.view.sealed
        # A flush is short, and always runs to its end, even in a caller's slice.
        slice_end, self._slice_end = self._slice_end, 0.0
        try:
            complete(flush(self._engine), self._engine.storage, self._nap)
            if self._engine.is_short:
                complete(rebuild(self._engine), self._engine.storage)  # before writers are told
            complete(count_written(self._engine, sealed), self._engine.storage, self._nap)
        finally:
            self._slice_end = slice_end
        self._flushed()

    def _do_job(self, request: WriterRequest) -> None:
        try:
            self._carry_out(request)
        except Stopping:
            fail_all([request], StoreClosed("the store was closed before the job was done"))
            deliver([request])
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to the caller
            request.error = named(error, f"the {request.args[0]}") if isinstance(error, OSError) else error
        deliver([request])

    def _carry_out(self, request: WriterRequest) -> None:
        engine = self._engine
        timeout = engine.options.busy_timeout
        try:
            if not complete(begin_compacting(engine, timeout), engine.storage):
                pid = engine.compactor_pid
                raise StoreBusy(f"another process flushes or compacts: holder_pid={pid} busy_timeout={timeout:.3g}")
            complete(catch_up(engine), engine.storage)
            self._flush_all()
            if request.args == ("compact",):
                while complete(compact_once(engine, everything=True), engine.storage, self._pause_job):
                    self._check_stopping()
                complete(sweep_everything(engine), engine.storage, self._pause_job)
            end_compacting(engine)
        except (Stopping, StoreFull):
            end_compacting(engine)
            raise
        finally:
            engine.unlock_compact()
        self._drop_expired()
        if request.args == ("compact",) and engine.compactor.damaged:
            raise copy(next(iter(engine.compactor.damaged.values())))  # everything else is compacted
        request.answer = True

    def _flush_all(self) -> None:
        """Flush everything sealed so far. A full disk takes it piece by piece."""
        engine = self._engine
        end = engine.view.active.number
        while any(memtable.number < end for memtable in engine.view.sealed):
            complete(flush(engine), engine.storage, self._check_stopping)
            self._flushed()
            if engine.is_short:
                complete(rebuild(engine), engine.storage)

    def _check_stopping(self) -> None:
        """Between two pages: stop if the store is closing; every few pages, yield the GIL.

        A yield may cost 5 ms, since a thread that computes keeps the GIL that long. When writers
        are nearly stopped, the GIL's own switching has to do.
        """
        if self._stopping:
            raise Stopping
        if self._slice_end and time.monotonic() > self._slice_end:
            self._end_slice()
        self._pages += 1
        if not self._pages % PAGES_EACH_YIELD and pressure(self._engine) < NEARLY_STOPPED:
            yield_interpreter()

    def _pause_job(self) -> None:
        """Between two pages of a compaction that somebody waits for: as below, but without naps."""
        self._flush_first()
        self._check_stopping()

    def _pause_compaction(self) -> None:
        """Between two pages of a compaction: let flushes go first, then let other threads run."""
        self._flush_first()
        self._nap()

    def _flush_first(self) -> None:
        complete(catch_up(self._engine), self._engine.storage)  # perhaps nothing else here follows the WAL
        # On a full disk, a merge may be using the spare table; what the merge frees comes first.
        if self._engine.failure is None and not self._engine.is_short and flush_due(self._engine):
            self._flush()

    def _nap(self) -> None:
        """Between two pages: yield the GIL, unless writers or callers wait or soon will."""
        engine = self._engine
        self.lookout.check(stopping=self._stopping)
        pressed = len(engine.view.sealed) > 1 or pressure(engine) >= 0
        if pressed or self._jobs or not self._has_thread:
            self._check_stopping()
        elif self._stopping:
            raise Stopping
        else:
            time.sleep(NAP_SECONDS)

    def _end_slice(self) -> None:
        """End a caller's slice. Unfinished work starts over next time, with a longer slice."""
        self._slice_seconds *= 2
        self._wake.set()
        raise Stopping
