"""Hooks of MkDocs: the pages of the site that are not files of this folder.

Reference pages are made from the code, so that none can be out of date. Pages that lie elsewhere,
where readers of the repository look for them, are taken from there, and links to them are turned.
"""

import ast
import os
import re
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click
from typer.main import get_command

from flows.__main__ import app
from flows.cli.settings import settings_markdown, variables_markdown

ROOT = Path(__file__).parents[1]
ROOMS = ("flows", "pipelines", "training", "storage")
API = "API reference"
"""The entry of the navigation that holds the pages of all packages."""

ELSEWHERE = {
    "BENCHMARKS.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "DECISIONS.md": "decisions.md",
    "docker/README.md": "containers.md",
}
"""Pages that lie outside this folder, and their names in the site."""

SETTINGS = """# Settings

Every setting of every study, from the code. A section's name is where its settings are: `tracks`
of `synthesis` is given as `--set synthesis.tracks=12`. Where there are several kinds, `kind`
chooses: `--set pretraining.model.kind=hdemucs`. [Recipes](recipes.md) says how settings are given,
and `stemworks settings WORD` finds one.
"""
VARIABLES = """# Environment variables

What a machine is, and how it reaches others; never what comes out of a study, which its
[settings](settings.md) decide. Prefect's own variables, such as `PREFECT_API_URL`, and those of
AWS hold as well: [On a cluster](cluster.md).
"""
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)(?=[)#])")
LOADED = re.compile(
    r"<(?:script|img|iframe|link|source|video|audio)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
)


def generated() -> dict[str, str]:
    """Return the Markdown of every page that is made from the code, by its name in the site."""
    return {
        "settings.md": _page(SETTINGS, "settings", settings_markdown()),
        "variables.md": _page(VARIABLES, "variables", variables_markdown()),
        "commands.md": commands(),
        **api_pages(),
    }


def _page(head: str, kind: str, tables: str) -> str:
    # The site's style sheet shows the rows of such tables as paragraphs on a phone.
    return f'{head}\n<div class="reference {kind}" markdown>\n\n{tables}\n</div>\n'


def commands() -> str:
    """Return the page of every command and option, from the command line itself."""
    group: Any = get_command(app)
    context = typer.Context(group, info_name="stemworks")
    parts = [
        "# Commands\n\nEvery command of `stemworks`, with its arguments and options, as "
        "`stemworks COMMAND --help` prints them."
    ]
    for name, command in group.commands.items():
        text = get_docs_for_click(
            obj=command, ctx=context, name=name, indent=1, call_prefix="stemworks"
        )
        parts.append(text.strip())
    return "\n\n".join(parts) + "\n"


def packages() -> dict[str, Path]:
    """Return the folder of every package, by its dotted name, in the order of the layers."""
    found = [path for room in ROOMS for path in sorted((ROOT / room).rglob("__init__.py"))]
    return {".".join(path.parent.relative_to(ROOT).parts): path.parent for path in found}


def api_pages() -> dict[str, str]:
    """Return a page for every package, with its public modules, and one that lists them."""
    pages, rows = {}, []
    for name, folder in packages().items():
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
        modules = [
            f"{name}.{path.stem}"
            for path in sorted(folder.glob("*.py"))
            if not path.stem.startswith("_")
        ]
        listed = "".join(f"\n\n::: {module}" for module in modules)
        pages[f"api/{name}.md"] = f"# {name}\n\n{text}{listed}\n"
        rows.append(f"| [{name}]({name}.md) | {' '.join(text.split(chr(10) * 2)[0].split())} |")
    table = "\n".join(["| package | what is in it |", "|---|---|", *rows])
    pages["api/index.md"] = (
        "# API reference\n\nEvery public module, from its docstrings. The layers are "
        f"`flows -> pipelines | training -> storage`.\n\n{table}\n"
    )
    return pages


def turn_links(markdown: str, source: str, uri: str) -> str:
    """Return a page whose links to files of the repository lead to pages of the site.

    Args:
        markdown: the page.
        source: its path in the repository, from which its links count.
        uri: its name in the site.
    """

    def turned(link: re.Match[str]) -> str:
        target = os.path.normpath(Path(source).parent / link[1])
        target = ELSEWHERE.get(target, target.removeprefix("docs/"))
        return os.path.relpath(target, Path(uri).parent)

    return LINK.sub(turned, markdown)


def loaded_from_elsewhere(html: str) -> list[str]:
    """Return the tags of a page that would load something from another server."""
    return LOADED.findall(html)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the API reference into the navigation."""
    rooms = [
        {room: [f"api/{name}.md" for name in packages() if name.split(".")[0] == room]}
        for room in ROOMS
    ]
    nav: list[Any] = config.nav or []
    for entry in nav:
        if API in entry:
            entry[API] = ["api/index.md", *rooms]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files of this folder."""
    texts = {uri: (ROOT / source).read_text() for source, uri in ELSEWHERE.items()}
    for uri, text in {**texts, **generated()}.items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn the links of a page that is a file of the repository."""
    uri = page.file.src_uri
    sources = {name: source for source, name in ELSEWHERE.items()}
    return turn_links(markdown, sources.get(uri, f"docs/{uri}"), uri)


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Refuse a page that would load something from another server when it is read."""
    if tags := loaded_from_elsewhere(output):
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {', '.join(tags)}")
    return output
