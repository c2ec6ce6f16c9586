"""The page of a study: every section in order, in one file that needs no other."""

from pathlib import Path

from storage.files import write_bytes
from training.report.material import Material, read_census, read_channels, read_results
from training.report.pages import listening, model_card, provenance, results
from training.report.templating import Section, render


def write_report(material: Material, destination: Path) -> None:
    """Write the study as one self-contained HTML file; the same material gives the same bytes."""
    write_bytes(destination, page(material).encode())


def page(material: Material) -> str:
    """Return the page of a study; a part that is not there yet is shown as missing."""
    scored = read_results(material.rows, material.stems)
    sections = [
        Section("scores", "Scores", results.scores(scored)),
        Section("songs", "Song by song", results.songs(scored)),
        Section("listening", "Listening", listening.listening(scored)),
        Section("training", "Training", results.losses(material.curves)),
        Section(
            "channels", "Channel selection", provenance.channels(read_channels(material.channels))
        ),
        Section("archive", "The archive", provenance.census(read_census(material.census))),
        Section("card", "Model card", model_card.section(material, scored)),
        Section("stages", "Stages", provenance.stages(material.lineage)),
        Section("recipe", "Recipe", provenance.recipe(material.study)),
    ]
    whole = render(
        "page.html",
        kind="study report",
        title=material.title,
        head=results.verdict(scored),
        sections=[section for section in sections if section.anchor not in material.without],
    )
    return str(whole)
