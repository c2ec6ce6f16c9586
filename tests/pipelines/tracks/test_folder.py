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
from storage.errors import DataError, ManifestError
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
    fill(root, {".git/b.mp3": b"", "sub/c.mp3": b"c", "bell\a.mp3": b""})
    outside = fill(tmp_path / "else", {"d.mp3": b"d"})
    (root / "out.mp3").symlink_to(outside / "d.mp3")
    (root / "in.mp3").symlink_to(root / "sub" / "c.mp3")
    (root / "broken.mp3").symlink_to(root / "none.mp3")
    (root / "linked").symlink_to(outside)
    os.mkfifo(root / "pipe.mp3")
    (root / os.fsdecode(b"latin\xe9.mp3")).write_bytes(b"")
    warnings: list[str] = []
    tracks = read_folder(root, warn=warnings.append)
    assert [track.member for track in tracks] == ["a.mp3", "in.mp3", "sub/c.mp3"]
    text = "\n".join(warnings)
    for words in (
        "'out.mp3' is left out: it is a link out of",
        "'broken.mp3' is left out: it is no file",
        "'pipe.mp3' is left out: it is no file",
        "'bell\\x07.mp3' is left out: its name cannot be written",
        r"'latin\udce9.mp3' is left out: its name cannot be written",
        "1 hidden files",
        "2 hidden or linked folders",
        "1 files that are no audio by their name",
    ):
        assert words in text
    assert len(warnings) == 8


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


def test_a_table_tells_better(tmp_path: Path) -> None:
    root = fill(tmp_path, {"a.mp3": b"a", "b/c.mp3": b"c", "d.mp3": b"d"})
    (root / "tracks.csv").write_text(
        "\ufeffpath,artist,title,licence,split\n"
        'a.mp3,"Ada, Bo",,CC BY,validation\nb/c.mp3,,Tune,,\nnone.mp3,x,x,x,test\n'
    )
    warnings: list[str] = []
    first, second, third = read_folder(root, warn=warnings.append)
    assert (first.artist, first.title, first.licence, first.split) == (
        "Ada, Bo", "a", "CC BY", "validation",
    )  # fmt: skip
    assert (second.artist, second.title, second.split) == ("b", "Tune", "training")
    assert (third.artist, third.title) == ("", "d")
    assert len(warnings) == 1 and "line 4 names 'none.mp3'" in warnings[0]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"path,license\na.mp3,x\n", "has the columns path, license; it may have path, artist"),
        (b"artist\nx\n", "must have path"),
        (b"", "must have path"),
        (b"path,artist\na.mp3\n", "line 2 does not have as many cells"),
        (b"path,artist\na.mp3,x,y\n", "line 2 does not have as many cells"),
        (b"path,split\na.mp3,train\n", r"tracks\.csv, a\.mp3: .*'train'"),
        (b"path\n\xff\xfe\n", "no readable table"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, table: bytes, words: str) -> None:
    root = fill(tmp_path, {"a.mp3": b"a", "tracks.csv": table})
    with pytest.raises(ManifestError, match=words):
        read_folder(root)


def test_folders_without_audio_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no audio .*--set data\.root=DIR"):
        read_folder(fill(tmp_path, {"a.txt": b""}))
    with pytest.raises(DataError, match="is no folder"):
        read_folder(tmp_path / "a.txt")


def test_one_key_for_two_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEY_DIGITS", 0)
    with pytest.raises(DataError, match=r"a\.mp3 and b\.mp3 have one key"):
        read_folder(fill(tmp_path, {"a.mp3": b"a", "b.mp3": b"b"}))
