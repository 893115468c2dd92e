"""`python -m tests.mutants [WORD …]`."""

from __future__ import annotations

from .core import main

main()
