"""Makes the Protocols of the commands, `ferrokv/contract/aio`, from the commands themselves: `python -m tools.make_contract`.

The local backend's methods say what the commands are called, take and answer; a Protocol repeats their signatures without the
bodies. Those for threads are made from those for asyncio by `tools.make_twins`. A test makes them anew and compares.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

from .formatting import formatted

PACKAGE: Final = Path(__file__).parent.parent / "ferrokv"
FACES: Final = PACKAGE / "local" / "faces" / "aio"
HOME: Final = PACKAGE / "contract" / "aio"
MODULES: Final = ("keys", "strings", "lists", "hashes", "sets", "sorted_set_ranges", "sorted_sets", "scans")
# What the adapters need of the commands.
CACHE: Final = {
    "keys": "exists pttl delete rename expire pexpire expireat pexpireat persist keys delete_range set_quota flushdb",
    "strings": "get mget set psetex getex compare_and_set compare_and_delete write incr",
    "sorted_sets": "zadd zrem zremrangebyscore",  # the sessions of a user
    "sorted_set_ranges": "zrange",
}
# Where the names in signatures come from.
SOURCES: Final = {
    "AsyncGenerator": "collections.abc",
    "Callable": "collections.abc",
    "Iterable": "collections.abc",
    "Mapping": "collections.abc",
    "Sequence": "collections.abc",
    "datetime": "datetime",
    "Any": "typing",
    "Literal": "typing",
    "Protocol": "typing",
    "TypeVar": "typing",
    "overload": "typing",
    "KeyspaceStats": "ferrokv.stats",
    "WriteBatch": "ferrokv.contract.batch",
    "Cast": "ferrokv.contract.encoding",
    "Expiry": "ferrokv.contract.encoding",
    "Key": "ferrokv.contract.encoding",
    "Names": "ferrokv.contract.encoding",
    "RankAndScore": "ferrokv.contract.encoding",
    "Value": "ferrokv.contract.encoding",
    "AsyncSortedSetRanges": "ferrokv.contract.aio.sorted_set_ranges",
}
_MADE: Final = "# Made by `python -m tools.make_contract` from local/faces/aio/{source}; edit that.\n"
_MADE_QUEUED: Final = "# Made by `python -m tools.make_contract` from local/faces/aio; edit that.\n"
_QUEUED: Final = """Every command, with the parameters that it has outside of a pipeline.

    It is queued and returns the pipeline. After `watch` and before `multi`, it runs at once instead
    and returns its answer, which asyncio has to await.
    """
Method = ast.FunctionDef | ast.AsyncFunctionDef


def is_public(node: ast.stmt) -> bool:
    """True for a method that callers may use."""
    return isinstance(node, Method) and not node.name.startswith("_")


def signature_of(method: Method) -> Method:
    """The method with the first paragraph of its docstring in place of its body."""
    text = ast.get_docstring(method)
    is_iterator = any(isinstance(node, ast.Yield) for node in ast.walk(method))
    made = ast.FunctionDef if is_iterator else type(method)  # a caller does not await an iterator
    body: ast.expr = (
        ast.Constant(...) if text is None else ast.Constant(text.split("\n\n")[0].replace("\n", "\n        "))
    )
    return made(
        name=method.name,
        args=method.args,
        body=[ast.Expr(body)],
        decorator_list=method.decorator_list,
        returns=method.returns,
        type_comment=None,
        type_params=[],
    )


def protocol_of(class_: ast.ClassDef) -> ast.ClassDef:
    """The class as a Protocol."""
    bases = [base for base in class_.bases if isinstance(base, ast.Name) and base.id == "AsyncSortedSetRanges"]
    document = ast.Expr(ast.Constant((ast.get_docstring(class_) or "").split("\n\n")[0]))
    methods = [signature_of(node) for node in class_.body if is_public(node) and isinstance(node, Method)]
    return ast.ClassDef(
        class_.name,
        bases=[*bases, ast.Name("Protocol")],
        keywords=[],
        body=[document, *methods],
        decorator_list=[],
        type_params=[],
    )


def seen_from(module: str, package: str) -> str:
    """A module's name, relative to a package if it is one of ours."""
    if not module.startswith("ferrokv."):
        return module
    here, there = package.split("."), module.split(".")
    while here and here[0] == there[0]:
        del here[0], there[0]
    return "." * (len(here) + 1) + ".".join(there)


