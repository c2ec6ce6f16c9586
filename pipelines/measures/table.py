"""All measures. To add one, write its module beside the others and add its entry here."""

from pipelines.measures import bandwidth, clipping, correlation, loudness, zeros
from pipelines.measures.measure import Kind

MEASURES: tuple[Kind, ...] = (
    bandwidth.KIND,
    correlation.KIND,
    clipping.KIND,
    loudness.KIND,
    zeros.KIND,
)
FIGURES = tuple(figure for kind in MEASURES for figure in kind.figures)
