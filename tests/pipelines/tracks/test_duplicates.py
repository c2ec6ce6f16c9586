"""Tracks that are the same bytes."""

from pipelines.tracks.duplicates import mark_duplicates
from storage.records import Track


def test_the_first_by_id_keeps_its_place() -> None:
    def track(id: str, sha1: str | None, size: int = 1) -> Track:
        return Track(id=id, member=id, bytes=size, sha1=sha1)

    tracks = [
        track("3", "a"), track("1", "a"), track("2", "b"), track("4", "a"),
        track("5", None), track("6", None), track("7", "e", 0), track("8", "e", 0),
    ]  # fmt: skip
    marked = mark_duplicates(tracks)
    assert [track.id for track in marked] == [track.id for track in tracks]
    assert [track.duplicate_of for track in marked] == ["1", "", "", "1", "", "", "", ""]
