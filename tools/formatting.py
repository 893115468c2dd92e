"""Formats what the generators write, as `make lint` demands it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).parent.parent
# Sort imports, remove those that are not used, and write a loop that only yields as `yield from`.
FIXES: Final = ("check", "--quiet", "--fix", "--unsafe-fixes", "--select", "I,F401,UP028", "--config")


def formatted(texts: Mapping[Path, str]) -> dict[Path, str]:
    """The text of each file as ruff fixes and formats it."""
    with TemporaryDirectory() as folder:
        copies = {path: Path(folder) / path.relative_to(ROOT) for path in texts}
        for path, copy in copies.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(texts[path], encoding="utf-8")
        config = str(ROOT / "pyproject.toml")
        for step in ((*FIXES, config), ("format", "--quiet", "--config", config)):
            subprocess.run([sys.executable, "-m", "ruff", *step, folder], check=True)
        return {path: copy.read_text(encoding="utf-8") for path, copy in copies.items()}
