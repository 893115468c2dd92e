"""Servers and task queues that open the store and then fork: real uWSGI, with and without its options, and Celery's prefork pool.

uWSGI forks by C code and, unless it is told otherwise, tells Python nothing of it and lets no thread run between two requests.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from ferrokv import BlockingFerroKV

from . import small_disks
from .site import ROOT
from .test_closing import announcements

pytest.importorskip("celery")
UWSGI = Path(sys.executable).with_name("uwsgi")
SECONDS_MAX = 120  # a loaded machine takes long to start
REQUESTS = 120

until = partial(small_disks.until, seconds=SECONDS_MAX)
needs_uwsgi = pytest.mark.skipif(
    not UWSGI.exists() and not os.environ.get("FERROKV_REQUIRE_UWSGI"), reason="uWSGI is not installed"
)


class Uwsgi:
    """A uWSGI master with two workers on a free port of loopback."""

    def __init__(self, store_path: Path, log: Path, options: list[str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = log
        command = [str(UWSGI), "--master", "--processes", "2", "--die-on-term", "--need-app", "--single-interpreter"]
        command += ["--http-socket", f"127.0.0.1:{self.port}", "--module", "tests.prefork.wsgi:application"]
        command += ["--virtualenv", sys.prefix, "--worker-reload-mercy", "60", "--http-timeout", "60", *options]
        environment = {**os.environ, "STORE": str(store_path), "PYTHONPATH": str(ROOT)}
        with log.open("wb") as output:
            self.master = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        until(self.answers)

    def answers(self) -> bool:
        """True once it does."""
        assert self.master.poll() is None, self.log.read_text()
        try:
            return bool(self.get("/opener"))
        except OSError:
            return False

    def get(self, path: str) -> str:
        """The body of a page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=SECONDS_MAX) as answer:
            return str(answer.read().decode())

    def workers(self) -> set[int]:
        """Pids of the children of the master."""
        with open(f"/proc/{self.master.pid}/task/{self.master.pid}/children") as file:
            return {int(pid) for pid in file.read().split()}

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.master.send_signal(signal.SIGTERM)
        return self.master.wait(SECONDS_MAX)


@contextmanager
def served(store_path: Path, tmp_path: Path, *options: str) -> Iterator[Uwsgi]:
    """A server, which is ended in any case."""
    server = Uwsgi(store_path, tmp_path / "uwsgi.log", list(options))
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.master.pid, signal.SIGKILL)
        server.master.wait(SECONDS_MAX)


def nothing_is_left(store_path: Path, visits: int, *ended: int) -> None:
    """The store is whole and has every visit. Only those who `ended` without Python's end have left an announcement."""
    left = {int((store_path / name).read_bytes().split()[0]) for name in announcements(store_path)}
    assert left <= set(ended)
    with BlockingFerroKV.open(store_path) as db:
        assert db.get("visits") == b"%d" % visits
        assert [db.exists(f"visit:{number}") for number in range(1, visits + 1)] == [1] * visits
        assert db.verify().ok
        assert db.get("a lock") is None
    assert announcements(store_path) == []


@needs_uwsgi
@pytest.mark.slow
@pytest.mark.parametrize("threads", [[], ["--enable-threads"]], ids=["no-threads", "enable-threads"])
@pytest.mark.parametrize("apps", [[], ["--lazy-apps"]], ids=["prefork", "lazy-apps"])
def test_uwsgi_counts_every_visit_once_and_stops_in_order(
    store_path: Path, tmp_path: Path, apps: list[str], threads: list[str]
) -> None:
    with served(store_path, tmp_path, *apps, *threads) as server:
        _, cached, worker = server.get("/opener").split()
        assert int(worker) in server.workers()
        assert (int(cached) == server.master.pid) == (not apps), "who opened the store"
        with ThreadPoolExecutor(6) as visitors:
            answers = list(visitors.map(lambda _: server.get("/").split(), range(REQUESTS)))
            assert sorted(int(number) for number, _ in answers) == list(range(1, REQUESTS + 1))
            # One worker waits for what the other one pushes.
            waiting = visitors.submit(server.get, "/wait")
            server.get("/push")
            assert waiting.result() == "(b'queue', b'x')"
            # A worker that is killed is replaced, and nobody waits for it.
            killed = int(answers[-1][1])
            os.kill(killed, signal.SIGKILL)
            until(lambda: killed not in server.workers() and len(server.workers()) == 2)
            answers = list(visitors.map(lambda _: server.get("/").split(), range(REQUESTS)))
            assert sorted(int(number) for number, _ in answers) == list(range(REQUESTS + 1, 2 * REQUESTS + 1))
        with BlockingFerroKV.open(store_path, read_only=True) as db:
            assert db.stats().levels[0].tables < 12
        assert server.stop() == 0, server.log.read_text()
    log = server.log.read_text()
    assert "Traceback" not in log
    died = [line for line in log.splitlines() if "DAMN" in line]
    assert [f"(pid: {killed}) died, killed by signal 9" in line for line in died] == [True]
    nothing_is_left(store_path, 2 * REQUESTS, killed, server.master.pid)  # the master ends without Python


@needs_uwsgi
@pytest.mark.slow
def test_uwsgi_reloads(store_path: Path, tmp_path: Path) -> None:
    """The master execs itself, with the store open, and loads the application anew."""
    with served(store_path, tmp_path) as server:
        for number in range(1, 31):
            assert int(server.get("/").split()[0]) == number
        before = server.workers()
        server.master.send_signal(signal.SIGHUP)
        until(lambda: bool(server.workers()) and not server.workers() & before)
        until(server.answers)
        for number in range(31, 61):
            assert int(server.get("/").split()[0]) == number
        assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()
    nothing_is_left(store_path, 60, server.master.pid)


@pytest.mark.slow
def test_celerys_prefork_pool_counts_every_task_once(store_path: Path, tmp_path: Path) -> None:
    """Children come and go after five tasks each, and the warm shutdown leaves nothing."""
    broker = tmp_path / "broker"
    (broker / "control").mkdir(parents=True)
    environment = {**os.environ, "STORE": str(store_path), "BROKER": str(broker), "PYTHONPATH": str(ROOT)}
    log = tmp_path / "celery.log"
    command = [sys.executable, "-m", "celery", "--app", "tests.prefork.tasks", "worker", "--pool", "prefork"]
    command += ["--concurrency", "2", "--max-tasks-per-child", "5", "--without-gossip", "--without-mingle"]
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [*command, "--loglevel", "warning"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until(lambda: worker.poll() is not None or (store_path / "CURRENT").exists())
        assert worker.poll() is None, log.read_text()
        send = "from tests.prefork.tasks import count\nfor i in range(40): count.delay(i)"
        subprocess.run([sys.executable, "-c", send], cwd=ROOT, env=environment, check=True, timeout=SECONDS_MAX)
        with BlockingFerroKV.open(store_path) as db:
            until(lambda: db.llen("done") == 40)
            assert db.get("counted") == b"40"
            assert db.smembers("numbers") == {b"%d" % i for i in range(40)}
            children = {int(pid) for pid in db.smembers("processes")}
            assert len(children) >= 8
            assert worker.pid not in children
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(SECONDS_MAX) == 0, log.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(SECONDS_MAX)
        shutil.rmtree(broker, ignore_errors=True)
    assert "Traceback" not in log.read_text()
    with BlockingFerroKV.open(store_path) as db:
        assert db.verify().ok
        assert [db.exists(f"task:{number}") for number in range(40)] == [1] * 40
    # The pool's children end by `os._exit`, without a word. Whoever opens the store next cleans up behind them.
    assert announcements(store_path) == []