def imports_for(tree: ast.Module, package: str) -> str:
    """The imports that the annotations of a module in a package need."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - {
        node.name for node in tree.body if isinstance(node, ast.ClassDef)
    }
    wanted: dict[str, list[str]] = {}
    for name in sorted(used & set(SOURCES)):
        wanted.setdefault(seen_from(SOURCES[name], package), []).append(name)
    lines = "".join(f"from {module} import {', '.join(names)}\n" for module, names in wanted.items())
    return lines + ('\nT = TypeVar("T")\n' if "TypeVar" in used else "")


def text_of(made: str, document: str, classes: list[ast.ClassDef], package: str = "ferrokv.contract.aio") -> str:
    """A module of a package."""
    tree = ast.Module([*classes], type_ignores=[])
    if any(isinstance(node, ast.Name) and node.id == "T" for node in ast.walk(tree)):
        tree.body.append(ast.Expr(ast.Name("TypeVar")))
    head = f'{made}"""{document}"""\n\nfrom __future__ import annotations\n\n{imports_for(tree, package)}'
    bodies = [ast.unparse(ast.fix_missing_locations(class_)) for class_ in classes]
    text = "\n\n\n".join((head, *bodies)) + "\n"
    return text.replace("Any:\n        ...\n\n    def ", "Any: ...\n    def ")


def classes_of(module: str) -> list[ast.ClassDef]:
    """The classes of commands in a module."""
    tree = ast.parse((FACES / f"{module}.py").read_text(encoding="utf-8"))
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


def cache_commands() -> ast.ClassDef:
    """The commands that the adapters need, as one Protocol."""
    wanted = {name for names in CACHE.values() for name in names.split()}
    methods = [
        signature_of(node)
        for module in CACHE
        for class_ in classes_of(module)
        for node in class_.body
        if isinstance(node, Method) and node.name in wanted
    ]
    document = ast.Expr(ast.Constant("The commands that the adapters need."))
    return ast.ClassDef(
        "AsyncCacheCommands",
        bases=[ast.Name("Protocol")],
        keywords=[],
        body=[document, *methods],
        decorator_list=[],
        type_params=[],
    )


def queued_commands(*bases: str) -> ast.ClassDef:
    """The commands of a pipeline: their answer is the pipeline or, once it watches keys, what the command answers."""
    methods: dict[str, ast.stmt] = {}
    for module in MODULES:
        if module == "scans":
            continue
        for class_ in classes_of(module):
            for node in class_.body:
                if isinstance(node, Method) and is_public(node) and not is_overload(node):
                    methods[node.name] = queued_signature_of(node)
    return ast.ClassDef(
        "QueuedCommands",
        bases=[ast.Name(base) for base in bases],
        keywords=[],
        body=[ast.Expr(ast.Constant(_QUEUED)), *methods.values()],
        decorator_list=[],
        type_params=[],
    )


def is_overload(method: Method) -> bool:
    """True for one of several signatures."""
    return any(isinstance(node, ast.Name) and node.id == "overload" for node in method.decorator_list)


def queued_signature_of(method: Method) -> ast.FunctionDef:
    """The method in a pipeline."""
    return ast.FunctionDef(
        name=method.name,
        args=method.args,
        body=[ast.Expr(ast.Constant(...))],
        decorator_list=[],
        returns=ast.Name("Any"),
        type_comment=None,
        type_params=[],
    )


def made() -> dict[Path, str]:
    """The file of each Protocol of asyncio's, and what it says."""
    texts: dict[Path, str] = {}
    for module in MODULES:
        document = ast.get_docstring(ast.parse((FACES / f"{module}.py").read_text(encoding="utf-8"))) or ""
        classes = [protocol_of(class_) for class_ in classes_of(module)]
        texts[HOME / f"{module}.py"] = text_of(_MADE.format(source=f"{module}.py"), document, classes)
    sources = ", ".join(f"{module}.py" for module in CACHE)
    document = "The commands of a pipeline."
    texts[HOME.parent / "queued.py"] = text_of(
        _MADE_QUEUED, document, [queued_commands("Protocol")], "ferrokv.contract"
    )
    texts[FACES.parent / "queued.pyi"] = text_of(_MADE_QUEUED, document, [queued_commands()], "ferrokv.local.faces")
    texts[HOME / "cache_commands.py"] = text_of(
        _MADE.format(source=sources), "The commands that the adapters need.", [cache_commands()]
    )
    return formatted(texts)


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
