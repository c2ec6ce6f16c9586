"""Tracks that are the same bytes: found by their sha1, before any audio is read."""

from collections.abc import Sequence

from storage.records import Track


def mark_duplicates(tracks: Sequence[Track]) -> list[Track]:
    """Return tracks in their order, each but the first of its bytes naming that first one.

    The first by id stays. Tracks without a sha1 are no duplicates, nor are empty ones: they are
    damage, and each is reported as that.
    """
    first: dict[str, str] = {}
    for track in sorted(tracks, key=lambda track: track.id):
        if track.sha1 is not None and track.bytes:
            first.setdefault(track.sha1, track.id)
    return [_marked(track, first.get(track.sha1 or "", track.id)) for track in tracks]


def _marked(track: Track, first: str) -> Track:
    if first == track.id or not track.bytes:
        return track
    return track.model_copy(update={"duplicate_of": first})
