"""The page: every section in order, in one file that needs no other."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from storage.files import write_bytes
from training.report import card, provenance, results
from training.report.listening import listening
from training.report.markup import escape, section
from training.report.material import Material, read_census, read_channels, read_scores


def write_report(material: Material, destination: Path) -> None:
    """Write the study as one self-contained HTML file; the same material gives the same bytes."""
    write_bytes(destination, render(material).encode())


def render(material: Material) -> str:
    """Return the page of a study; whatever is not there yet is said to be missing."""
    scored = read_scores(material.rows)
    sections = [
        Section("scores", "Scores", results.scores(scored)),
        Section("songs", "Song by song", results.songs(scored)),
        Section("listening", "Listening", listening(scored)),
        Section("training", "Training", results.losses(material.curves)),
        Section(
            "channels", "Channel selection", provenance.channels(read_channels(material.channels))
        ),
        Section("archive", "The archive", provenance.census(read_census(material.census))),
        Section("card", "Model card", card.section_of(material, scored)),
        Section("stages", "Stages", provenance.stages(material.lineage)),
        Section("recipe", "Recipe", provenance.recipe(material.study)),
    ]
    return document("study report", material.title, results.verdict(scored), sections)


class Section(NamedTuple):
    """One part of a page."""

    anchor: str
    title: str
    body: str
    """HTML."""


def document(kind: str, title: str, head: str, sections: Sequence[Section]) -> str:
    """Return a page of these sections, headed by what it is, its title and its verdict (HTML)."""
    contents = "".join(f'<a href="#{one.anchor}">{escape(one.title)}</a>' for one in sections)
    body = "".join(section(*one) for one in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)} – Stemworks</title>\n"
        f"<style>\n{_style()}</style>\n</head>\n<body>\n<main>\n"
        f'<header>\n<p class="eyebrow">Stemworks · {escape(kind)}</p>\n'
        f"<h1>{escape(title)}</h1>\n{head}"
        f'<nav aria-label="Sections">{contents}</nav>\n</header>\n{body}'
        "<footer><p>Made by Stemworks out of the study’s own records. Self-contained: pictures "
        "and sound are inside this file.</p></footer>\n</main>\n</body>\n</html>\n"
    )


def _style() -> str:
    return files("training.report").joinpath("page.css").read_text(encoding="utf-8")
