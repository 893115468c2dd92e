"""Makes the commands for threads and for pipelines from those for asyncio: `python -m tests.make_twins`.

What differs is only whether a method waits, and what it answers, so the text is the source: `blocking` is `aio` without `async`
and `await`; in `queued` methods answer Any, which is the pipeline or, once it watches keys, the answer itself.
A test makes them anew and compares, so nobody edits a twin by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

MODULES: Final = ("asking", "keys", "strings", "lists", "hashes", "sets", "sorted_sets")
FOR_THREADS: Final = ("scans", "locks", "deferred")  # a pipeline does not iterate, hold locks, or wait
HOME: Final = Path(__file__).parent.parent / "ferrokv" / "faces"
_MADE: Final = "# Made by `python -m tests.make_twins` from faces/aio/{module}.py; edit that.\n"
_SIGNATURE: Final = re.compile(r"(    def (?!_)\w+\((?:[^()]|\([^()]*\))*?\)) -> [^\n]+:\n")
_ANSWER_TYPES: Final = re.compile(r"^from \S+ import KeyspaceStats\n", re.MULTILINE)
_NAMES: Final = (
    ("__aenter__", "__enter__"),
    ("__aexit__", "__exit__"),
    ("import asyncio\n", ""),
    (".aperform(", ".perform("),
)
_ITERATOR: Final = re.compile(r"AsyncGenerator\[(.+), None\]")


def without_waiting(source: str) -> str:
    """The text without `async` and `await`."""
    return source.replace("async def ", "def ").replace("await ", "").replace("async for ", "for ")


def blocking(source: str) -> str:
    """The twin for threads."""
    source = _ITERATOR.sub(r"Iterator[\1]", source).replace("import AsyncGenerator", "import Iterator")
    for old, new in _NAMES:
        source = source.replace(old, new)
    source = source.replace("asyncio.sleep", "time.sleep")
    source = re.sub(r"\bAsync([A-Z]\w*)", r"Blocking\1", without_waiting(source))
    return re.sub(r"for (\w+) in (\w+):\n +yield \1\n", r"yield from \2\n", source)


def queued(source: str) -> str:
    """The twin for pipelines."""
    source = re.sub(r"\bAsync([A-Z]\w*)", r"Queued\1", without_waiting(source))
    source = _SIGNATURE.sub(r"\1 -> Any:\n", source)
    source = _ANSWER_TYPES.sub("", source)
    if "-> Any:" in source and not re.search(r"^from typing import .*\bAny\b", source, re.MULTILINE):
        gap = "\n\n" if "import annotations\n\nfrom ..." in source else "\n"
        source = source.replace("\n\nfrom ...", gap + "from typing import Any\n\nfrom ...", 1)
    return source


def made() -> dict[Path, str]:
    """The file of each twin, and what it has to say."""
    texts: dict[Path, str] = {}
    for kind, make, modules in (("blocking", blocking, (*MODULES, *FOR_THREADS)), ("queued", queued, MODULES)):
        for module in modules:
            source = (HOME / "aio" / f"{module}.py").read_text(encoding="utf-8")
            texts[HOME / kind / f"{module}.py"] = _MADE.format(module=module) + make(source)
    return texts


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
