"""The example site as a server process on a free loopback port, and its visitors."""

from __future__ import annotations

import contextlib
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

ROOT = Path(__file__).parent.parent.parent
SITE = ROOT / "example_project"
PASSWORD = "correct horse battery"
SMALL = "15000"  # towns of 15,000 people and more: enough to test with, and loaded in two seconds


class Visitor:
    """A client with cookies of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def get(self, path: str) -> tuple[str, str]:
        """The page, and where it said that it came from."""
        with self._opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
            return response.read().decode(), response.headers.get("X-Served-From", "").split(";")[0]

    def sign_up(self, name: str) -> None:
        """Make an account and be logged in."""
        page, _ = self.get("/account/new/")
        answer = self.post("/account/new/", page, username=name, password1=PASSWORD, password2=PASSWORD)
        assert name in answer

    def sign_in(self, name: str) -> None:
        """Log in."""
        page, _ = self.get("/account/sign-in/")
        assert "You are logged in on" in self.post("/account/sign-in/", page, username=name, password=PASSWORD)

    @property
    def is_signed_in(self) -> bool:
        """Whether the site knows who this is."""
        return "You are logged in on" in self.get("/account/")[0]

    def post(self, path: str, page: str, **fields: str | int) -> str:
        """The page that follows."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None
        data = urllib.parse.urlencode({"csrfmiddlewaretoken": token[1], **fields}).encode()
        with self._opener.open(f"http://127.0.0.1:{self.port}{path}", data, timeout=30) as response:
            return response.read().decode()


class Site:
    """A server. `command` follows `python -m`; PORT in it stands for the port."""

    def __init__(
        self, var: Path, command: str = "uvicorn atlas.asgi:application --port PORT --log-level warning"
    ) -> None:
        self.environment = {**os.environ, "ATLAS_VAR": str(var), "PYTHONPATH": f"{ROOT}{os.pathsep}{SITE}"}
        self.port = _free_port()
        self._command = command.replace("PORT", str(self.port)).split()
        self.server: subprocess.Popen[bytes] | None = None

    def manage(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=SITE, env=self.environment, check=True, timeout=120
        )

    def start(self) -> None:
        command = [sys.executable, "-m", *self._command]
        self.server = subprocess.Popen(command, cwd=SITE, env=self.environment, start_new_session=True)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.server.poll() is None, "the server ended"
            if self._is_listening():
                return
            time.sleep(0.05)
        raise AssertionError("the server did not start")

    def workers(self) -> list[int]:
        """Pids of the processes that serve."""
        assert self.server is not None
        with open(f"/proc/{self.server.pid}/task/{self.server.pid}/children") as file:
            children = [int(pid) for pid in file.read().split()]
        return [pid for pid in children if "resource_tracker" not in _command_line(pid)]

    def kill(self) -> None:
        """SIGKILL to the server and its workers."""
        assert self.server is not None
        # As one group, since a server may be replacing a worker in this moment.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait(60)
        deadline = time.monotonic() + 60
        while self._is_listening():  # on a socket of a worker that is just dying, whose connections are reset
            assert time.monotonic() < deadline, "a worker outlived its server"
            time.sleep(0.01)

    def _is_listening(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kill_worker(self, pid: int) -> None:
        """SIGKILL to one worker, which its server replaces."""
        _kill(pid)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _command_line(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def visits(page: str) -> int:
    """The counter on a page."""
    found = re.search(r"visit ([\d,]+) of this page", page)
    assert found is not None
    return int(found[1].replace(",", ""))
