"""The numbers that the paper reports, to stand beside a study's own.

Saijo and Bando 2025, Table 1: dB on the MUSDB18-HQ test set (50 songs), pre-trained on the large
subset of the Free Music Archive.
"""

from typing import NamedTuple

CITATION = (
    "K. Saijo and Y. Bando, “Is MixIT Really Unsuitable for Correlated Sources? Exploring MixIT "
    "for Unsupervised Pre-training in Music Source Separation”, WASPAA 2025, Table 1."
)

CAUTION = (
    "Published figures are on the real MUSDB18-HQ test set (50 songs) at full scale, pre-trained "
    "on the large subset of the Free Music Archive. They are here for orientation and are not "
    "comparable to a demo, nor to any study on other songs."
)


class Pair(NamedTuple):
    """The two metrics of one cell, in dB."""

    csdr: float
    usdr: float


class PublishedRow(NamedTuple):
    """One line of the paper's table."""

    id: str
    model: str
    pretrained: bool
    vocals: Pair
    bass: Pair
    drums: Pair
    other: Pair
    average: Pair


TABLE_1 = (
    PublishedRow(
        *("S1", "BS-Locoformer small, from scratch", False),
        *(Pair(9.03, 9.18), Pair(7.99, 7.63), Pair(9.98, 10.11), Pair(6.59, 6.19)),
        Pair(8.40, 8.28),
    ),
    PublishedRow(
        *("S2", "BS-Locoformer small, MixIT", True),
        *(Pair(9.20, 9.48), Pair(9.00, 8.11), Pair(10.34, 10.45), Pair(6.66, 6.34)),
        Pair(8.80, 8.59),
    ),
    PublishedRow(
        *("M1", "BS-Locoformer medium, from scratch", False),
        *(Pair(9.66, 9.83), Pair(9.16, 8.14), Pair(10.24, 10.45), Pair(7.07, 6.57)),
        Pair(9.04, 8.75),
    ),
    PublishedRow(
        *("M2", "BS-Locoformer medium, MixIT", True),
        *(Pair(10.00, 10.28), Pair(9.65, 8.87), Pair(10.91, 11.11), Pair(7.27, 6.93)),
        Pair(9.46, 9.30),
    ),
    PublishedRow(
        *("L1", "BS-Locoformer large, from scratch", False),
        *(Pair(10.18, 10.23), Pair(10.27, 8.78), Pair(10.65, 10.96), Pair(7.22, 6.85)),
        Pair(9.58, 9.21),
    ),
    PublishedRow(
        *("L2", "BS-Locoformer large, MixIT", True),
        *(Pair(10.39, 10.75), Pair(10.21, 9.24), Pair(10.96, 11.34), Pair(8.06, 7.56)),
        Pair(9.90, 9.72),
    ),
)


def records() -> list[dict[str, str | float]]:
    """Return one flat mapping per line of the table, cSDR and uSDR of each stem side by side."""
    return [
        {"id": row.id, "model": row.model}
        | {
            f"{stem} {metric}": value
            for stem in ("vocals", "bass", "drums", "other", "average")
            for metric, value in zip(("cSDR", "uSDR"), getattr(row, stem), strict=True)
        }
        for row in TABLE_1
    ]
