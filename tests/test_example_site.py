"""The example site under a real server, over real HTTP, killed with SIGKILL and started again."""

from __future__ import annotations

import http.cookiejar
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SITE = ROOT / "example_project"
SMALL = "15000"  # towns of 15,000 people and more: enough to test with, and loaded in two seconds


class Site:
    """A server process on a free loopback port, and one visitor with cookies."""

    def __init__(self, var: Path) -> None:
        self.environment = {**os.environ, "ATLAS_VAR": str(var), "PYTHONPATH": f"{ROOT}{os.pathsep}{SITE}"}
        self.port = _free_port()
        self.server: subprocess.Popen[bytes] | None = None
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.visitor = urllib.request.build_opener(cookies)

    def manage(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=SITE, env=self.environment, check=True, timeout=120
        )

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "atlas.asgi:application", "--port", str(self.port)]
        self.server = subprocess.Popen([*command, "--log-level", "warning"], cwd=SITE, env=self.environment)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self.server.poll() is None, "the server ended"
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        assert self.server is not None
        self.server.send_signal(signal.SIGKILL)
        self.server.wait(10)

    def get(self, path: str) -> tuple[str, str]:
        """The page, and where it said that it came from."""
        with self.visitor.open(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
            return response.read().decode(), response.headers["X-Served-From"].split(";")[0]

    def post(self, path: str, page: str) -> str:
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": token[1]}).encode()
        with self.visitor.open(f"http://127.0.0.1:{self.port}{path}", data, timeout=30) as response:
            return response.read().decode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def visits(page: str) -> int:
    found = re.search(r"visit ([\d,]+) of this page", page)
    assert found is not None
    return int(found[1].replace(",", ""))


@pytest.mark.slow
def test_cache_session_and_counters_survive_kill_9(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.manage("migrate", "--verbosity", "0")
    site.manage("load_places", "--smallest", SMALL)
    site.start()
    try:
        pages = ["/", "/country/fr/", "/town/2988507/", "/search/?q=spring", "/zones/"]
        assert [site.get(path)[1] for path in pages] == ["database"] * 5
        assert [site.get(path)[1] for path in pages] == ["cache"] * 5
        page, _ = site.get("/town/2988507/")
        assert "Paris" in page
        assert visits(page) == 3
        assert "Remove from favourites" in site.post("/town/2988507/favourite/", page)
        assert "Paris" in site.get("/favourites/")[0]

        site.kill()
        site.start()
        assert "Paris" in site.get("/favourites/")[0]
        assert [site.get(path)[1] for path in pages] == ["cache"] * 5
        assert visits(site.get("/town/2988507/")[0]) == 6
        assert visits(site.get("/")[0]) == 4

        page, _ = site.get("/favourites/")
        site.post("/town/2988507/favourite/", page)
        assert "None yet" in site.get("/favourites/")[0]
        assert "sessions" in site.get("/store/")[0]
    finally:
        site.kill()


@pytest.mark.slow
def test_migrations_of_the_example_are_complete(tmp_path: Path) -> None:
    Site(tmp_path).manage("makemigrations", "--check", "--dry-run", "--verbosity", "0")
