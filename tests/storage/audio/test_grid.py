"""Formats x damages against what ffmpeg's own decoding gives: what is kept is kept in its place."""

import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from storage.audio.decode import Decoded, decode, decode_into
from storage.audio.decoding import Decoding, Form, Length
from storage.audio.waveforms import Waveform
from storage.errors import DecodeError
from tests.pipelines.packing.damage import claiming, id3
from tests.storage.audio.marked import (
    ALIKE,
    FORMATS,
    LOSSY_DELAY,
    SECONDS,
    by_ffmpeg,
    ffmpeg,
    heard,
    marked,
    overwritten,
    piped,
    recording,
)
from tests.synthesised import RATE, as_file

PACKET = 4096
"""Frames by which two decoders may differ at an end: a packet of any of these codecs, or two."""
FRAMED = ("mp3 untagged", "mp2", "adts", "loas", "ac3", "eac3")
CHUNKED = ("wav", "rf64", "w64", "aiff", "au", "caf")
OGG = ("vorbis", "opus", "ogg flac")
NOISE = np.random.default_rng(1).bytes(100_000)


class Kept:
    def __init__(self, form: Form) -> None:
        self.form, self.blocks = form, list[Waveform]()

    def take(self, block: Waveform) -> None:
        self.blocks.append(block.copy())


def whatever_is_left(folder: Path, data: bytes) -> Decoded:
    """Decode however much is lost, as separation does."""
    path = folder / "song"
    path.write_bytes(data)
    facts, sink = decode_into(path, "song", 60.0, Kept, maximum_loss=1.0)
    assert sink
    return Decoded(np.concatenate(sink.blocks, axis=1), facts)


def found(song: Decoded, seconds: Sequence[int | None]) -> list[int | None]:
    """Return the marks that are heard in their seconds; None where they are not."""
    rate = song.sample_rate
    late = [
        heard(song.waveform, number, second, rate)
        for second, number in enumerate(seconds)
        if number is not None
    ]
    assert {abs(one.late - late[0].late) <= 64 for one in late if one.likeness > ALIKE} == {True}
    likeness = iter(late)
    return [
        number if number is not None and next(likeness).likeness > ALIKE else None
        for number in seconds
    ]


ALL = list(range(SECONDS))


@pytest.mark.parametrize("form", FORMATS)
def test_whole_recordings_are_whole(form: str) -> None:
    data = recording(form)
    song = decode(data, "song", 60.0)
    facts = song.facts
    assert found(song, ALL) == ALL
    assert (facts.frames_lost, facts.decode_errors, facts.stray_bytes) == (0, 0, 0)
    assert abs(facts.frames - by_ffmpeg(data, song.sample_rate).shape[1]) <= 1
    if facts.promised.certainty == "exact":
        assert abs(facts.frames - facts.promised.frames) <= 1024


