"""Recordings whose every second is told from all others, in many formats: made by ffmpeg, once."""

import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from storage.audio.waveforms import Waveform
from tests.synthesised import RATE, Sound, as_file

SECONDS = 6
LOSSY_DELAY = 4800
"""Frames by which a recording may be early or late as a whole: encoders put silence before it."""
ALIKE = 0.7
"""Correlation from which a second is recognised: lossy coders keep more of it than that."""


@cache
def mark(number: int, rate: int = RATE) -> Sound:
    """Return [frames]: noise up to 3 kHz, another for each number."""
    # Made of frequencies, so that it is the same sound at every rate.
    spectrum = np.zeros(rate // 2 + 1, complex)
    real, imaginary = np.random.default_rng(number).normal(0, 1, (2, 2950))
    spectrum[50:3000] = real + 1j * imaginary
    noise = np.fft.irfft(spectrum, rate)
    sound: Sound = (0.1 * noise / noise.std()).astype(np.float32)
    return sound


def marked(numbers: Iterable[int], channels: int = 2, rate: int = RATE) -> Sound:
    """Return [channels, frames], a second for each number."""
    mono = np.concatenate([mark(number, rate) for number in numbers])
    return np.repeat(mono[None], channels, axis=0)


class Heard(NamedTuple):
    """What was recognised in a second."""

    likeness: float
    """Correlation with the mark that belongs there."""
    late: int
    """Frames after its time."""


def heard(waveform: Waveform, number: int, second: int, rate: int = RATE) -> Heard:
    """Look for a mark around the second in which it belongs."""
    wanted = mark(number, rate)
    start = second * rate - LOSSY_DELAY
    near = np.zeros(rate + 2 * LOSSY_DELAY)
    first, last = max(0, start), min(waveform.shape[1], start + len(near))
    if last > first:
        near[first - start : last - start] = waveform[:, first:last].mean(axis=0)
    size = 1 << (len(near) + rate).bit_length()
    product = np.fft.irfft(np.fft.rfft(near, size) * np.conj(np.fft.rfft(wanted, size)), size)
    late = int(product[: 2 * LOSSY_DELAY + 1].argmax())
    part = near[late : late + rate]
    power = np.sqrt(np.vdot(part, part) * np.vdot(wanted, wanted))
    return Heard(float(product[late] / power) if power else 0.0, late - LOSSY_DELAY)


def ffmpeg(arguments: Iterable[str], suffix: str, sound: bytes) -> bytes:
    """Let ffmpeg encode a WAV as a file of this suffix, on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"made{suffix}"
        command = ["ffmpeg", "-v", "error", "-threads", "1", "-i", "-", *arguments, str(path)]
        subprocess.run(command, input=sound, check=True)
        return path.read_bytes()


def piped(arguments: Iterable[str], sound: bytes) -> bytes:
    """Let ffmpeg encode a WAV into a pipe, where it cannot go back to write lengths."""
    command = ["ffmpeg", "-v", "error", "-threads", "1", "-i", "-", *arguments, "-"]
    return subprocess.run(command, input=sound, check=True, capture_output=True).stdout


def by_ffmpeg(data: bytes, rate: int = RATE, channels: int = 2) -> Waveform:
    """Decode with the ffmpeg program, which is not the library that is tested."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        form = ["-f", "f32le", "-ac", str(channels), "-ar", str(rate)]
        command = ["ffmpeg", "-v", "quiet", "-threads", "1", "-i", file.name, "-map", "0:a:0"]
        answer = subprocess.run([*command, *form, "-"], capture_output=True, check=False)
    return np.frombuffer(answer.stdout, np.float32).reshape(-1, channels).T


MP3 = ("-c:a", "libmp3lame")
UNTAGGED = ("-write_xing", "0", "-id3v2_version", "0")
FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    "mp3": (".mp3", (*MP3, "-b:a", "128k")),
    "mp3 vbr": (".mp3", (*MP3, "-q:a", "4")),
    "mp3 untagged": (".mp3", (*MP3, "-b:a", "128k", *UNTAGGED)),
    "mp3 vbr untagged": (".mp3", (*MP3, "-q:a", "4", *UNTAGGED)),
    "mp2": (".mp2", ("-c:a", "mp2")),
    "adts": (".aac", ("-c:a", "aac", "-q:a", "1")),
    "loas": (".loas", ("-c:a", "aac", "-f", "latm")),
    "ac3": (".ac3", ("-c:a", "ac3")),
    "eac3": (".eac3", ("-c:a", "eac3")),
    "wav": (".wav", ("-c:a", "pcm_s16le")),
    "wav float": (".wav", ("-c:a", "pcm_f32le")),
    "wav adpcm": (".wav", ("-c:a", "adpcm_ms")),
    "rf64": (".wav", ("-c:a", "pcm_s16le", "-rf64", "always")),
    "w64": (".w64", ("-c:a", "pcm_s16le")),
    "aiff": (".aiff", ("-c:a", "pcm_s16be")),
    "au": (".au", ("-c:a", "pcm_s16be")),
    "caf": (".caf", ("-c:a", "pcm_s16le")),
    "flac": (".flac", ("-c:a", "flac")),
    "vorbis": (".ogg", ("-c:a", "libvorbis")),
    "opus": (".opus", ("-c:a", "libopus")),
    "ogg flac": (".oga", ("-c:a", "flac")),
    "m4a": (".m4a", ("-c:a", "aac", "-movflags", "+faststart")),
    "alac": (".m4a", ("-c:a", "alac", "-movflags", "+faststart")),
    "matroska": (".mka", ("-c:a", "aac")),
    "ts": (".ts", ("-c:a", "aac")),
    "flv": (".flv", ("-c:a", "aac")),
    "avi": (".avi", ("-c:a", "libmp3lame")),
    "wma": (".wma", ("-c:a", "wmav2")),
    "wv": (".wv", ("-c:a", "wavpack")),
    "tta": (".tta", ("-c:a", "tta")),
}
"""Suffix and arguments of each format."""


@cache
def recording(form: str, first: int = 0, seconds: int = SECONDS) -> bytes:
    """Return marks `first`, `first` + 1, ... in a format."""
    suffix, arguments = FORMATS[form]
    sound = marked(range(first, first + seconds))
    # ffmpeg's Opus is always at 48 kHz.
    return ffmpeg(arguments, suffix, as_file(sound, kind="WAV"))


def overwritten(data: bytes, share: float, at: float = 0.5, seed: int = 0) -> bytes:
    """Return a file with random bytes over a share of it, beginning at a place between 0 and 1."""
    start, count = round(len(data) * at), round(len(data) * share)
    return data[:start] + np.random.default_rng(seed).bytes(count) + data[start + count :]
