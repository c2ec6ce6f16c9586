"""Decoding: every loss is noticed, counted and named."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from storage.audio.decode import decode, decode_into
from storage.audio.decoders import files
from storage.audio.decoding import Decoding, Form, Hole, Length
from storage.errors import DecodeError
from tests.synthesised import RATE, Sound, as_file, good_mp3, holed, tune, untagged

LIMIT = 60.0


def refusal(data: bytes, limit: float = LIMIT) -> DecodeError:
    with pytest.raises(DecodeError, match=r"song\.mp3") as caught:
        decode(data, "song.mp3", limit)
    return caught.value


def test_a_whole_mp3_decodes_to_the_promised_frames() -> None:
    song = decode(good_mp3(), "song.mp3", LIMIT)
    assert song.waveform.dtype == np.float32
    assert (song.facts.channels, song.facts.frames, song.facts.sample_rate) == (2, 22 * RATE, RATE)
    assert song.facts.promised == Length(22 * RATE, "exact")
    assert (song.facts.frames_lost, song.facts.decode_errors, song.facts.stray_bytes) == (0, 0, 0)
    assert song.facts.decoder.startswith(f"soundfile {soundfile.__version__}/libsndfile ")
    assert song.facts.seconds == 22.0
    sound = tune(22.0)
    assert np.corrcoef(song.waveform[0], sound[0])[0, 1] > 0.99


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_other_formats_decode(kind: str) -> None:
    song = decode(as_file(tune(1.0), kind=kind), "song", LIMIT)
    assert (song.facts.channels, song.facts.frames, song.facts.frames_lost) == (2, RATE, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"no music at all" * 400, "not_audio"),
        (np.random.default_rng(1).bytes(20_000), "not_audio"),
        (good_mp3()[: len(good_mp3()) // 3], "truncated"),
        (good_mp3()[:3000], "truncated"),
        (as_file(tune(0.0), kind="WAV"), "zero_frames"),
    ],
    ids=["empty", "text", "noise", "third", "stub", "zero"],
)
def test_bad_files_are_refused_by_reason(data: bytes, reason: str) -> None:
    assert refusal(data).reason == reason


def test_a_truncated_song_is_described() -> None:
    assert "of a promised 22.0 s" in str(refusal(good_mp3()[: len(good_mp3()) // 3]))


def test_not_a_number_is_refused() -> None:
    sound = tune(0.1)
    sound[1, 7] = np.nan
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.T, RATE, format="WAV", subtype="FLOAT")
    assert refusal(buffer.getvalue()).reason == "nan"


@pytest.mark.parametrize("data", [good_mp3(), untagged(good_mp3())], ids=["tagged", "untagged"])
def test_too_long_is_refused_before_it_fills_the_memory(data: bytes) -> None:
    assert refusal(data, 20.0).reason == "too_long"


def test_bad_packets_are_skipped_and_counted() -> None:
    damaged = holed(good_mp3())
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.read(io.BytesIO(damaged))
    song = decode(damaged, "song.mp3", LIMIT)
    assert song.facts.decoder.startswith("av ")
    assert 0 < song.facts.frames_lost < RATE
    assert (song.facts.promised, song.facts.frames) == (Length(22 * RATE, "exact"), 22 * RATE)


def test_a_small_hole_that_soundfile_passes_over_is_counted_too() -> None:
    song = decode(holed(good_mp3(), 900), "song.mp3", LIMIT)
    assert song.facts.stray_bytes > 600
    assert song.facts.frames_lost > 1152


def test_an_untagged_mp3_is_held_against_its_packets() -> None:
    song = decode(untagged(good_mp3()), "song.mp3", LIMIT)
    assert song.facts.decoder.startswith("av ")
    assert abs(song.facts.frames - 22 * RATE) < 4 * 1152
    assert (song.facts.frames_lost, song.facts.decode_errors) == (0, 0)


def test_an_untagged_damaged_mp3_counts_its_loss() -> None:
    song = decode(holed(untagged(good_mp3())), "song.mp3", LIMIT)
    assert song.facts.frames_lost > 1152
    assert abs(song.facts.frames - 22 * RATE) < 4 * 1152


def test_damage_beyond_the_limit_is_truncation() -> None:
    data = good_mp3()
    ruined = holed(data, len(data) // 4)
    assert refusal(ruined).reason == "truncated"


def test_the_same_bytes_decode_to_the_same_samples() -> None:
    for data in (good_mp3(), holed(good_mp3())):
        first, second = (decode(data, "song.mp3", LIMIT) for _ in range(2))
        np.testing.assert_array_equal(first.waveform, second.waveform)


def test_libraries_do_not_chatter() -> None:
    """In a process of its own, as songs are decoded: hushing is for processes of one thread."""
    script = (
        "from contextlib import suppress\n"
        "from storage.audio.decode import decode\n"
        "from storage.errors import DecodeError\n"
        "from tests.synthesised import good_mp3, holed\n"
        "decode(holed(good_mp3()), 'song.mp3', 60.0)\n"
        "with suppress(DecodeError):\n"
        "    decode(good_mp3()[: len(good_mp3()) // 3], 'song.mp3', 60.0)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (answer.stdout, answer.stderr) == ("", "")


def test_losses_are_what_is_filled_and_what_is_missing() -> None:
    facts = Decoding(RATE, 1, "", Length(9), 10, 0, (Hole(2, 3), Hole(7, 1)), 5)
    assert (facts.frames_filled, facts.frames_lost) == (4, 9)
    assert Decoding(RATE, 1, "", Length(5, "exact"), 10).frames_lost == 0


class Collector:
    def __init__(self, form: Form) -> None:
        self.form, self.blocks = form, list[Sound]()

    def take(self, block: Sound) -> None:
        self.blocks.append(block.copy())


def stream(folder: Path, data: bytes, wanted: bool = True) -> tuple[Decoding, list[Collector]]:
    """Decode from a file; return what became of it, and all that it was handed to, in order."""
    path, begun = folder / "song", list[Collector]()
    path.write_bytes(data)

    def begin(form: Form) -> Collector | None:
        begun.append(Collector(form))
        return begun[-1] if wanted else None

    facts, sink = decode_into(path, "song", LIMIT, begin)
    assert (sink in begun) == wanted
    return facts, begun if sink is None else [*(b for b in begun if b is not sink), sink]


@pytest.mark.parametrize("data", [good_mp3(), untagged(good_mp3())], ids=["tagged", "untagged"])
def test_blocks_are_small_and_add_up_to_the_song(tmp_path: Path, data: bytes) -> None:
    facts, (sink,) = stream(tmp_path, data)
    assert max(block.shape[1] for block in sink.blocks) < 4 * RATE
    whole = decode(data, "song.mp3", LIMIT).waveform
    np.testing.assert_array_equal(np.concatenate(sink.blocks, axis=1), whole)
    assert (sink.form.sample_rate, sink.form.channels) == (facts.sample_rate, facts.channels)
    assert sink.form.decoder == facts.decoder


def test_reading_in_blocks_is_reading_at_once(tmp_path: Path) -> None:
    _, (sink,) = stream(tmp_path, good_mp3())
    at_once, _ = soundfile.read(io.BytesIO(good_mp3()), dtype="float32")
    np.testing.assert_array_equal(np.concatenate(sink.blocks, axis=1), at_once.T)


def test_a_song_that_turns_out_to_be_damaged_is_begun_twice(tmp_path: Path) -> None:
    """The bodies of some packets, not their headers: only decoding shows it."""
    data = bytearray(as_file(tune(6.0), kind="FLAC"))
    data[len(data) // 2] ^= 255
    facts, (other, best) = stream(tmp_path, bytes(data))
    frames = [sum(block.shape[1] for block in sink.blocks) for sink in (other, best)]
    assert facts.frames == frames[1] == 6 * RATE > frames[0]
    assert facts.decode_errors == len(facts.holes) == 1
    assert facts.decoder == best.form.decoder != other.form.decoder


def test_what_was_measured_is_kept_of_a_song_that_is_refused() -> None:
    facts = refusal(good_mp3()[: len(good_mp3()) // 3]).facts
    assert isinstance(facts, Decoding)
    assert (facts.sample_rate, facts.channels) == (RATE, 2)
    assert facts.promised == Length(22 * RATE, "exact")
    assert 7 * RATE < facts.frames < 8 * RATE
    assert abs(facts.frames + facts.frames_lost - 22 * RATE) <= 1152


def test_a_mono_mp3_does_not_depend_on_the_blocks_it_is_read_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """soundfile seeks behind each block, which changes the last bits of what follows in mono."""
    data = as_file(tune(6.0, channels=1))
    heard = []
    for block in (1 << 17, 1 << 14, 1152, 1000):
        monkeypatch.setattr(files, "BLOCK_FRAMES", block)
        heard.append(decode(data, "song.mp3", LIMIT).waveform.tobytes())
    assert len(set(heard)) == 1


@pytest.mark.parametrize("data", [good_mp3(), untagged(good_mp3())], ids=["tagged", "untagged"])
def test_what_nobody_wants_is_still_measured(tmp_path: Path, data: bytes) -> None:
    facts, (sink,) = stream(tmp_path, data, wanted=False)
    assert not sink.blocks
    assert (facts.sample_rate, facts.channels) == (RATE, 2)
    assert abs(facts.frames - 22 * RATE) < 4 * 1152


def test_names_of_other_files_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other.mp3").write_bytes(good_mp3())
    for text in ("#EXTM3U\n#EXTINF:9,\nother.mp3\n", "ffconcat version 1.0\nfile 'other.mp3'\n"):
        with pytest.raises(DecodeError) as caught:
            stream(tmp_path, text.encode())
        assert caught.value.reason == "not_audio"
