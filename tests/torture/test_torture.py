"""A small share of `make torture`, the same each time: seconds instead of minutes."""

from collections import Counter
from pathlib import Path

import pytest

from storage.home.open import WORKING_COPIES
from tests.synthesised import Archives
from tests.torture import kills
from tests.torture.damage import pack_damaged
from tests.torture.kills import Record, killed_again_and_again, two_at_once, undisturbed
from tests.torture.material import Packing, config_of, packing, small_archive
from tests.torture.members import HARMS
from tests.torture.mutants import MUTATIONS, mutant
from tests.torture.unreliable import unreliable_bucket, unreliable_source

CONFIG = config_of("segments")
SEED = 3


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    return small_archive(tmp_path_factory.mktemp("torture"), 5, SEED)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, archives: Archives) -> dict[str, str]:
    return undisturbed(packing(str(tmp_path_factory.mktemp("reference")), archives, CONFIG))


def test_killed_packers_leave_the_same(
    tmp_path: Path, archives: Archives, reference: dict[str, str]
) -> None:
    def of(number: int) -> Packing:
        return packing(str(tmp_path / f"{number}"), archives, CONFIG)

    record = killed_again_and_again(Record("folder"), of, reference, 2, SEED)
    assert not record.faults
    assert record.rounds == record.kills.total() == 2
    assert record.begun >= record.units


def test_killed_packers_of_a_remote_archive_leave_the_same(
    tmp_path: Path, archives: Archives, reference: dict[str, str]
) -> None:
    with unreliable_source(archives.archive, SEED) as (source, server):

        def of(number: int) -> Packing:
            return packing(str(tmp_path / f"{number}"), archives, CONFIG, source)

        record = killed_again_and_again(Record("ranges"), of, reference, 2, SEED)
    assert not record.faults
    assert server.failed


def test_killed_packers_leave_the_same_in_a_bucket(
    tmp_path: Path,
    archives: Archives,
    reference: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(WORKING_COPIES, str(tmp_path))
    with unreliable_bucket(SEED) as (url, accidents):

        def of(number: int) -> Packing:
            return packing(f"{url}/{number}", archives, CONFIG)

        record = killed_again_and_again(Record("bucket"), of, reference, 2, SEED)
    assert not record.faults
    assert accidents.failed


def test_two_packers_at_once_share_the_work(
    tmp_path: Path, archives: Archives, reference: dict[str, str]
) -> None:
    def of(number: int) -> Packing:
        return packing(str(tmp_path / f"{number}"), archives, CONFIG)

    record = two_at_once(Record("two"), of, reference, 2, SEED)
    assert not record.faults
    assert record.rounds == 2


def test_faults_are_seen(tmp_path: Path, archives: Archives, reference: dict[str, str]) -> None:
    """The judge itself: bytes altered, files left half written, a mark that is gone."""
    study = packing(str(tmp_path), archives, CONFIG)
    undisturbed(study)
    ledger = study.corpus.ledger("0000")
    ledger.write_bytes(ledger.read_bytes() + b"\n")
    (study.corpus.root / ".0000-00.tar.7-7.arriving").touch()
    study.home.remove(study.home.mark("pack", study.done()["0001"].key))
    before = study.done()
    record = Record("judged")
    kills._require_same(record, study, reference)
    assert [fault.rpartition("/")[2] for fault in record.faults] == [
        "0000.jsonl']",
        ".0000-00.tar.7-7.arriving is left over",
    ]
    assert set(before) == {"0002", "0003", "0004"}


@pytest.mark.parametrize("seed", [SEED])
def test_damaged_recordings_are_all_accounted_for(tmp_path: Path, seed: int) -> None:
    found = pack_damaged(tmp_path, 32, seed)
    assert not found.faults
    assert found.reasons.total() == 32
    assert not found.lost, "no damage known costs a child"
    assert set(found.by_kind) <= MUTATIONS.keys() | HARMS.keys()


def test_mutants_are_alike_each_time_and_of_every_kind() -> None:
    made = [mutant(number, SEED) for number in range(32)]
    assert made == [mutant(number, SEED) for number in range(32)]
    assert Counter(one.kind for one in made) == dict.fromkeys(MUTATIONS, 2)
