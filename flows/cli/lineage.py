"""`lineage`: from any artefact, what made it, from which inputs, by which recipe and code."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.tree import Tree

from flows.cli.options import AsJson, HomeAt
from flows.cli.output import View, stdout_view
from flows.cli.views import statuses_of
from flows.stages.lineage import LineageGraph
from storage.config import Json
from storage.errors import ConfigError
from storage.files import hash_file
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.home.open import open_existing, open_home
from storage.records import plain
from training.model_folder import WEIGHTS
from training.report.formats import count, duration

app = typer.Typer()
SHORTEST_KEY = 4
"""Hex digits of a mark's key that must be given at least."""
REMOVED = "not in this home any more"


@dataclass(frozen=True)
class Found:
    """An artefact, and the mark of the work that made it."""

    what: str
    mark: Mark
    how: str
    """How it was recognised."""


@app.command()
def lineage(
    what: Annotated[str, typer.Argument(help="A path, a copy, a mark's key, a stage or a label.")],
    home: HomeAt = "home",
    as_json: AsJson = False,
) -> None:
    """Show what made something: from which inputs, recipe and code."""
    show(home_around(Path(what)) or open_existing(home), what, stdout_view(as_json))


def show(home: Home, what: str, view: View) -> None:
    """Show an artefact's lineage.

    Args:
        home: where to look.
        what: a path in a home; a copy elsewhere of something that a home holds; a mark's key; the
            name of a stage that was done once; or what a study or a table calls a stage, such as
            `finetune` or `pretrain large`.

    Raises:
        ConfigError: nothing in the home is meant, or several things are.
    """
    graph = LineageGraph(home)
    found = recognise(graph, what)
    recipe = [f"  {line}" for line in settings_of(found.mark.config)]
    if not view.as_json:
        view.console.print(_tree(graph, found), highlight=False)
    view.show(value_of(graph, found), f"\nRecipe of {found.mark.stage}:", *recipe)


def home_around(path: Path) -> Home | None:
    """Return the home that a path lies in, if there is one."""
    if not path.exists():
        return None
    where = path.resolve()
    roots = [folder for folder in (where, *where.parents) if (folder / "marks").is_dir()]
    return open_home(str(roots[0])) if roots else None


def recognise(graph: LineageGraph, what: str) -> Found:
    """Return the mark of the work that made something; raise `ConfigError` if there is not one."""
    for how, candidates in _candidates(graph, what):
        keys = {mark.key: mark for mark in candidates}
        if len(keys) == 1:
            return Found(what, next(iter(keys.values())), how)
        if keys:
            several = ", ".join(f"{mark.stage} {key}" for key, mark in sorted(keys.items()))
            raise ConfigError(f"'{what}' is ambiguous: {several}; give the key of one")
    stages = ", ".join(sorted({mark.stage for mark in graph.marks})) or "none"
    raise ConfigError(
        f"no finished work in {graph.home.url} made '{what}'; give a path in it, a copy of one "
        f"of its files, a mark's key, a label such as 'finetune', or one of its stages: {stages}"
    )


