"""Formats what the generators write, as `make lint` demands it."""

from __future__ import annotations

import subprocess
import sys

STEPS = (("check", "--quiet", "--fix", "--select", "I,F401"), ("format",))


def formatted(text: str) -> str:
    """The text as ruff sorts its imports and formats it."""
    for step in STEPS:
        command = [sys.executable, "-m", "ruff", *step, "--stdin-filename", "ferrokv/contract/made.py", "-"]
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return text
