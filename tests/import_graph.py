"""What imports what, read from the source by its syntax: also within functions, also by a string.

Independent of import-linter: it needs no `__init__.py`, sees circles and `import_module`, and knows
that importing `a.b.c` runs `a` and `a.b` first.
"""

import ast
from collections import defaultdict, deque
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

ROOMS = ("flows", "pipelines", "training", "storage")


class Import(NamedTuple):
    """One import; `imported` is a module of the tree, or the full name of something outside."""

    importer: str
    line: int
    imported: str
    by_string: bool = False
    """By `import_module`; "?" is imported where the name is no literal."""


def modules(root: Path) -> dict[str, Path]:
    """Return every module of a tree by its name."""
    found = {}
    for path in sorted(path for room in ROOMS for path in (root / room).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path) -> list[Import]:
    """Return every import of a tree."""
    known = modules(root)
    return [
        Import(name, line, _known(imported, known), by_string)
        for name, path in known.items()
        for line, imported, by_string in _written(_package(name, path), path.read_text())
    ]


def circle(root: Path) -> list[str]:
    """Return the modules of an import circle, each imported by the next; empty: there is none."""
    graph: dict[str, set[str]] = defaultdict(set)
    for one in imports(root):
        if one.imported != one.importer:
            graph[one.importer].add(one.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def way(root: Path, room: str, outside: str) -> list[str]:
    """Return a chain of imports from a room to a package outside the tree; empty: there is none.

    A package that is imported on the way to a module is a link of the chain.
    """
    graph: dict[str, set[str]] = defaultdict(set)
    for one in imports(root):
        graph[one.importer].add(one.imported)
        graph[one.importer].update(_packages(one.imported))
    begun = [name for name in modules(root) if name.split(".")[0] == room]
    before: dict[str, str] = dict.fromkeys(begun, "")
    waiting = deque(begun)
    while waiting:
        name = waiting.popleft()
        if name.split(".")[0] == outside:
            chain = [name]
            while before[chain[0]]:
                chain.insert(0, before[chain[0]])
            return chain
        for imported in graph[name]:
            if imported not in before:
                before[imported] = name
                waiting.append(imported)
    return []


def _packages(name: str) -> Iterator[str]:
    parts = name.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length])


def _known(name: str, known: dict[str, Path]) -> str:
    """Return the module that a name is or lies in; of something outside, the name itself."""
    found = [one for one in (*_packages(name), name) if one in known]
    return found[-1] if found else name


def _package(module: str, path: Path) -> str:
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


# By its text: copies of the tree differ in few files, and each is parsed once for all of them.
@cache
def _written(package: str, text: str) -> tuple[tuple[int, str, bool], ...]:
    """Return line, name and whether by a string, of every import in a module of a package."""
    return tuple(_imported(package, text))


def _imported(package: str, text: str) -> Iterator[tuple[int, str, bool]]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield node.lineno, alias.name, False
            case ast.ImportFrom():
                parts = package.split(".")
                above = parts[: len(parts) - node.level + 1] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                for alias in node.names:
                    yield node.lineno, f"{base}.{alias.name}", False
            case (
                ast.Call(func=ast.Name(id="import_module" | "__import__"))
                | ast.Call(func=ast.Attribute(attr="import_module"))
            ):
                name = node.args[0] if node.args else None
                literal = isinstance(name, ast.Constant) and isinstance(name.value, str)
                yield node.lineno, str(name.value) if literal else "?", True  # type: ignore[union-attr]
