"""Any folder of audio -> tracks."""

import hashlib
import io
import os
import re
from pathlib import Path

import pytest

from pipelines.archives.sources import Fetcher, Source, extract
from pipelines.tracks import folder as module
from pipelines.tracks.folder import read_folder
from storage.errors import DataError, SourceError
from storage.manifests import read_rows, write_rows
from storage.records import Track
from tests.synthesised import as_file, tune

FILES = {
    "Ada/First Album/Ünal - one.MP3": b"one",
    "Ada/First Album/two.flac": b"two",
    "Bo/three.wav": b"one",
    "four.ogg": b"four",
    "five.tar.mp3": b"",
    "six.wav": b"",
}


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_each_audio_file_is_a_track(tmp_path: Path) -> None:
    came: list[int] = []
    warnings: list[str] = []
    tracks = read_folder(fill(tmp_path, FILES), came.append, warnings.append)
    assert [track.member for track in tracks] == sorted(FILES)
    assert warnings == []
    assert sum(came) == sum(map(len, FILES.values()))
    for track in tracks:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", track.id)
        assert track.id == hashlib.sha1(track.member.encode()).hexdigest()[:12]
        assert track.sha1 == hashlib.sha1(FILES[track.member]).hexdigest()
        assert (track.bytes, track.crc) == (len(FILES[track.member]), None)
        assert (track.split, track.licence, track.genre) == ("training", "", "")
    names = {track.member: (track.artist, track.title) for track in tracks}
    assert names["Ada/First Album/Ünal - one.MP3"] == ("First Album", "Ünal - one")
    assert names["five.tar.mp3"] == ("", "five.tar")
    # One of the two same files is the other's duplicate; empty ones are damage, not copies.
    sha1 = hashlib.sha1(b"one").hexdigest()
    same = sorted((t for t in tracks if t.sha1 == sha1), key=lambda t: t.id)
    assert [track.duplicate_of for track in same] == ["", same[0].id]
    assert sum(bool(track.duplicate_of) for track in tracks) == 1


def test_tracks_do_not_depend_on_where_the_folder_is(tmp_path: Path) -> None:
    here, there = fill(tmp_path / "here", FILES), fill(tmp_path / "there", FILES)
    assert read_folder(here) == read_folder(there)


def test_what_a_folder_gives_can_be_fetched(tmp_path: Path) -> None:
    sound = as_file(tune(0.2), kind="FLAC")
    root = fill(tmp_path / "songs", {"a/b c.flac": sound})
    [track] = read_folder(root)
    with (
        Fetcher(Source(location=str(root), form="folder")) as fetcher,
        fetcher.fetched(track, tmp_path) as extent,
        (tmp_path / "out").open("wb") as target,
    ):
        assert extract(extent, track, target) == track.sha1
    assert (tmp_path / "out").read_bytes() == sound


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    root = fill(tmp_path / "songs", {"a.mp3": b"a", "cover.jpg": b"", ".hidden.mp3": b""})
    fill(root, {".git/b.mp3": b"", "sub/c.mp3": b"c", "#recycle/d.mp3": b"", "._a.mp3": b""})
    fill(root, {"sub/@eaDir/c.mp3/x.mp3": b"", "@eaDir/a.mp3": b""})
    outside = fill(tmp_path / "else", {"d.mp3": b"d"})
    (root / "out.mp3").symlink_to(outside / "d.mp3")
    (root / "in.mp3").symlink_to(root / "sub" / "c.mp3")
    (root / "broken.mp3").symlink_to(root / "none.mp3")
    (root / "linked").symlink_to(outside)
    os.mkfifo(root / "pipe.mp3")
    warnings: list[str] = []
    tracks = read_folder(root, warn=warnings.append)
    assert [track.member for track in tracks] == ["a.mp3", "in.mp3", "sub/c.mp3"]
    text = "\n".join(warnings)
    for words in (
        "'out.mp3' is left out: it is a link out of",
        "'broken.mp3' is left out: it is no file",
        "'pipe.mp3' is left out: it is no file",
        "2 hidden files",
        "1 folders of the system (#recycle)",
        "2 folders of the system (@eaDir)",
        "2 hidden or linked folders",
        "1 files that are no audio by their name",
    ):
        assert words in text
    assert len(warnings) == 8


