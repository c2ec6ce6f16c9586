"""The archives that the tests of packing share, and the same corpus packed undisturbed."""

import pytest

from pipelines.packing.engines import pack_all
from tests.pipelines.packing.corpora import ONE_EACH, Study, begin
from tests.synthesised import Archives, write_fma


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """An FMA archive of four good songs and the usual accidents, only to be read."""
    return write_fma(tmp_path_factory.mktemp("archives"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory, archives: Archives) -> Study:
    """Packed in units of three tracks; each module may take its own census of it."""
    study = begin(tmp_path_factory.mktemp("packed"), archives)
    study.pack()
    return study


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory, archives: Archives) -> Study:
    """Packed in units of one track, by one process that nobody disturbed; only to be read."""
    study = begin(tmp_path_factory.mktemp("alone"), archives, ONE_EACH)
    pack_all(study.requests, study.config)
    return study
