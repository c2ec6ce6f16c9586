"""The table of measures: what they say they give, they give, under names of their own."""

import pytest

from pipelines.config import FilterConfig, FmaConfig
from pipelines.measures.config import MeasureLimits
from pipelines.measures.measure import Kind
from pipelines.measures.table import FIGURES, MEASURES
from pipelines.packing.filters import MEASURED
from storage.config import Json
from storage.errors import ConfigError
from storage.records import LedgerRow, Track
from tests.pipelines.measures.sounds import measured
from tests.synthesised import RATE, tune


@pytest.mark.parametrize("kind", MEASURES, ids=lambda kind: kind.by_second)
def test_a_measure_gives_the_figures_that_it_names(kind: Kind) -> None:
    measure = kind.begin(RATE)
    measured(measure, tune(2.3))
    whole = measure.whole()
    assert list(whole) == [figure.name for figure in kind.figures]
    for figure in kind.figures:
        assert isinstance(whole[figure.name], int if figure.whole else float)
        assert list(figure.edges) == sorted(set(figure.edges))


def test_names_are_their_own() -> None:
    names = [figure.name for figure in FIGURES] + [kind.by_second for kind in MEASURES]
    fields = [*LedgerRow.model_fields, *Track.model_fields]
    assert len(names) == len(set(names))
    assert not set(names) & set(fields)


def test_limits_change_no_key_until_one_is_given() -> None:
    plain = FilterConfig()
    assert plain.measured == ()
    assert not set(MeasureLimits.model_fields) & plain.what_matters().keys()
    assert set(MeasureLimits.model_fields) <= FilterConfig.NEUTRAL
    assert len(MeasureLimits.model_fields) == len(MEASURED)
    limits: Json = {name: 0.5 for name in MeasureLimits.model_fields}
    given = FilterConfig.parse(limits)
    assert set(given.measured) == set(limits)
    assert given.digest() != plain.digest()


def test_what_is_not_measured_cannot_be_judged() -> None:
    with pytest.raises(ConfigError, match=r"filters\.max_correlation judges .* measures=true, or"):
        FmaConfig().override(["measures=false", "filters.max_correlation=0.9"])
    assert not FmaConfig().override(["measures=false"]).measures
