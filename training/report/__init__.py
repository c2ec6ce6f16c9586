"""The report of a study: its tables, and one page worth sending to a colleague.

Torch-free; the drawing libraries are imported only when a page is drawn.
"""

from pathlib import Path

from training.report.material import Curve, Lineage, Material, Row
from training.report.tables import (
    ScoreLine,
    ScoreTable,
    gain_line,
    gain_over_trivial,
    score_table,
)

__all__ = [
    "Curve",
    "Lineage",
    "Material",
    "Row",
    "ScoreLine",
    "ScoreTable",
    "gain_line",
    "gain_over_trivial",
    "score_table",
    "write_report",
]


def write_report(material: Material, destination: Path) -> None:
    """Write the study as one self-contained HTML file; the same material gives the same bytes.

    Raises:
        ManifestError: a file of the material is there but is not what it should be.
        DecodeError: an excerpt cannot be read.
    """
    # Sound and arrays load here, so that a command that only prints a table starts at once.
    from training.report import page  # noqa: PLC0415

    page.write_report(material, destination)
