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
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random

import pytest

from ferrokv import BlockingFerroKV

from ..contrib.test_site_processes import CUT_OFF
from ..engine.test_closing import announcements
from ..support import small_disks
from ..support.site import ROOT

UWSGI = Path(sys.executable).with_name("uwsgi")  # it is built for one Python
SECONDS_MAX = 120  # a loaded machine takes long to start
REQUESTS = 120
VISITORS = 6
KILLS = 3
VISITS_EACH_FLUSH = 40

until = partial(small_disks.until, seconds=SECONDS_MAX)
needs_uwsgi = pytest.mark.skipif(
    not UWSGI.exists() and not os.environ.get("FERROKV_REQUIRE_UWSGI"),
    reason='there is no uWSGI for this Python; with a C compiler: pip install -e ".[prefork]"',
)
every_threads = pytest.mark.parametrize("threads", [[], ["--enable-threads"]], ids=["no-threads", "enable-threads"])
every_apps = pytest.mark.parametrize("apps", [[], ["--lazy-apps"]], ids=["prefork", "lazy-apps"])


class Uwsgi:
    """A uWSGI master with two workers on a free port of loopback."""

    def __init__(self, store_path: Path, log: Path, options: list[str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = log
        command = [str(UWSGI), "--master", "--processes", "2", "--die-on-term", "--need-app", "--single-interpreter"]
        command += ["--http-socket", f"127.0.0.1:{self.port}", "--module", "tests.processes.prefork.wsgi:application"]
        command += ["--virtualenv", sys.prefix, "--worker-reload-mercy", "60", "--socket-timeout", "60"]
        command += ["--forkbomb-delay", "0", *options]
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

    def kill_worker(self, pid: int) -> None:
        """SIGKILL to one worker. Returns when it is replaced."""
        os.kill(pid, signal.SIGKILL)
        until(lambda: pid not in self.workers() and len(self.workers()) == 2)

    def reload(self) -> None:
        """SIGHUP. Returns when all workers are others."""
        before = self.workers()
        self.master.send_signal(signal.SIGHUP)
        until(lambda: not self.workers() & before and len(self.workers()) == 2)

    def stop(self) -> None:
        """SIGTERM. Returns when the server has ended in order, without a word about errors."""
        self.master.send_signal(signal.SIGTERM)
        assert self.master.wait(SECONDS_MAX) == 0, self.log.read_text()
        log = self.log.read_text()
        assert "Traceback" not in log, log
        assert "LOGGED" not in log, log

    def deaths(self) -> list[str]:
        """What the master said of workers that did not end by themselves."""
        return [line for line in self.log.read_text().splitlines() if "DAMN" in line]


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


class Visitors:
    """Threads that visit without a pause for as long as the block runs."""

    def __init__(self, server: Uwsgi) -> None:
        self.answers: list[tuple[int, int]] = []  # the number of a visit, and the pid of the worker
        self.cut_off: list[BaseException] = []  # visits that got no answer, and count once or not at all
        self._server = server
        self._ending = threading.Event()
        self._wrong: list[BaseException] = []
        self._threads = [threading.Thread(target=self._visit) for _ in range(VISITORS)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        for thread in self._threads:
            thread.join()

    def end(self) -> None:
        """Begin no more visits: from now on the server may be gone."""
        self._ending.set()

    def make_more(self) -> None:
        """Return when so many more visits were answered that a flush is among them, and by each worker one.

        A signal that comes before a worker has loaded its application is forgotten by uWSGI, or makes it give up.
        """
        wanted, workers = len(self.answers) + VISITS_EACH_FLUSH, self._server.workers()
        until(lambda: self._wrong != [] or (len(self.answers) >= wanted and self._answering() >= workers))
        assert self._wrong == []

    def _answering(self) -> set[int]:
        return {pid for _, pid in self.answers}

    @property
    def numbers(self) -> list[int]:
        """What they were told, each a number of its own."""
        assert self._wrong == []
        numbers = sorted(number for number, _ in self.answers)
        assert len(set(numbers)) == len(numbers)
        return numbers

    def _visit(self) -> None:
        while not self._ending.is_set():
            try:
                number, pid = self._server.get("/").split()
                self.answers.append((int(number), int(pid)))
            except urllib.error.HTTPError as error:
                self._wrong.append(error)
            except CUT_OFF as error:
                self.cut_off.append(error)


def left(store_path: Path) -> set[int]:
    """Pids of processes that have left an announcement."""
    return {int((store_path / name).read_bytes().split()[0]) for name in announcements(store_path)}


def check_whole(store_path: Path, numbers: list[int], cut_off: int = 0) -> None:
    """The store opens, has every visit, of those that were cut off any, and nothing else is left."""
    with BlockingFerroKV.open(store_path) as db:
        visits = int(db.get("visits") or 0)
        assert len(numbers) <= visits <= len(numbers) + cut_off
        assert all(db.mget(*(f"visit:{number}" for number in numbers)))
        assert db.verify().ok
        assert db.lock("a lock").acquire(blocking=False), "its last holder has ended"
    assert announcements(store_path) == []


@needs_uwsgi
@pytest.mark.slow
@every_threads
@every_apps
def test_uwsgi_counts_every_visit_once_and_leaves_nothing(
    store_path: Path, tmp_path: Path, apps: list[str], threads: list[str]
) -> None:
    with served(store_path, tmp_path, *apps, *threads) as server:
        opener, cache_opener, worker, *running = server.get("/opener").split()
        assert int(worker) in server.workers()
        assert ({int(opener), int(cache_opener)} == {server.master.pid}) == (not apps)
        assert ("ferrokv-background" in running) == bool(threads)
        with ThreadPoolExecutor(VISITORS) as visitors:
            answers = list(visitors.map(lambda _: server.get("/").split(), range(REQUESTS)))
            # One worker waits for what the other one pushes.
            waiting = visitors.submit(server.get, "/wait")
            server.get("/push")
            assert waiting.result() == "(b'queue', b'x')"
        numbers = sorted(int(number) for number, _ in answers)
        assert numbers == list(range(1, REQUESTS + 1))
        assert server.get("/counts") == f"{REQUESTS} {REQUESTS} {REQUESTS // 2}"
        with BlockingFerroKV.open(store_path, read_only=True) as db:
            tables = [level.tables for level in db.stats().levels]
            assert sum(tables[1:]) > 0, "none was merged"
            assert tables[0] < 12
        with BlockingFerroKV.open(store_path) as db:
            assert db.flush()
            assert db.compact(), "nobody holds a lock between requests"
        server.stop()
    assert server.deaths() == []
    assert left(store_path) <= {server.master.pid}, "the master ends without Python"
    check_whole(store_path, numbers)


@needs_uwsgi
@pytest.mark.slow
@every_threads
@every_apps
def test_uwsgi_loses_no_visit_when_workers_are_killed_and_at_a_reload_and_a_stop_under_load(
    store_path: Path, tmp_path: Path, apps: list[str], threads: list[str]
) -> None:
    """The reload has the master exec itself, with the store open, and load the application anew."""
    chance = Random(1)
    with served(store_path, tmp_path, *apps, *threads) as server, Visitors(server) as visitors:
        for _ in range(KILLS):
            visitors.make_more()
            server.kill_worker(chance.choice(sorted(server.workers())))
        visitors.make_more()
        server.reload()
        visitors.make_more()
        visitors.end()
        server.stop()
    assert all("killed by signal 9" in line for line in server.deaths())
    assert len(server.deaths()) == KILLS
    assert len(visitors.cut_off) <= KILLS + VISITORS, "only what was under way"
    check_whole(store_path, visitors.numbers, len(visitors.cut_off))


@pytest.mark.slow
def test_celerys_prefork_pool_counts_every_task_once(store_path: Path, tmp_path: Path) -> None:
    """Children come and go after five tasks each, and the warm shutdown leaves nothing."""
    broker = tmp_path / "broker"
    (broker / "control").mkdir(parents=True)
    environment = {**os.environ, "STORE": str(store_path), "BROKER": str(broker), "PYTHONPATH": str(ROOT)}
    # Before anybody receives: the broker may read a message that is only half written.
    send = (
        "from tests.processes.prefork.broker import app\n"
        "for i in range(40): app.send_task('tests.processes.prefork.tasks.count', [i])"
    )
    subprocess.run([sys.executable, "-c", send], cwd=ROOT, env=environment, check=True, timeout=SECONDS_MAX)
    log = tmp_path / "celery.log"
    command = [sys.executable, "-m", "celery", "--app", "tests.processes.prefork.tasks", "worker", "--pool", "prefork"]
    command += ["--concurrency", "2", "--max-tasks-per-child", "5", "--without-gossip", "--without-mingle"]
    command += ["--without-heartbeat", "--loglevel", "warning"]
    with log.open("wb") as output:
        worker = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        until(lambda: worker.poll() is not None or (store_path / "CURRENT").exists())
        assert worker.poll() is None, log.read_text()
        with BlockingFerroKV.open(store_path) as db:
            until(lambda: db.llen("done") == 40)
            assert db.get("counted") == b"40"
            assert db.smembers("numbers") == {b"%d" % i for i in range(40)}
            children = {int(pid) for pid in db.smembers("processes")}
            assert len(children) >= 8
            assert worker.pid not in children
            assert int(db.get("opened by") or 0) == worker.pid
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(SECONDS_MAX) == 0, log.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(SECONDS_MAX)
        shutil.rmtree(broker, ignore_errors=True)
    assert "Traceback" not in log.read_text()
    assert left(store_path) <= children, "they end by `os._exit`, without a word"
    with BlockingFerroKV.open(store_path) as db:
        assert sum(level.tables for level in db.stats().levels) > 0
        assert db.verify().ok
        assert [db.exists(f"task:{number}") for number in range(40)] == [1] * 40
    assert announcements(store_path) == [], "whoever opens the store next cleans up behind them"