NAMES = (b"latin\xe9.mp3", b"\xff/\xfe.mp3", b"bell\a.mp3", "no\u00a0break.mp3".encode())


def test_a_name_may_be_any_bytes(tmp_path: Path) -> None:
    """Such files are tracks; all that is recorded of them is printable text."""
    sound = as_file(tune(0.2), kind="FLAC")
    root = tmp_path / "songs"
    for name in NAMES:
        fill(root, {os.fsdecode(name): sound})
    tracks = read_folder(root, warn=pytest.fail)
    assert {track.id for track in tracks} == {hashlib.sha1(name).hexdigest()[:12] for name in NAMES}
    table = tmp_path / "tracks.jsonl"
    write_rows(table, tracks)
    assert all(map(str.isprintable, table.read_text().splitlines()))
    assert {track.title for track in tracks} == {
        r"latin\xe9", r"\xfe", r"bell\x07", r"no\xc2\xa0break",
    }  # fmt: skip
    with Fetcher(Source(location=str(root), form="folder")) as fetcher:
        for track in read_rows(table, Track):
            target = io.BytesIO()
            with fetcher.fetched(track, tmp_path) as extent:
                assert extract(extent, track, target) == track.sha1
            assert target.getvalue() == sound


def test_what_cannot_be_read_is_reported_in_print(tmp_path: Path) -> None:
    name = os.fsdecode(b"latin\xe9.mp3")
    fill(tmp_path, {name: b"", "a.mp3": b"", "tracks.csv": b"path,title\n" + rb"./latin\xe9.mp3,T"})
    (tmp_path / os.fsdecode(b"\xe9.mp3")).symlink_to("nowhere")
    warnings: list[str] = []
    tracks = read_folder(tmp_path, warn=warnings.append)
    assert {track.member: track.title for track in tracks} == {
        "a.mp3": "a",
        r"./latin\xe9.mp3": "T",
    }
    assert warnings == [r"'\xe9.mp3' is left out: it is no file, or a link to none"]
    (tmp_path / name).unlink()
    with (
        Fetcher(Source(location=str(tmp_path), form="folder")) as fetcher,
        pytest.raises(
            SourceError, match=r"latin\\xe9\.mp3 was planned but cannot be found"
        ) as error,
        fetcher.fetched(tracks[1], tmp_path),
    ):
        pass
    assert str(error.value).isprintable()


def test_unreadable_files_stay_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fill(tmp_path, {"a.mp3": b"a", "b.mp3": b"bb"})
    (root / "b.mp3").chmod(0)
    if os.access(root / "b.mp3", os.R_OK):
        # Whoever runs this may read everything: have the disk refuse instead.
        real = hashlib.file_digest

        def refuse(stream: io.BufferedReader, kind: str) -> object:
            if stream.name.endswith("b.mp3"):
                raise PermissionError(13, "Permission denied")
            return real(stream, kind)

        monkeypatch.setattr(hashlib, "file_digest", refuse)
    warnings: list[str] = []
    tracks = read_folder(root, warn=warnings.append)
    assert [(track.bytes, track.sha1 is None) for track in tracks] == [(1, False), (2, True)]
    assert len(warnings) == 1 and "b.mp3 cannot be read (Permission denied)" in warnings[0]


def test_folders_without_audio_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no audio .*--set data\.root=DIR"):
        read_folder(fill(tmp_path, {"a.txt": b""}))
    with pytest.raises(DataError, match="is no folder"):
        read_folder(tmp_path / "a.txt")


def test_one_key_for_two_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEY_DIGITS", 0)
    with pytest.raises(DataError, match=r"a\.mp3 and b\.mp3 have one key"):
        read_folder(fill(tmp_path, {"a.mp3": b"a", "b.mp3": b"b"}))
