"""Loudness, against FFmpeg's meter, scipy's filters and the figures that the standards print."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import sosfilt

from pipelines.measures.loudness import GATE, KWeighting, Loudness, biquads
from tests.pipelines.measures.sounds import low_passed, measured, noise, sine
from tests.synthesised import RATE, Sound, tune

FRAME = re.compile(r"lavfi\.r128\.M=(\S+)")
INTEGRATED = re.compile(r"\bI: +(\S+) LUFS")


def ffmpeg(sound: Sound, rate: int, folder: Path) -> tuple[list[float], float]:
    """Return FFmpeg's momentary loudness every 100 ms, and its integrated loudness."""
    path = folder / "sound.wav"
    soundfile.write(path, sound.T, rate, subtype="FLOAT")
    meter = "ebur128=metadata=1,ametadata=print:key=lavfi.r128.M:file=-"
    answer = subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostats", "-i", str(path), "-af", meter, "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(one) for one in FRAME.findall(answer.stdout)], float(
        INTEGRATED.findall(answer.stderr)[-1]
    )


def swelling(rate: int) -> Sound:
    """Return 7 s of noise and tones that rise and fall by 50 dB, with a pause."""
    sound = noise(7, 0.2, rate=rate) + low_passed(noise(7, 0.5, 1, rate), 200, rate)
    time = np.arange(sound.shape[1]) / rate
    sound *= 10 ** (-(25 + 25 * np.cos(2 * np.pi * time / 5)) / 20)
    sound[:, 4 * rate : 5 * rate] = 0
    sound[0] *= 0.3
    return sound.astype(np.float32)


@pytest.mark.parametrize("rate", [44_100, 48_000, 32_000])
def test_it_is_what_ffmpeg_says(tmp_path: Path, rate: int) -> None:
    sound = swelling(rate)
    momentary, integrated = ffmpeg(sound, rate, tmp_path)
    measure = Loudness(rate)
    seconds = measured(measure, sound, rate)
    # The first block ends at 0.4 s; the tenth reading is that at 1 s.
    for second, found in enumerate(seconds):
        ends = momentary[max(3, 10 * second) : 10 * second + 10]
        assert found == pytest.approx(max(*ends, GATE), abs=0.11), second
    assert measure.whole()["loudness_lufs"] == pytest.approx(integrated, abs=0.11)


@pytest.mark.parametrize("rate", [44_100, 48_000, 11_025, 8000])
def test_the_filter_is_scipys_whatever_the_rate(rate: int) -> None:
    sound = noise(3.3, 0.3, rate=rate) + 0.2
    sections = np.array([[*one[:3], 1.0, *one[3:]] for one in biquads(rate)])
    expected = sosfilt(sections, sound.astype(np.float64))
    weighting = KWeighting(rate)
    parts = [weighting.take(sound[:, at : at + rate].T) for at in range(0, sound.shape[1], rate)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), expected, atol=2e-5)


def test_at_48_khz_the_coefficients_are_those_of_the_recommendation() -> None:
    """ITU-R BS.1770-4, tables 1 and 2."""
    shelf, high_pass = biquads(48_000)
    printed = (
        1.53512485958697,
        -2.69169618940638,
        1.19839281085285,
        -1.69065929318241,
        0.73248077421585,
    )
    np.testing.assert_allclose(shelf, printed, atol=1e-9)
    np.testing.assert_allclose(
        high_pass, (1.0, -2.0, 1.0, -1.99004745483398, 0.99007225036621), atol=1e-9
    )


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([(20, -23)], -23.0),
        ([(20, -33)], -33.0),
        ([(10, -36), (60, -23), (10, -36)], -23.0),
        ([(10, -72), (10, -36), (60, -23), (10, -36), (10, -72)], -23.0),
        ([(20, -26), (20.1, -20), (20, -26)], -23.0),
    ],
)
def test_the_first_cases_of_ebu_tech_3341(
    levels: list[tuple[float, float]], expected: float
) -> None:
    """Stereo sines of 1000 Hz at these peaks, for so long: -23 dBFS reads -23 LUFS."""
    parts = [sine(seconds, 1000, 10 ** (level / 20), 8000) for seconds, level in levels]
    measure = Loudness(8000)
    # At a low rate, whose shelf is the same within a tenth there: the cases last minutes.
    measured(measure, np.concatenate(parts, axis=1), 8000)
    assert measure.whole()["loudness_lufs"] == pytest.approx(expected, abs=0.2)


def test_silence_reads_the_gate() -> None:
    measure = Loudness(RATE)
    assert measured(measure, np.zeros((2, 2 * RATE), np.float32)) == [GATE, GATE]
    assert measure.whole() == {"loudness_lufs": GATE}


def test_what_is_shorter_than_a_block_reads_the_gate_and_a_rest_of_no_step_nothing() -> None:
    measure = Loudness(RATE)
    assert measured(measure, tune(0.3)) == [None]
    assert measure.whole() == {"loudness_lufs": GATE}
    assert measured(Loudness(RATE), tune(1.05))[1] is None
    assert measured(Loudness(RATE), tune(1.15))[1] is not None
