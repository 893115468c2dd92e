"""Makes what serves threads from what serves asyncio: `python -m tools.make_twins`.

The asyncio text is the source. A twin differs by these rules, in this order, and by nothing else:

1. The module's docstring stays as it is.
2. Of `if True:  # ASYNC` and its `else:`, a twin has what is under `else`, or nothing.
3. `async` and `await` go.
4. `Awaitable[X]`, `Opening[X]` and `AsyncGenerator[X, None]` become X, X and Iterator[X].
5. Names: `aio` becomes `blocking`, `Async…` becomes `Blocking…`, and so do the classes that have plain names for asyncio.
   In Django's adapter, whose asyncio methods begin with `a`, `aget` becomes `get` and `_a_store` becomes `_store`.
6. ruff removes the imports that are no longer used, and formats.

A test makes the twins anew and compares, so nobody edits one by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from .formatting import ROOT, formatted

PACKAGE: Final = ROOT / "ferrokv"
FACES: Final = PACKAGE / "local" / "faces"
DJANGO: Final = PACKAGE / "contrib" / "django"
_MADE: Final = "# Made by `python -m tools.make_twins` from {source}; edit that.\n"
_MADE_BY_ANOTHER: Final = re.compile(r"^# Made by .*\n")
_BRANCH: Final = re.compile(
    r"^(?P<indent> *)if True:  # ASYNC\n(?:(?P=indent)    .*\n|\n)+(?:(?P=indent)else:\n(?P<kept>(?:(?P=indent)    .*\n|\n)+))?",
    re.MULTILINE,
)
_WAITS: Final = re.compile(r"\basync (?=def|for|with)|\bawait ")
_WRAPPED: Final = re.compile(r"\b(?:Awaitable|Opening)\[((?:[^][]|\[[^][]*\])+)\]")
_GENERATOR: Final = re.compile(r"\bAsyncGenerator\[(.+), None\]")
_DUNDER: Final = re.compile(r"\b__a(enter|exit)__")
_NAMES: Final = re.compile(r"\bAsync([A-Z]\w*)")
_PLAIN: Final = re.compile(r"\b(FerroKV|Snapshot|Pipeline|Lock|DeferredCommands)\b")  # those of asyncio
_HANDLE: Final = re.compile(r"\.native\b")  # of a CacheLocation
_PRIVATE: Final = re.compile(r"\b_a_(?=[a-z])")
# What cannot be told from its form: the source's word, and the twin's.
_WORDS: Final = {"AsyncGenerator": "Iterator", "aperform": "perform", "aio": "blocking"}
# Django's own private methods with an asyncio twin, and our public ones with one in another module.
_DJANGO_OWN: Final = frozenset({"append", "settle", "get_expiry_age"})
_DJANGO_PRIVATE: Final = re.compile(r"\b_a(get_new_session_key|get_session)\b")


def kept_branch(found: re.Match[str]) -> str:
    """What is under `else`, a level less deep."""
    return re.sub(r"^    ", "", found["kept"] or "", flags=re.MULTILINE)


def blocking(source: str) -> str:
    """The twin for threads."""
    docstring, end = ("", 0) if not source.startswith('"""') else (source[: (end := source.index('"""', 3) + 3)], end)
    text = _WAITS.sub("", _BRANCH.sub(kept_branch, source[end:]))
    text = _HANDLE.sub(".blocking", text)
    text = _DUNDER.sub(r"__\1__", _GENERATOR.sub(r"Iterator[\1]", _WRAPPED.sub(r"\1", text)))
    for word, other in _WORDS.items():
        text = re.sub(rf"\b{word}\b", other, text)
    return docstring + _PLAIN.sub(r"Blocking\1", _NAMES.sub(r"Blocking\1", text))


def django_blocking(source: str) -> str:
    """The twin of a module of Django's adapter."""
    for name in django_methods():
        source = re.sub(rf"(\bdef |\bself\.|\bsuper\(\)\.|`|\bpipelined\.)a{name}\b", rf"\1{name}", source)
    return blocking(_DJANGO_PRIVATE.sub(r"_\1", _PRIVATE.sub("_", source)))


def django_methods() -> frozenset[str]:
    """The public asynchronous methods, without their `a`."""
    paths = [
        path for path in sorted((DJANGO / "aio").glob("*.py")) if path.stem != "appending_lock"
    ]  # with redis-py's names
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return frozenset(re.findall(r"^    async def a(\w+)", "".join(texts), re.MULTILINE)) | _DJANGO_OWN


def made() -> dict[Path, str]:
    """The file of each twin, and what it says."""
    texts: dict[Path, str] = {PACKAGE / "local" / "blocking.py": twin(PACKAGE / "local" / "api.py", blocking)}
    for home, make in ((FACES, blocking), (PACKAGE / "contract", blocking), (DJANGO, django_blocking)):
        for path in sorted((home / "aio").glob("[!_]*.py")):
            texts[home / "blocking" / path.name] = twin(path, make)
    return formatted(texts)


def twin(path: Path, make: Callable[[str], str]) -> str:
    """The text that is made of a file."""
    source = _MADE_BY_ANOTHER.sub("", path.read_text(encoding="utf-8"))
    return _MADE.format(source=path.relative_to(PACKAGE)) + make(source)


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
