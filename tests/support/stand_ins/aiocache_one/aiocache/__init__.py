"""The part of aiocache's unreleased 1.0 line that a backend meets, written from its contract for the tests of ours.

What did not change (serializers, plugins, locks) is taken from the installed 0.12. There are no URLs, aliases or factories.
"""

from __future__ import annotations

import sys
from pathlib import Path

__version__ = "1.0.0a0"
_here = Path(__file__).parent
__path__ = [str(_here)]
__path__ += [
    str(Path(entry) / "aiocache")
    for entry in sys.path
    if (Path(entry) / "aiocache" / "serializers").is_dir() and Path(entry) / "aiocache" != _here
][:1]

from .decorators import cached, cached_stampede, multi_cached  # noqa: E402

__all__ = ["cached", "cached_stampede", "multi_cached"]
