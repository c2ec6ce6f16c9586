"""The report of a study: its tables, and one page worth sending to a colleague.

Torch-free; the drawing libraries are imported only when a page is drawn.
"""

from pathlib import Path

from training.report.comparison import Comparison, Findings
from training.report.material import Curve, Lineage, Material, Row
from training.report.music import music_of
from training.report.score_tables import (
    ScoreLine,
    ScoreTable,
    gain_line,
    gain_over_trivial,
    score_table,
)

__all__ = [
    "Comparison",
    "Curve",
    "Findings",
    "Lineage",
    "Material",
    "Row",
    "ScoreLine",
    "ScoreTable",
    "gain_line",
    "gain_over_trivial",
    "music_of",
    "score_table",
    "write_comparison",
    "write_report",
]


def write_report(material: Material, destination: Path) -> None:
    """Write the study as one self-contained HTML file; the same material gives the same bytes.

    Raises:
        ManifestError: a file of the material is there but is not what it should be.
        DecodeError: an excerpt cannot be read.
    """
    # Sound and arrays load here, so that a command that only prints a table starts at once.
    from training.report.pages import study  # noqa: PLC0415

    study.write_report(material, destination)


def write_comparison(comparison: Comparison, folder: Path) -> Findings:
    """Write one of the paper's tables as <table>.html and <table>.json; return what they show.

    Raises:
        ManifestError: a row's scores are missing or unreadable.
    """
    from training.report.pages import comparison as table  # noqa: PLC0415

    return table.write_comparison(comparison, folder)
