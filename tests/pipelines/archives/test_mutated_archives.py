"""Archives with any bytes altered: read rightly or refused by name, never a crash or a bomb."""

import io
import random
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.archives.sources import Fetcher, Source, extract
from pipelines.archives.zip_archive import ArchiveReader
from storage.errors import StemworksError
from storage.records import Track
from tests.synthesised import write_zip

SONG = random.Random(3).randbytes(30_000)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Cut, overwritten, spliced; or altered where the directory or the first header lies."""
    altered = bytearray(data)
    kind = chance.choice(["cut", "anywhere", "end", "spliced", "beginning"])
    if kind == "cut":
        return data[: chance.randrange(len(data))]
    if kind == "spliced":
        there, here, size = (chance.randrange(len(data)) for _ in range(3))
        altered[there : there + size % 500] = data[here : here + size % 500]
        return bytes(altered)
    places = {"anywhere": len(data), "end": 260, "beginning": 60}[kind]
    for _ in range(chance.choice([1, 2, 8])):
        place = chance.randrange(places)
        altered[-1 - place if kind == "end" else place] = chance.choice([0, 255, 47, 0x92])
    return bytes(altered)


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 1 << 32), method=st.sampled_from(METHODS))
def test_mutated_archives_are_read_rightly_or_refused(
    seed: int, method: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = random.Random(seed)
    members = {"a/000/000002.mp3": SONG[: chance.randrange(30_000)], "sums": b"x" * 200, "b": b""}
    path = write_zip(tmp_path_factory.mktemp("mutated") / "a.zip", members, method)
    with ArchiveReader(path) as reader:
        planned = reader.members()
    path.write_bytes(mutated(path.read_bytes(), chance))
    try:
        with ArchiveReader(path) as reader:
            for member in reader.members():
                assert len(reader.read(member.name)) == member.bytes
    except StemworksError as error:
        assert str(path) in str(error)
    for member in planned:
        place = {key: value for key, value in member._asdict().items() if key != "name"}
        track, target = Track(id="1", member=member.name, **place), io.BytesIO()
        try:
            with (
                Fetcher(Source(location=str(path))) as fetcher,
                fetcher.fetched(track, path.parent) as extent,
            ):
                extract(extent, track, target)
            assert target.getvalue() == members[member.name]
        except StemworksError as error:
            assert member.name in str(error)
        assert len(target.getvalue()) <= member.bytes


def test_a_member_without_a_name_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write_zip(tmp_path_factory.mktemp("nameless") / "a.zip", {"": b"x"})
    with pytest.raises(StemworksError, match="holds a member named ''"):
        ArchiveReader(path)
