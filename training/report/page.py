"""The page: every section in order, in one file that needs no other."""

from importlib.resources import files
from pathlib import Path

from storage.files import write_bytes
from training.report import provenance, results
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
        ("scores", "Scores", results.scores(scored)),
        ("songs", "Song by song", results.songs(scored)),
        ("listening", "Listening", listening(scored)),
        ("training", "Training", results.losses(material.curves)),
        ("channels", "Channel selection", provenance.channels(read_channels(material.channels))),
        ("archive", "The archive", provenance.census(read_census(material.census))),
        ("stages", "Stages", provenance.stages(material.lineage)),
        ("recipe", "Recipe", provenance.recipe(material.study)),
    ]
    contents = "".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title, _ in sections)
    body = "".join(section(anchor, title, part) for anchor, title, part in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(material.title)} – Stemworks</title>\n"
        f"<style>\n{_style()}</style>\n</head>\n<body>\n<main>\n"
        f'<header>\n<p class="eyebrow">Stemworks · study report</p>\n'
        f"<h1>{escape(material.title)}</h1>\n{results.verdict(scored)}"
        f'<nav aria-label="Sections">{contents}</nav>\n</header>\n{body}'
        "<footer><p>Made by Stemworks out of the study’s own records. Self-contained: pictures "
        "and sound are inside this file.</p></footer>\n</main>\n</body>\n</html>\n"
    )


def _style() -> str:
    return files("training.report").joinpath("page.css").read_text(encoding="utf-8")
