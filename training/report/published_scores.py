"""The numbers that the paper reports, to show beside a study's own.

Saijo and Bando 2025, Tables 1 to 3: dB on the MUSDB18-HQ test set (50 songs), pre-trained on the
large subset of the Free Music Archive, Table 3 on each of its subsets.
"""

from typing import NamedTuple

CITATION = (
    "K. Saijo and Y. Bando, “Is MixIT Really Unsuitable for Correlated Sources? Exploring MixIT "
    "for Unsupervised Pre-training in Music Source Separation”, WASPAA 2025, Table 1."
)

CAUTION = (
    "Published numbers are for the real MUSDB18-HQ test set (50 songs) at full scale, pre-trained "
    "on the large subset of the Free Music Archive. They are here for orientation and are not "
    "comparable to a demo, nor to any study on other songs."
)


STEMS = ("vocals", "bass", "drums", "other")
"""Stems of the paper's tables."""


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

SIZES = {"small": "S", "medium": "M", "large": "L"}
"""Sizes of the separator by the letter of their rows in Table 1."""

FROZEN = {
    ("small", "from scratch"): Pair(3.27, 3.62),
    ("small", "MixIT"): Pair(6.73, 6.67),
    ("medium", "from scratch"): Pair(3.34, 3.68),
    ("medium", "MixIT"): Pair(7.36, 7.27),
    ("large", "from scratch"): Pair(3.61, 3.83),
    ("large", "MixIT"): Pair(7.27, 7.11),
}
"""Table 2, averages over the stems: the separator keeps its random or pre-trained weights."""

SCALES = {"none": 8.75, "small": 9.08, "medium": 9.29, "large": 9.30, "full": 9.39}
"""Table 3, uSDR averaged over the stems of the medium model, by the subset pre-trained on."""


class System(NamedTuple):
    """Another system that the paper sets beside its own: averages over the stems, in dB."""

    name: str
    data: str
    csdr: float | None
    usdr: float | None


SYSTEMS = (
    System("BS-RoFormer (6 layers, one model per stem)", "MUSDB18-HQ", 9.80, None),
    System("TS-BSMamba2", "MUSDB18-HQ", 9.56, 8.71),
    System("BSRNN, semi-supervised", "MUSDB18-HQ and 1750 unlabelled songs", 8.97, 8.42),
    System("BS-RoFormer (12 layers)", "MUSDB18-HQ and 500 labelled songs", 11.99, None),
)

ALWAYS_DIFFERENT = (
    "The four outputs kept after pre-training are distinct: an assignment on the vote table. The "
    "authors' majority vote may take one output for two stems.",
    "The last chunk of a song is moved back to end with it, and not filled up with zeros; silent "
    "chunks are divided among the stems, and not left out.",
    "Estimates are scored as 32-bit floats, and not from 24-bit files.",
    "The assignment in MixIT is the exact optimum over all 2^N; the authors' code takes least "
    "squares on the left channel.",
)
"""What differs from the authors' code in every recipe."""


def beside(table: str, variant: str, start: str) -> tuple[float | None, float | None]:
    """Return the paper's cSDR and uSDR, averaged over the stems, for a row; None where it has none.

    Args:
        table: `table1`, `table2`, `table3` or `mixit_gain`.
        variant: the size or the scale, as the paper calls it.
        start: `from scratch` or `MixIT`.
    """
    if table == "table1" and variant in SIZES:
        wanted = f"{SIZES[variant]}{2 if start == 'MixIT' else 1}"
        return next(row.average for row in TABLE_1 if row.id == wanted)
    if table == "table2":
        return FROZEN.get((variant, start), (None, None))
    if table == "table3":
        return None, SCALES.get(variant if start == "MixIT" else "none")
    return None, None


def records() -> list[dict[str, str | float]]:
    """Return one flat mapping per line of the table, cSDR and uSDR of each stem side by side."""
    return [
        {"id": row.id, "model": row.model}
        | {
            f"{stem} {metric}": value
            for stem in (*STEMS, "average")
            for metric, value in zip(("cSDR", "uSDR"), getattr(row, stem), strict=True)
        }
        for row in TABLE_1
    ]
