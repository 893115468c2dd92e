"""The example's services as processes, over real HTTP."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ..support.site import SMALL, Site

FASTAPI = "uvicorn services.fastapi_service:app --workers 4 --port PORT --log-level warning"
AIOHTTP = "aiohttp.web -H 127.0.0.1 -P PORT services.aiohttp_service:make_app"
PARIS, LYON = 2988507, 2996944


class Client:
    """Requests to a service, each on a connection of its own, so that any worker may answer."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def ask(self, path: str, method: str = "GET") -> Any:
        url = f"http://127.0.0.1:{self._site.port}{path}"
        request = urllib.request.Request(url, method=method, headers={"Connection": "close"})
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def ask_all(self, paths: list[str], method: str = "GET") -> list[Any]:
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(lambda path: self.ask(path, method), paths))


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], tuple[Site, Client]]]:
    """Start a service on a database with the larger towns."""
    started: list[Site] = []

    def start(command: str) -> tuple[Site, Client]:
        site = Site(tmp_path, command)
        site.manage("migrate", "--verbosity", "0")
        site.manage("load_places", "--smallest", SMALL)
        started.append(site)
        site.start()
        return site, Client(site)

    yield start
    for site in started:
        site.kill()


@pytest.mark.slow
def test_fastapi_under_four_workers(serve: Callable[[str], tuple[Site, Client]]) -> None:
    site, client = serve(FASTAPI)
    found = client.ask_all(["/zones"] * 64)
    deadline = time.monotonic() + 60
    while len({answer["answered_by"] for answer in found}) < 2 and time.monotonic() < deadline:
        found += client.ask_all(["/zones"] * 64)  # the first worker listens before the others do
    assert len({answer["answered_by"] for answer in found}) > 1
    assert len({answer["computed_at"] for answer in found}) == 1, "one worker computed it, once"
    assert found[0]["zones"][0]["zone"] == "Asia/Shanghai"

    assert {len(answer) for answer in client.ask_all(["/countries"] * 20)} == {252}
    pages = client.ask_all(["/countries/fr"] * 100)
    assert sorted(page["visits"] for page in pages) == list(range(1, 101)), "every visit is counted, once"
    assert pages[0]["country"]["largest"][0] == {
        "id": PARIS,
        "name": "Paris",
        "people": pages[0]["country"]["largest"][0]["people"],
    }

    assert client.ask_all([f"/towns/{PARIS}"] * 20) == [client.ask(f"/towns/{PARIS}")] * 20
    assert client.ask(f"/towns/{LYON}/people/30000000", "PUT") == {"changed": True}
    assert {answer["people"] for answer in client.ask_all([f"/towns/{LYON}"] * 20)} == {30_000_000}
    pages = client.ask_all(["/countries/fr"] * 20)
    assert {page["country"]["largest"][0]["name"] for page in pages} == {"Lyon"}
    for path in ("/towns/1", "/countries/xx"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            client.ask(path)

    site.kill()
    site.start()
    assert client.ask("/zones")["computed_at"] == found[0]["computed_at"], "what was cached outlives kill -9"
    assert client.ask("/countries/fr")["visits"] == 121


@pytest.mark.slow
def test_aiohttp(serve: Callable[[str], tuple[Site, Client]]) -> None:
    site, client = serve(AIOHTTP)
    zones = client.ask("/zones")
    assert zones[0]["zone"] == "Asia/Shanghai"
    found = client.ask(f"/towns?ids={PARIS},{LYON}")
    assert found[str(PARIS)]["name"] == "Paris"
    assert client.ask(f"/towns?ids={LYON},1") == {str(LYON): found[str(LYON)]}
    client.ask_all([f"/lists/trip/{number}" for number in range(40)], "POST")
    assert sorted(client.ask("/lists/trip")) == list(range(40)), "no addition is lost"
    site.kill()
    site.start()
    assert client.ask("/zones") == zones
    assert sorted(client.ask("/lists/trip")) == list(range(40))
