"""Makes the commands for threads and for pipelines from those for asyncio: `python -m tools.make_twins`.

What differs is only whether a method waits, and what it answers, so the text is the source: `blocking` is `aio` without `async`
and `await`; in `queued` methods answer Any, which is the pipeline or, once it watches keys, the answer itself.
A test makes them anew and compares, so nobody edits a twin by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from .formatting import formatted

MODULES: Final = ("command_base", "keys", "strings", "lists", "hashes", "sets", "sorted_set_ranges", "sorted_sets")
FOR_THREADS: Final = ("scans", "changes", "locks", "deferred")  # a pipeline does not iterate, hold locks, or wait
DJANGO_MODULES: Final = ("looking", "contract", "locks", "extras", "herd", "sessions")
HOME: Final = Path(__file__).parent.parent / "ferrokv" / "local" / "faces"
CONTRACT: Final = Path(__file__).parent.parent / "ferrokv" / "contract"
DJANGO: Final = Path(__file__).parent.parent / "ferrokv" / "contrib" / "django"
_MADE: Final = "# Made by `python -m tools.make_twins` from local/faces/aio/{module}.py; edit that.\n"
_MADE_CONTRACT: Final = "# Made by `python -m tools.make_twins` from contract/aio/{module}.py; edit that.\n"
_MADE_BY_ANOTHER: Final = re.compile(r"^# Made by .*\n")
_MADE_DJANGO: Final = "# Made by `python -m tools.make_twins` from contrib/django/aio/{module}.py; edit that.\n"
_DJANGO_NAMES: Final = (
    (".native", ".blocking"),
    ("contract.aio.", "contract.blocking."),
    ("asyncio.shield(lock.release())", "lock.release()"),
    (
        "await self._in_thread_if_needed(self._batches, data, timeout, version, guard)",
        "self._batches(data, timeout, version, guard)",
    ),
    ("            if inspect.isawaitable(value):\n                value = await value\n", ""),
    ("import inspect\n", ""),
    ("_aget_", "_get_"),
    ("\n\n        `default` may also be a coroutine function.", ""),
    ("on the event loop: a hit in memory never needs a thread", "for threads"),
)
_SIGNATURE: Final = re.compile(r"(    def (?!_)\w+\((?:[^()]|\([^()]*\))*?\)) -> [^\n]+:\n")
_OVERLOAD: Final = re.compile(r"    @overload\n    def \w+\((?:[^()]|\([^()]*\))*?\) -> [^\n]+: \.\.\.\n")
_PUBLIC: Final = re.compile(r"\b(Lock|DeferredCommands)\b")  # those of asyncio have the plain names
_IMPORT: Final = re.compile(r"^from (?!__future__)(\S+) import ([^\n(]+)\n", re.MULTILINE)
_TYPE_VARIABLE: Final = 'T = TypeVar("T")\n'
_ANSWER_TYPES: Final = re.compile(r"^from \S+ import KeyspaceStats\n", re.MULTILINE)
_NAMES: Final = (
    ("__aenter__", "__enter__"),
    ("__aexit__", "__exit__"),
    ("import asyncio\n", ""),
    ("import Awaitable, ", "import "),
    (".aperform(", ".perform("),
)
_ITERATOR: Final = re.compile(r"AsyncGenerator\[(.+), None\]")


def without_waiting(source: str) -> str:
    """The text without `async` and `await`."""
    return (
        source.replace("async def ", "def ")
        .replace("await ", "")
        .replace("async for ", "for ")
        .replace("async with ", "with ")
    )


def blocking(source: str) -> str:
    """The twin for threads."""
    source = _ITERATOR.sub(r"Iterator[\1]", source).replace("import AsyncGenerator", "import Iterator")
    for old, new in _NAMES:
        source = source.replace(old, new)
    source = source.replace("asyncio.sleep", "time.sleep")
    source = re.sub(r"\bAwaitable\[([\w.]+)\]", r"\1", source)
    source = re.sub(r"\bAsync([A-Z]\w*)", r"Blocking\1", without_waiting(source))
    source = _PUBLIC.sub(r"Blocking\1", source)
    return re.sub(r"for (\w+) in (\w+):\n +yield \1\n", r"yield from \2\n", source)


def queued(source: str) -> str:
    """The twin for pipelines."""
    source = re.sub(r"\bAsync([A-Z]\w*)", r"Queued\1", without_waiting(source))
    source = _SIGNATURE.sub(r"\1 -> Any:\n", _OVERLOAD.sub("", source))
    source = _ANSWER_TYPES.sub("", source)
    if not re.search(r"\bT\b", source.replace(_TYPE_VARIABLE, "")):
        source = source.replace(_TYPE_VARIABLE, "")
    if "-> Any:" in source and not re.search(r"^from typing import .*\bAny\b", source, re.MULTILINE):
        source = _with_any(source)
    source = _IMPORT.sub(lambda line: _of_used(line, source), source)
    return re.sub(r"\n{4,}", "\n\n\n", source)


def _with_any(source: str) -> str:
    if "\nfrom typing import " in source:
        return source.replace("\nfrom typing import ", "\nfrom typing import Any, ", 1)
    gap = "\n\n" if "import annotations\n\nfrom ..." in source else "\n"
    return source.replace("\n\nfrom ...", gap + "from typing import Any\n\nfrom ...", 1)


def _of_used(line: re.Match[str], source: str) -> str:
    """An import of just those names that the text uses: answers and their overloads are gone from it."""
    names = [name for name in line[2].split(", ") if len(re.findall(rf"\b{name.split()[-1]}\b", source)) > 1]
    return f"from {line[1]} import {', '.join(names)}\n" if names else ""


def django_blocking(source: str, methods: frozenset[str]) -> str:
    """The twin of a module of the Django cache: `aget` becomes `get`, and a private `_a_look` becomes `_look`."""
    for name in methods:
        source = re.sub(rf"(\bdef |\bself\.|\bsuper\(\)\.|`|\bpipelined\.)a{name}\b", rf"\1{name}", source)
    source = re.sub(r"\b_a_(?=[a-z])", "_", source)
    for old, new in _DJANGO_NAMES:
        source = source.replace(old, new)
    return blocking(source)


def django_methods() -> frozenset[str]:
    """The public asynchronous methods, without their `a`."""
    paths = [path for path in sorted((DJANGO / "aio").glob("*.py")) if path.stem != "locks"]  # with redis-py's names
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return frozenset(re.findall(r"^    async def a(\w+)", "".join(texts), re.MULTILINE)) | {
        "append",
        "settle",
        "get_expiry_age",
    }


def made() -> dict[Path, str]:
    """The file of each twin, and what it has to say."""
    texts: dict[Path, str] = {}
    methods = django_methods()
    for module in DJANGO_MODULES:
        source = (DJANGO / "aio" / f"{module}.py").read_text(encoding="utf-8")
        texts[DJANGO / "blocking" / f"{module}.py"] = _MADE_DJANGO.format(module=module) + django_blocking(
            source, methods
        )
    for path in sorted((CONTRACT / "aio").glob("[!_]*.py")):
        source = _MADE_BY_ANOTHER.sub("", path.read_text(encoding="utf-8"))
        texts[CONTRACT / "blocking" / path.name] = formatted(_MADE_CONTRACT.format(module=path.stem) + blocking(source))
    for kind, make, modules in (("blocking", blocking, (*MODULES, *FOR_THREADS)), ("queued", queued, MODULES)):
        for module in modules:
            source = (HOME / "aio" / f"{module}.py").read_text(encoding="utf-8")
            texts[HOME / kind / f"{module}.py"] = _MADE.format(module=module) + make(source)
    return texts


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
