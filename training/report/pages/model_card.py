"""The model card as a section of a study's page."""

from markupsafe import Markup

from training.report import card
from training.report.material import Material, Results
from training.report.music import licences_of
from training.report.score_tables import score_table
from training.report.templating import Column, missing, render


def section(material: Material, results: Results) -> Markup:
    """Return the card's facts, its uses and how the model is loaded; its Markdown folds away."""
    if not material.study:
        return missing("No configuration was given.")
    rows = [(one.row.name, one.scores) for one in results.models]
    found = score_table(rows, stems=results.names)
    licences = licences_of(material.study, material.music)
    return render(
        "card.html",
        columns=[Column("Fact"), Column("Of this model")],
        facts=card.facts_of(material.study),
        uses=card.uses_of(material.study),
        licences=licences,
        loading=card.LOADING.format(folder="model"),
        interface=card.interface_of(material.study),
        markdown=card.markdown(material.title, material.study, found, licences),
    )
