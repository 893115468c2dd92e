"""The example site under a real server, over real HTTP, killed with SIGKILL and started again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..support.site import SMALL, Site, Visitor, visits


@pytest.mark.slow
def test_cache_session_and_counters_survive_kill_9(tmp_path: Path) -> None:
    site = Site(tmp_path)
    visitor = Visitor(site.port)
    site.manage("migrate", "--verbosity", "0")
    site.manage("load_places", "--smallest", SMALL)
    site.start()
    try:
        pages = ["/", "/country/fr/", "/town/2988507/", "/search/?q=spring", "/zones/"]
        assert [visitor.get(path)[1] for path in pages] == ["database"] * 5
        assert [visitor.get(path)[1] for path in pages] == ["cache"] * 5
        page, _ = visitor.get("/town/2988507/")
        assert "Paris" in page
        assert visits(page) == 3
        assert "Remove from favourites" in visitor.post("/town/2988507/favourite/", page)
        assert "Paris" in visitor.get("/favourites/")[0]

        site.kill()
        site.start()
        assert "Paris" in visitor.get("/favourites/")[0]
        assert [visitor.get(path)[1] for path in pages] == ["cache"] * 5
        assert visits(visitor.get("/town/2988507/")[0]) == 6
        assert visits(visitor.get("/")[0]) == 4

        assert visitor.get("/about/")[0] == Visitor(site.port).get("/about/")[0], "one page for everybody, for a minute"
        near, _ = visitor.get("/town/2988507/near.json")
        assert near == visitor.get("/town/2988507/near.json")[0]
        assert len(json.loads(near)["near"]) == 8

        visitor.sign_up("ada")
        assert "Paris" in visitor.get("/favourites/")[0], "logging in keeps what was in the session"
        page, _ = visitor.get("/town/2988507/edit/")
        assert "Lutetia" in visitor.post("/town/2988507/edit/", page, name="Lutetia", population=9_000_000)
        found = {path: visitor.get(path) for path in pages}
        assert [found[path][1] for path in pages] == ["database", "database", "cache", "database", "cache"]
        assert "Lutetia" in found["/country/fr/"][0], "the fragment of the template was forgotten, too"
        assert [visitor.get(path)[1] for path in pages] == ["cache"] * 5

        others = [Visitor(site.port) for _ in range(3)]
        for other in others:
            other.sign_in("ada")
        page, _ = visitor.get("/account/")
        assert "on 4 devices" in page
        assert "3 other sessions ended" in visitor.post("/account/sign-out-everywhere/", page)
        assert [other.is_signed_in for other in others] == [False] * 3
        assert visitor.is_signed_in

        page, _ = visitor.get("/favourites/")
        visitor.post("/town/2988507/favourite/", page)
        assert "None yet" in visitor.get("/favourites/")[0]
        assert "sessions" in visitor.get("/store/")[0]
    finally:
        site.kill()


@pytest.mark.slow
def test_migrations_of_the_example_are_complete(tmp_path: Path) -> None:
    Site(tmp_path).manage("makemigrations", "--check", "--dry-run", "--verbosity", "0")
