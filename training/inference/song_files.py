"""Songs on disk while they are separated: read in parts, written piece by piece."""

import contextlib
import logging
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import soundfile
import soxr

from storage.audio.decode import decode_into
from storage.audio.decoding import Decoding, Form
from storage.audio.wav_headers import clear_peak_time
from storage.audio.waveforms import Waveform
from storage.errors import ConfigError, DecodeError, MachineError
from storage.files import arriving
from storage.names.file_names import file_names
from storage.names.spelling import library_path, printable

LONGEST_SECONDS = 24 * 3600.0
"""Of a song. Only the disk bounds it; a header that promises more is damaged."""
BLOCK = 1 << 17
"""Frames resampled at a time."""
LISTED_HOLES = 3
"""Places of a damaged song that a warning names."""
WAV_BYTES = 4_000_000_000
"""Beyond this a WAV's 32-bit sizes end, and RF64 begins."""

Format = Literal["wav", "wav24", "flac"]
SUBTYPES = {"wav": ("WAV", "FLOAT"), "wav24": ("WAV", "PCM_24"), "flac": ("FLAC", "PCM_24")}
SAMPLE_BYTES = {"FLOAT": 4, "PCM_24": 3}

logger = logging.getLogger(__name__)


class StagingFile:
    """A song as raw float32 in a nameless file, so that no more of it than asked for is held."""

    def __init__(self, folder: Path, sample_rate: int, channels: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.sample_rate, self.channels, self.frames = sample_rate, channels, 0
        self._square_C = np.zeros(channels)
        self._stream = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        # A damaged song begins a second staging file; only the garbage collector closes the first.
        weakref.finalize(self, self._stream.close)

    def take(self, block: Waveform) -> None:
        """Append [channels, frames]."""
        self._stream.write(np.ascontiguousarray(block.T, np.float32).tobytes())
        self._square_C += np.square(block, dtype=np.float64).sum(axis=1)
        self.frames += block.shape[1]

    def read(self, start: int, frames: int) -> Waveform:
        """Return [channels, frames]; fewer where the song ends."""
        self._stream.seek(4 * self.channels * start)
        data = self._stream.read(4 * self.channels * frames)
        return np.frombuffer(data, np.float32).reshape(-1, self.channels).T

    def blocks(self) -> Iterator[Waveform]:
        """Yield the song from its beginning, [channels, frames] at a time."""
        for start in range(0, self.frames, BLOCK):
            yield self.read(start, BLOCK)

    @property
    def mean_square(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Of each channel."""
        return self._square_C / max(1, self.frames)


def read_song(path: Path, folder: Path) -> StagingFile:
    """Decode a file of any format that soundfile or FFmpeg knows; what it holds is spooled.

    Raises:
        DecodeError: the file is missing, unreadable, damaged, no audio, or not of numbers.
    """
    if not path.is_file():
        raise DecodeError(
            f"song {printable(path)} cannot be read (there is no such file); check the path"
        )
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise DecodeError(
            f"song {printable(path)} cannot be read ({error.strerror}); check the path"
        ) from error

    def begin(form: Form) -> StagingFile:
        return StagingFile(folder, form.sample_rate, form.channels)

    facts, staging = decode_into(path, printable(path), LONGEST_SECONDS, begin, maximum_loss=1.0)
    assert staging
    if damage := _damage(facts):
        logger.warning("song %s is damaged: %s", printable(path), damage)
    return staging


def _damage(facts: Decoding) -> str:
    """Describe what of a song was lost; empty where nothing was."""
    rate = facts.sample_rate
    said = []
    if facts.holes:
        places = [
            f"{hole.frames / rate:.2f} s at {hole.start / rate:.1f} s" for hole in facts.holes
        ]
        more = (
            f" and at {len(places) - LISTED_HOLES} more places"
            if len(places) > LISTED_HOLES
            else ""
        )
        said.append(f"silence fills {', '.join(places[:LISTED_HOLES])}{more}")
    if facts.frames_missing:
        said.append(
            f"its last {facts.frames_missing / rate:.2f} s are missing, so that its stems last "
            f"{facts.seconds:.2f} s"
        )
    return "; ".join(said)


def resampled(song: StagingFile, sample_rate: int, folder: Path) -> StagingFile:
    """Return the song at another rate (soxr HQ); the song itself where it is at that rate."""
    if song.sample_rate == sample_rate:
        return song
    staging = StagingFile(folder, sample_rate, song.channels)
    for block in resample(song.blocks(), song.sample_rate, sample_rate):
        staging.take(block)
    if not staging.frames:
        # A song of a sample or two may resample to none.
        staging.take(np.zeros((song.channels, 1), np.float32))
    return staging


def resample(blocks: Iterator[Waveform], rate: int, wanted: int) -> Iterator[Waveform]:
    """Resample [channels, frames] piece by piece, as if it were done at once."""
    stream: soxr.ResampleStream | None = None
    channels = 0
    for block in blocks:
        channels = len(block)
        stream = stream or soxr.ResampleStream(rate, wanted, channels, "float32", "HQ")
        yield stream.resample_chunk(np.ascontiguousarray(block.T)).T
    if stream:
        yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True).T


class Shape(NamedTuple):
    """What every stem of a song is written as."""

    sample_rate: int
    channels: int
    frames: int
    format: Format

    @property
    def suffix(self) -> str:
        """Of the file's name."""
        return ".flac" if self.format == "flac" else ".wav"

    @property
    def bytes(self) -> int:
        """Of one stem, about; of FLAC at most."""
        return self.frames * self.channels * SAMPLE_BYTES[SUBTYPES[self.format][1]]


@contextlib.contextmanager
def stem_files(folder: Path, names: Sequence[str], shape: Shape) -> Iterator["StemFiles"]:
    """Open a file per stem; they get their names when all of them are whole.

    Files are called as `file_names` calls them.

    Raises:
        ConfigError: the format cannot hold so many channels, or such a rate.
        MachineError: the disk is full, read-only or forbidden.
    """
    paths = stem_paths(folder, names, shape)
    with contextlib.ExitStack() as arrivals:
        temporaries = [arrivals.enter_context(arriving(path)) for path in paths]
        with contextlib.ExitStack() as streams:
            files = StemFiles(
                folder, [streams.enter_context(_open(each, shape)) for each in temporaries]
            )
            yield files
        for temporary in temporaries:
            clear_peak_time(temporary)
    if shape.format != "wav":
        for path, peak in zip(paths, files.peaks, strict=True):
            if peak > 1:
                logger.warning(
                    "%s was clipped at full scale, as it peaks at %.2f; format `wav` clips nothing",
                    *(printable(path), peak),
                )


def stem_paths(folder: Path, names: Sequence[str], shape: Shape) -> list[Path]:
    """Return the files of a song's stems, all directly in its folder whatever they are called."""
    files = file_names(names)
    return [folder / f"{files[name]}{shape.suffix}" for name in names]


class StemFiles:
    """The open files of one song's stems."""

    def __init__(self, folder: Path, files: Sequence[soundfile.SoundFile]) -> None:
        self._folder, self._files = folder, files
        self.peaks = [0.0] * len(files)
        """Largest magnitude of each stem so far."""

    def write(self, piece: Waveform) -> None:
        """Append [S, channels, frames]."""
        for number, (file, stem) in enumerate(zip(self._files, piece, strict=True)):
            try:
                file.write(stem.T)
            except (soundfile.LibsndfileError, AssertionError) as error:
                # libsndfile keeps what the system said to itself; soundfile may only miss frames.
                why = error or "frames are missing"
                raise MachineError(
                    f"cannot write {printable(self._folder)}: {why}; free some space there, or "
                    "write elsewhere"
                ) from error
            self.peaks[number] = max(self.peaks[number], float(np.abs(stem).max(initial=0)))


def _open(path: Path, shape: Shape) -> soundfile.SoundFile:
    container, subtype = SUBTYPES[shape.format]
    if container == "WAV" and shape.bytes > WAV_BYTES:
        container = "RF64"
    rate, channels = shape.sample_rate, shape.channels
    try:
        return soundfile.SoundFile(
            library_path(path), "w", rate, channels, subtype, format=container
        )
    except soundfile.LibsndfileError as error:
        # What the disk refuses is reported in the system's own words.
        path.open("ab").close()
        raise ConfigError(
            f"{shape.format} cannot hold {channels} channels at {rate} Hz ({error.error_string}); "
            "use format `wav`"
        ) from error