@pytest.mark.parametrize("form", ["mp3", "mp3 vbr", *CHUNKED, "flac", "m4a", "alac", "wv", "tta"])
def test_cut_recordings_of_an_exact_length_are_truncated(form: str) -> None:
    data = recording(form)
    with pytest.raises(DecodeError, match=r"s of a promised 6\.0 s decode") as caught:
        decode(data[: len(data) // 2], "song", 60.0)
    facts = caught.value.facts
    assert isinstance(facts, Decoding)
    assert caught.value.reason == "truncated"
    assert facts.promised.certainty == "exact"
    whole = facts.frames + facts.frames_missing
    assert abs(whole - SECONDS * facts.sample_rate) <= PACKET
    assert 0.3 < facts.frames / whole < 0.55


@pytest.mark.parametrize("form", [*FRAMED, *OGG, "ts", "flv", "matroska", "avi"])
def test_cut_recordings_that_never_said_how_long_they_are_are_kept(form: str) -> None:
    data = recording(form)[: len(recording(form)) // 2]
    song = decode(data, "song", 60.0)
    assert song.facts.promised.certainty in ("unknown", "estimated")
    assert song.facts.frames_lost <= PACKET
    assert abs(song.facts.frames - by_ffmpeg(data, song.sample_rate).shape[1]) <= PACKET
    assert found(song, ALL[:1]) == ALL[:1]


HOLES = ["mp3", "mp3 vbr", *FRAMED, "flac", *OGG, "m4a", "alac", "ts", "flv", "wv", "tta"]


@pytest.mark.parametrize("form", HOLES)
def test_what_follows_a_hole_stays_in_time(tmp_path: Path, form: str) -> None:
    data = overwritten(recording(form), 0.02, 0.4)
    song = whatever_is_left(tmp_path, data)
    facts, rate = song.facts, song.sample_rate
    heard_again = found(song, ALL)
    assert heard_again[0] == 0
    assert heard_again[-2:] == ALL[-2:]
    assert facts.holes
    assert 0.08 * rate < facts.frames_lost < 2.1 * rate
    for hole in facts.holes:
        assert not song.waveform[:, hole.start + 64 : hole.start + hole.frames - 64].any()
        assert 0.9 * rate < hole.start < 3.0 * rate
    # What ffmpeg decodes is what was kept; only the silence is ours.
    assert abs(facts.frames - facts.frames_filled - by_ffmpeg(data, rate).shape[1]) <= 2 * rate
    assert abs(facts.frames - decode(recording(form), "song", 60.0).facts.frames) <= PACKET


@pytest.mark.parametrize("form", ["mp3", *FRAMED, "flac", *OGG])
def test_a_fifth_overwritten_is_too_much(form: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(overwritten(recording(form), 0.2, 0.4), "song", 60.0)
    assert caught.value.reason == "truncated"
    facts = caught.value.facts
    assert isinstance(facts, Decoding)
    assert 1.0 < facts.frames_lost / facts.sample_rate < 3.2


@pytest.mark.parametrize("form", ["mp3", "mp3 vbr", *FRAMED, *CHUNKED, "flac", *OGG, "ts"])
def test_two_recordings_joined_are_both_kept(form: str) -> None:
    data = recording(form) + recording(form, SECONDS)
    song = decode(data, "song", 60.0)
    numbers = list(range(2 * SECONDS))
    # The second begins behind the padding of the first.
    late = [heard(song.waveform, n, n, song.sample_rate) for n in numbers]
    assert min(one.likeness for one in late) > ALIKE
    assert abs(song.facts.seconds - 2 * SECONDS) < 0.2
    assert song.facts.frames_lost == 0


@pytest.mark.parametrize("form", ["mp3", "mp3 vbr untagged", *FRAMED, *CHUNKED, "flac", *OGG])
def test_data_behind_the_sound_is_no_sound(form: str) -> None:
    whole = decode(recording(form), "song", 60.0).facts
    song = decode(recording(form) + NOISE, "song", 60.0).facts
    assert (song.frames, song.frames_lost) == (whole.frames, 0)
    assert song.stray_bytes > 0.9 * len(NOISE)


@pytest.mark.parametrize("form", ["mp3", "mp3 vbr untagged", *FRAMED])
def test_data_before_the_sound_is_no_sound(form: str) -> None:
    whole = decode(recording(form), "song", 60.0).facts
    song = decode(NOISE[:5000] + recording(form), "song", 60.0).facts
    assert (song.frames, song.frames_lost) == (whole.frames, 0)
    assert song.stray_bytes >= 5000


class Case(NamedTuple):
    """An odd recording, and its right answer."""

    data: Callable[[], bytes]
    promised: Length | None = None
    """None where it is not the point."""
    seconds: tuple[int, ...] = tuple(ALL)
    """The marks that are heard, second by second."""


def patched(form: str, mark: bytes, changes: dict[int, tuple[str, float]]) -> bytes:
    """Return a recording, sizes in its header multiplied: positions from the mark, by form."""
    data = bytearray(recording(form))
    at = data.index(mark)
    for offset, (kind, factor) in changes.items():
        place = at + offset if offset else 4
        (size,) = struct.unpack_from(kind, data, place)
        struct.pack_into(kind, data, place, round(size * factor) // 4 * 4)
    return bytes(data)


def flac_claiming(share: float) -> bytes:
    data = recording("flac")
    facts, total = int.from_bytes(data[18:26], "big"), round(SECONDS * RATE * share)
    return data[:18] + (facts >> 36 << 36 | total).to_bytes(8, "big") + data[26:]


def mp3_claiming(share: float) -> bytes:
    return claiming(recording("mp3"), share)


def free_format() -> bytes:
    """Return packets of one size, whose headers do not state a bit rate."""
    arguments = (*FORMATS["mp3 untagged"][1], "-ar", "48000")
    data = bytearray(ffmpeg(arguments, ".mp3", as_file(marked(ALL), kind="WAV")))
    for at in range(0, len(data) - 3, 384):
        data[at + 2] &= 0x0F
    return bytes(data)


def one_second_of_mono(form: str) -> bytes:
    suffix, arguments = FORMATS[form]
    return ffmpeg(arguments, suffix, as_file(marked([9], 1), kind="WAV"))


def ape(content: bytes) -> bytes:
    return content + b"APETAGEX" + struct.pack("<IIII", 2000, len(content) + 32, 1, 0) + bytes(8)


LYRICS = b"LYRICSBEGIN" + b"la " * 300 + b"000911LYRICS200" + b"TAG" + b"x" * 125
UNTAGGED = partial(recording, "mp3 untagged")
CASES: dict[str, Case] = {
    "a WAV that says half": Case(
        lambda: patched("wav", b"data", {0: ("<I", 0.5), 4: ("<I", 0.5)}),
        Length(SECONDS * RATE // 2, "exact"),
    ),
    "a WAV that says nothing": Case(
        lambda: patched("wav", b"data", {0: ("<I", 0), 4: ("<I", 0)}), Length()
    ),
    "a WAV from a pipe": Case(
        lambda: piped(["-f", "wav"], as_file(marked(ALL), kind="WAV")), Length()
    ),
    "an AU that says half": Case(
        lambda: patched("au", b".snd", {8: (">I", 0.5)}), Length(SECONDS * RATE // 2, "exact")
    ),
    "a FLAC that says half": Case(lambda: flac_claiming(0.5), Length(SECONDS * RATE // 2, "exact")),
    "a FLAC that says nothing": Case(lambda: flac_claiming(0), Length()),
    "a FLAC from a pipe": Case(
        lambda: piped(["-f", "flac"], as_file(marked(ALL), kind="WAV")), Length()
    ),
    **{
        f"an MP3 whose count is {share} of its packets": Case(partial(mp3_claiming, share))
        for share in (0.1, 0.5, 0.97, 1.02, 3, 10)
    },
    "free format": Case(free_format, Length()),
    "mono before stereo": Case(
        lambda: one_second_of_mono("mp3 untagged") + UNTAGGED(), seconds=(9, *ALL)
    ),
    "AAC, mono before stereo": Case(
        lambda: one_second_of_mono("adts") + recording("adts"), seconds=(9, *ALL)
    ),
    "an ID3 tag longer than the file": Case(lambda: id3((1 << 28) - 1) + UNTAGGED()),
    "an ID3 tag that claims half of the file": Case(lambda: id3(40_000) + UNTAGGED()),
    "an ID3 tag that claims too little": Case(lambda: id3(10, NOISE[:3000]) + UNTAGGED()),
    "zeros behind an ID3 tag": Case(lambda: id3(1000, bytes(1000)) + bytes(9000) + UNTAGGED()),
    "words that are no tags": Case(
        lambda: id3(3000, b"Encoder Info: Xing VBRI".ljust(3000)) + UNTAGGED(), Length()
    ),
    "an APE tag": Case(lambda: UNTAGGED() + ape(NOISE * 6), Length()),
    "an APE tag behind layer II": Case(lambda: recording("mp2") + ape(NOISE * 6), Length()),
    "an APE tag behind AAC": Case(lambda: recording("adts") + ape(NOISE * 6), Length()),
    "lyrics between two songs": Case(
        lambda: UNTAGGED() + LYRICS + UNTAGGED(), seconds=(*ALL, *ALL)
    ),
    "MP3 in WAV": Case(
        lambda: ffmpeg(("-c:a", "libmp3lame"), ".wav", as_file(marked(ALL), kind="WAV"))
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_odd_recordings_are_whole(name: str) -> None:
    case = CASES[name]
    song = decode(case.data(), "song", 60.0)
    late = [heard(song.waveform, n, k, song.sample_rate) for k, n in enumerate(case.seconds)]
    assert min(one.likeness for one in late) > ALIKE
    assert max(one.late for one in late) < LOSSY_DELAY
    assert song.facts.frames_lost == 0
    assert song.facts.channels == 2
    if case.promised is not None:
        assert song.facts.promised == case.promised


def test_a_count_that_the_packets_contradict_is_said_as_it_is() -> None:
    for share in (0.5, 3):
        facts = decode(claiming(recording("mp3"), share), "song", 60.0).facts
        assert facts.promised.certainty == "estimated"
        assert abs(facts.promised.frames / (SECONDS * RATE) - share) < 0.02


def test_a_chain_of_two_rates_is_of_the_first_ones_rate() -> None:
    arguments = (*FORMATS["vorbis"][1], "-ar", "48000")
    other = ffmpeg(arguments, ".ogg", as_file(marked([7, 8]), kind="WAV"))
    song = decode(recording("vorbis") + other, "song", 60.0)
    assert song.sample_rate == RATE
    assert found(song, [*ALL, 7, 8]) == [*ALL, 7, 8]
