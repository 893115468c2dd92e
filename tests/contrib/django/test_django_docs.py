"""docs/django.md names what there is, and its code runs."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import override_settings

from ferrokv.contrib.django.base import OWN_OPTIONS
from ferrokv.contrib.django.sessions import SessionStore, user_session_keys

from ...conftest import ROOT
from ...support.django_setup import configured

PAGE = (ROOT / "docs" / "django.md").read_text()
DJANGO = ROOT / "ferrokv" / "contrib" / "django"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_every_option_is_described() -> None:
    table = PAGE[PAGE.index("| option |") : PAGE.index("Sessions live in")]
    assert set(re.findall(r"`([A-Z_]{5,})`", table)) >= OWN_OPTIONS


def test_every_check_is_described() -> None:
    source = (DJANGO / "checks.py").read_text()
    assert set(re.findall(r"^\| `(ferrokv\.[EW]\d+)`", PAGE, re.MULTILINE)) == set(
        re.findall(r'"(ferrokv\.[EW]\d+)"', source)
    )


def test_every_command_is_described() -> None:
    commands = {path.stem for path in (DJANGO / "management" / "commands").glob("ferrokv_*.py")}
    assert set(re.findall(r"^\| `(ferrokv_\w+)", PAGE, re.MULTILINE)) == commands


def test_the_settings_and_the_block_run(store_path: Path) -> None:
    with configured(store_path) as cache:
        settings: dict[str, object] = {"BASE_DIR": store_path.parent}
        exec(BLOCKS[0], settings)
        assert set(settings) >= {"CACHES", "SESSION_ENGINE"}
        rows = {"a": 1}
        tags = next(block for block in BLOCKS if "delete_tag" in block)
        exec(tags, {"cache": cache, "html": "<p>", "rows": rows})
        assert cache.get("user:5:page") is None
        assert cache.get("a") == 1
        exec(next(block for block in BLOCKS if "stale_ttl=3600" in block), {"cache": cache, "compute": lambda: 5})
        assert cache.get("report") == 5
        cache.set("visits", 0)
        exec(next(block for block in BLOCKS if "with cache.pipelined()" in block), {"cache": cache})
        assert cache.get("visits") == 1


def test_sessions_of_another_engine_are_taken_over(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.contrib.sessions.backends.db import SessionStore as Old

    call_command("migrate", verbosity=0)
    module = types.ModuleType("myproject_sessions")
    exec(next(block for block in BLOCKS if "as Old" in block), vars(module))
    monkeypatch.setitem(sys.modules, "myproject_sessions", module)
    old = Old()
    old["_auth_user_id"] = "5"
    old.save()
    with configured(store_path), override_settings(SESSION_ENGINE="myproject_sessions"):
        taken = module.SessionStore(old.session_key)
        assert taken["_auth_user_id"] == "5"
        assert not Old().exists(old.session_key)
        assert SessionStore(old.session_key)["_auth_user_id"] == "5"
        assert user_session_keys(5) == [old.session_key]
        made_up = module.SessionStore("made-up-by-somebody")
        assert made_up.load() == {}
        assert made_up.session_key is None
