"""The queue that threads of a store wait at."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from ferrokv.local.runtime.mailbox import Mailbox


def test_items_come_out_in_the_order_in_which_they_went_in() -> None:
    box: Mailbox[int | None] = Mailbox()
    for item in (1, None, 3):
        box.put(item)
    assert len(box) == 3
    assert [box.get(), box.get_nowait(), box.get(timeout=0.0)] == [1, None, 3]
    assert len(box) == 0
    assert not box


def test_an_empty_mailbox_says_so_at_once_or_in_time() -> None:
    box: Mailbox[int] = Mailbox()
    with pytest.raises(Empty):
        box.get_nowait()
    with pytest.raises(Empty):
        box.get(timeout=0.01)
    box.put(1)
    box.get()
    with pytest.raises(Empty):  # its ring was never heard
        box.get(timeout=0.01)


@pytest.mark.parametrize("consumers", [1, 4])
def test_nothing_is_lost_between_many_threads(consumers: int) -> None:
    box: Mailbox[int | None] = Mailbox()
    taken: list[list[int]] = [[] for _ in range(consumers)]

    def consume(mine: list[int]) -> None:
        while (item := box.get()) is not None:
            mine.append(item)

    def produce(start: int) -> None:
        for i in range(start, start + 2000):
            box.put(i)
            if i % 64 == 0:
                time.sleep(0)

    threads = [threading.Thread(target=consume, args=(mine,)) for mine in taken]
    producers = [threading.Thread(target=produce, args=(i * 2000,)) for i in range(4)]
    for thread in threads + producers:
        thread.start()
    for thread in producers:
        thread.join()
    for _ in threads:
        box.put(None)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert sorted(item for mine in taken for item in mine) == list(range(8000))
    for start in range(0, 8000, 2000):
        for mine in taken:
            ours = [item for item in mine if start <= item < start + 2000]
            assert ours == sorted(ours)


def test_all_who_wait_are_woken_although_several_puts_rang_once() -> None:
    box: Mailbox[int] = Mailbox()
    taken: list[int] = []
    threads = [threading.Thread(target=lambda: taken.append(box.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for i in range(8):
        box.put(i)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert sorted(taken) == list(range(8))


def test_what_was_appended_is_announced_although_a_signal_handler_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    box: Mailbox[int] = Mailbox()

    class Interrupted(list[Any]):
        def append(self, item: Any) -> None:
            super().append(item)
            raise KeyboardInterrupt

        def popleft(self) -> Any:
            return self.pop(0)

    box._items = Interrupted()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        box.put(1)
    assert box._bell.acquire(blocking=False)
    assert box.get() == 1


def test_children_forked_by_c_code_do_not_meet_the_waiting_threads_of_their_parent(tmp_path: Path) -> None:
    """With `queue.SimpleQueue`, Python 3.13 crashed in most of these runs: each parent's store has a thread that waits."""
    program = """
import ctypes, os, signal, sys, threading, time
from ferrokv import BlockingFerroKV

fork = ctypes.PyDLL(None).fork
stores = [BlockingFerroKV.open(f"{sys.argv[1]}/{i}") for i in range(60)]
for store in stores:
    store.set("k", 1)
crashed = 0
for i in range(30):
    time.sleep(0.01)
    pid = fork()
    if pid == 0:
        signal.alarm(5)
        threads = [threading.Thread(target=stores[i].incr, args=("k",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    crashed += code not in (0, -signal.SIGALRM)  # it may hang for the interpreter's own sake
print(crashed)
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=280)
    assert done.stdout == "0\n", done.stderr[-4000:]
