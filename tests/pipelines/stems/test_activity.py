"""Activity: equal to a plain transcription of the authors' procedure, for each statistic."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.config import ActivityConfig
from pipelines.stems.activity import chunk_energies, detect
from storage.audio.waveforms import Waveform, read_window
from storage.errors import ConfigError
from storage.home.layout import Home
from storage.manifests import read_rows
from storage.records import ActiveWindows, StemSong
from tests.synthesised import write_audio

RATE = 1000
"""Hz: the procedure knows seconds alone, and a low rate makes it quick to try."""

STEMS = ("bass", "drums", "other", "vocals")


def oracle(sound: Waveform, rate: int, statistic: str = "sum") -> list[int]:
    """The authors' steps, one by one: 8 s segments, half overlapped, ten chunks each."""
    segment, hop, count = 8 * rate, 4 * rate, 10
    segment = min(segment, sound.shape[1])
    segments = []
    position = 0
    while position + segment <= sound.shape[1]:
        segments.append((position, sound[:, position : position + segment]))
        position += hop
    energies = []
    for _, piece in segments:
        row = []
        for chunk in range(count):
            samples = piece[:, chunk * segment // count : (chunk + 1) * segment // count]
            energy = float((samples.astype(np.float64) ** 2).sum())
            if statistic != "sum":
                energy /= samples.size
            if statistic == "rms":
                energy = energy**0.5
            row.append(1e-5 if energy == 0 else energy)
        energies.append(row)
    limit = np.quantile(np.array(energies).reshape(-1), 0.15)
    limit = max(limit, 1e-3)
    kept = []
    for (start, _), row in zip(segments, energies, strict=True):
        if sum(energy > limit for energy in row) >= 5:
            kept.append(start)
    return kept


def song_of(home: Home, stems: dict[str, Waveform], split: str = "train") -> StemSong:
    folder = home.root / "songs" / f"song {split}"
    for stem in STEMS:
        write_audio(folder / f"{stem}.wav", stems[stem], RATE)
    frames = stems["bass"].shape[1]
    return StemSong.model_validate(
        {
            "name": f"A - {split}",
            "split": split,
            "folder": home.relative(folder),
            "frames": frames,
            "sample_rate": RATE,
        }
    )


def bursts(frames: int, seed: int) -> Waveform:
    """Noise whose level changes each 0.7 s, silence among the levels."""
    rng = np.random.default_rng(seed)
    levels = rng.choice([0.0, 1e-4, 1e-3, 0.05, 0.3], frames // 700 + 1).repeat(700)[:frames]
    sound: Waveform = (rng.normal(0, 1, (2, frames)) * levels).astype(np.float32)
    return sound


@pytest.mark.parametrize("statistic", ["sum", "mean", "rms"])
@pytest.mark.parametrize("seconds", [5.0, 8.0, 11.9, 12.0, 61.3])
def test_windows_are_the_authors(tmp_path: Path, statistic: str, seconds: float) -> None:
    home = Home(tmp_path)
    frames = round(seconds * RATE)
    stems = {stem: bursts(frames, seed) for seed, stem in enumerate(STEMS)}
    song = song_of(home, stems)
    config = ActivityConfig.parse({"statistic": statistic})
    rows = detect(home, [song], config, tmp_path / "activity.jsonl")
    assert rows == read_rows(tmp_path / "activity.jsonl", ActiveWindows)
    assert [row.stem for row in rows] == list(STEMS)
    for row in rows:
        assert list(row.starts) == oracle(stems[row.stem], RATE, statistic)
        assert row.window == min(8 * RATE, frames)
        for start in row.starts:
            folder = home.path(song.folder)
            assert read_window(folder / f"{row.stem}.wav", start, row.window).shape[0] == 2


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), frames=st.integers(100, 40_000))
def test_windows_are_the_authors_for_any_song(
    seed: int, frames: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("song")
    home = Home(folder)
    stems = dict.fromkeys(STEMS, bursts(frames, seed))
    rows = detect(home, [song_of(home, stems)], ActivityConfig(), folder / "activity.jsonl")
    assert list(rows[0].starts) == oracle(stems["bass"], RATE)


def test_silence_is_never_active(tmp_path: Path) -> None:
    home = Home(tmp_path)
    stems = {stem: bursts(20_000, 1) for stem in STEMS}
    stems["vocals"] = np.zeros((2, 20_000), np.float32)
    rows = detect(home, [song_of(home, stems)], ActivityConfig(), tmp_path / "activity.jsonl")
    assert {row.stem: bool(row.starts) for row in rows}["vocals"] is False


def test_only_training_songs_are_looked_at(tmp_path: Path) -> None:
    home = Home(tmp_path)
    stems = {stem: bursts(9000, 2) for stem in STEMS}
    songs = [song_of(home, stems, split) for split in ("train", "validation", "test")]
    rows = detect(home, songs, ActivityConfig(), tmp_path / "activity.jsonl")
    assert {row.song for row in rows} == {"A - train"}


def test_contradictory_settings_are_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    song = song_of(home, {stem: bursts(9000, 2) for stem in STEMS})
    config = ActivityConfig(keep_chunks=11)
    with pytest.raises(ConfigError, match="cannot keep 11 of 10 chunks"):
        detect(home, [song], config, tmp_path / "activity.jsonl")


@pytest.mark.parametrize("more", [0, 1, 3999, 4000, 4001, 7999])
def test_windows_end_within_their_song(tmp_path: Path, more: int) -> None:
    """All of one level but for an instant, above which every other chunk is active."""
    frames = 8 * RATE + more
    sound = np.full((2, frames), 0.1, np.float32)
    rows = detect(
        Home(tmp_path),
        [song_of(Home(tmp_path), dict.fromkeys(STEMS, sound))],
        ActivityConfig(quantile=0, floor=0.1),
        tmp_path / "activity.jsonl",
    )
    assert list(rows[0].starts) == [start for start in (0, 4000) if start + 8000 <= frames]


def test_a_chunk_as_loud_as_the_threshold_is_not_active(tmp_path: Path) -> None:
    home = Home(tmp_path)
    sound = np.full((2, 8 * RATE), 0.25, np.float32)
    song = song_of(home, dict.fromkeys(STEMS, sound))
    each = 0.25**2 * 2 * 0.8 * RATE
    for floor, starts in ((each, ()), (np.nextafter(each, 0), ())):
        # The quantile of equal energies is that energy.
        config = ActivityConfig(floor=float(floor))
        assert detect(home, [song], config, tmp_path / "a.jsonl")[0].starts == starts


def test_silence_counts_as_the_energy_that_stands_in_for_it() -> None:
    sound = np.zeros((2, 40), np.float32)
    sound[0, 5] = 0.5
    config = ActivityConfig(chunks=4, keep_chunks=1)
    energies = chunk_energies(sound, [0], 40, config)
    assert energies.tolist() == [[0.25, 1e-5, 1e-5, 1e-5]]


def test_the_least_window_has_a_frame_for_each_chunk(tmp_path: Path) -> None:
    home = Home(tmp_path)
    song = song_of(home, dict.fromkeys(STEMS, bursts(9000, 2)))

    def found(window: float, hop: float) -> int:
        config = ActivityConfig(window_seconds=window, hop_seconds=hop)
        return detect(home, [song], config, tmp_path / "activity.jsonl")[0].window

    assert found(0.010, 0.001) == 10
    for window, hop in ((0.009, 0.001), (0.010, 0.0004)):
        with pytest.raises(ConfigError, match=f"hop {round(hop * RATE)}"):
            found(window, hop)