def settings_of(config: Json, prefix: str = "") -> list[str]:
    """Return a configuration as `--set` would take it, one setting a line."""
    lines: list[str] = []
    for name, value in config.items():
        if isinstance(value, dict) and value:
            lines += settings_of(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            lines.append(f"{prefix}{name}={text}")
    return lines


def value_of(graph: LineageGraph, found: Found) -> Json:
    """Return a lineage for machines: every mark once, by its key, and each one's inputs."""
    steps: Json = {}
    for mark in graph.causes_first([found.mark]):
        parents = graph.parents(mark)
        steps[mark.key] = {
            **{name: value for name, value in plain(mark).items() if name != "outputs"},
            "made_of": {name: parent.key if parent else None for name, parent in parents.items()},
            "outputs": len(mark.outputs),
            "bytes": mark.size,
        }
    return {
        "artefact": found.what,
        "known_by": found.how,
        "made_by": found.mark.key,
        "steps": steps,
    }


def _candidates(graph: LineageGraph, what: str) -> Iterator[tuple[str, list[Mark]]]:
    """Yield marks that may be meant, the most certain way of recognising them first."""
    home, path = graph.home, Path(what)
    if path.exists():
        where = path.resolve()
        if home.holds(where):
            yield from _by_path(graph, home.relative(where))
        yield from _by_content(graph, where)
    if len(what) >= SHORTEST_KEY and set(what) <= set("0123456789abcdef"):
        yield "its key", [mark for mark in graph.marks if mark.key.startswith(what)]
    yield "its stage", [mark for mark in graph.marks if mark.stage == what]
    yield "its label", _labelled(graph, what)


def _by_path(graph: LineageGraph, relative: str) -> Iterator[tuple[str, list[Mark]]]:
    made = [(mark, {output.path for output in mark.outputs}) for mark in graph.marks]
    yield "its path", [mark for mark, paths in made if relative in paths]
    if relative.startswith("marks/"):
        yield "its mark", [mark for mark, _ in made if mark.key == PurePosixPath(relative).stem]
    inside = f"{relative}/"
    yield (
        "what lies in it",
        [mark for mark, paths in made if any(path.startswith(inside) for path in paths)],
    )
    # A checkpoint or a log is no output, but lies in the folder of the work that wrote it.
    room = "/".join(relative.split("/")[:2])
    if room.count("/"):
        yield "its folder", [mark for mark, _ in made if room.endswith(f"-{mark.key}")]


def _by_content(graph: LineageGraph, path: Path) -> Iterator[tuple[str, list[Mark]]]:
    file = path / WEIGHTS if path.is_dir() else path
    if file.is_file():
        digest = hash_file(file)
        yield (
            "its content",
            [
                mark
                for mark in graph.marks
                if any(output.sha256 == digest for output in mark.outputs)
            ],
        )


def _labelled(graph: LineageGraph, label: str) -> list[Mark]:
    """Return the finished work that a home's studies and tables have under this label."""
    keys = {
        status.mark.key
        for statuses in statuses_of(graph.home).values()
        for status in statuses
        if status.label == label and status.mark
    }
    return [mark for mark in graph.marks if mark.key in keys]


def _tree(graph: LineageGraph, found: Found) -> Tree:
    root = Tree(f"[bold]{escape(found.what)}[/] [dim](known by {found.how})[/]")
    seen: set[str] = set()

    def grow(branch: Tree, name: str, mark: Mark | None) -> None:
        if mark is None:
            branch.add(f"{name}: [dim]{REMOVED}[/]")
            return
        again = mark.key in seen
        seen.add(mark.key)
        node = branch.add(_describe(name, mark, again))
        if not again:
            for parent, cause in sorted(graph.parents(mark).items()):
                grow(node, parent, cause)

    grow(root, "made by", found.mark)
    return root


def _describe(name: str, mark: Mark, again: bool) -> str:
    head = f"{name}: [bold]{mark.stage}[/] {mark.key}"
    if again:
        return f"{head} [dim](as above)[/]"
    size = f"{mark.facts.get('units', 0)} units"
    if mark.outputs:
        size = f"{count(len(mark.outputs), 'file')}, {mark.size / 1e6:.1f} MB"
    detail = f"{mark.finished}, took {duration(mark.seconds)}; {size}, digest {mark.digest[:12]}"
    return "\n".join(filter(None, (head, f"[dim]{detail}[/]", code_of(mark.built_by))))


def code_of(built_by: Json) -> str:
    """Name the code and machine that made something, as far as its mark says."""
    known: list[Any] = []
    if built_by.get("version"):
        commit = built_by.get("commit")
        known.append(f"stemworks {built_by['version']}{f' at {commit[:12]}' if commit else ''}")
    if built_by.get("python"):
        known.append(f"Python {built_by['python']}")
    if built_by.get("host"):
        known.append(f"on {built_by['host']}")
    return f"[dim]by {', '.join(known)}[/]" if known else ""
