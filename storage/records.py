"""The frozen records that travel between stages, each one row of a manifest."""

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

STEMS = ("bass", "drums", "vocals", "other")
"""The stems unless a configuration names others, in the authors' order (Saijo & Bando 2025)."""

Measured = int | float | None


class Record(BaseModel):
    """A row: frozen, and refusing fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Track(Record):
    """One song of an archive, before anything of it is read."""

    id: str
    """Six digits, as in `000002.mp3`; of other files, digits of their path's sha1."""
    member: str
    """Its name inside the archive, or its path in the folder (`storage.names.spelling`)."""
    bytes: int
    """Uncompressed size."""
    crc: int | None = None
    """Of its bytes (zlib crc32), as a zip's directory promises; a folder promises none."""
    offset: int = 0
    """Where its local header begins in the zip."""
    packed_bytes: int = 0
    """Size as stored in the zip."""
    method: int = 0
    """How it is stored in the zip: 0 as it is, 8 deflated, 12 by bzip2."""
    sha1: str | None = None
    """From the archive's own `checksums`, or of a folder's file."""
    duplicate_of: str = ""
    """The first track whose bytes are the same, if that is another."""
    split: Literal["training", "validation", "test"] = "training"
    artist: str = ""
    title: str = ""
    genre: str = ""
    licence: str = ""


class Unit(Record):
    """Tracks that are packed together: the smallest thing that is done, or not."""

    id: str
    """Four digits or more, as in `0003`."""
    tracks: tuple[Track, ...]


class ShardInfo(Record):
    """One WebDataset tar, as the index lists it."""

    name: str
    """File name, as in `0003-00.tar`."""
    bytes: int
    sha256: str
    clips: int
    """Clips that it yields."""
    samples: int
    """Samples that it holds: as many as clips, or the pieces that clips are cut from."""
    sidecar_bytes: int
    """Size of the file beside it that says where each sample is."""
    sidecar_sha256: str


class LedgerRow(Record):
    """What became of one track. Nothing disappears: every track has exactly one row."""

    track: str
    outcome: Literal["kept", "filtered", "quarantined"]
    reason: str = ""
    """Empty for kept tracks, else a short name such as `rate_below_44100` or `decode_error`."""
    detail: str = ""
    """The exception, or the measured value behind the reason."""
    sha1: str = ""
    """Of the bytes read, where any were."""
    seconds: float = 0.0
    """Decoded length."""
    clips: int = 0
    clips_dropped: int = 0
    kept_seconds: float = 0.0
    """Seconds of the track that are in at least one kept clip."""
    split: str = "training"
    decoder: str = ""
    sample_rate: int = 0
    channels: int = 0
    decode_errors: int = 0
    """Packets that did not decode."""
    frames_lost: int = 0
    """Frames that were filled with silence, or are missing at the end."""
    frames_promised: int = 0
    """By the file itself; 0 where it does not say."""
    promise: Literal["exact", "estimated", "unknown"] = "unknown"
    """How far that can be trusted; only an exact promise can be broken."""
    losses: tuple[tuple[float, float], ...] = ()
    """Where silence was put for lost sound: start and length in seconds, of the first places."""
    stray_bytes: int = 0
    """Bytes that are neither sound nor tag."""
    measures: dict[str, Measured] = Field(default_factory=dict)
    """What was measured of the whole track, where it was decoded; None where it is undefined."""
    by_second: dict[str, tuple[Measured, ...]] = Field(default_factory=dict)
    """The same of each second, the shorter one at the end included."""

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if (self.outcome == "kept") == bool(self.reason):
            raise ValueError("a kept track has no reason, any other has one")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_no_measures(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Rows of songs with stems, of which nothing is measured, keep their bytes.
        row: dict[str, Any] = serialise(self)
        return {name: value for name, value in row.items() if value != {}}


class Attribution(Record):
    """Whose music one track is, and under which licence."""

    artist: str
    title: str
    licence: str
    """As its archive states it; empty where it states none."""
    track: str
    """Its id, or a song's name."""
    split: str
    source: str
    """The archive, or folder, and the track's name in it."""


class TrainedOn(Attribution):
    """One track that a model was trained on."""

    use: Literal["pre-training", "fine-tuning"]
    """Without stems, or with them. Tracks of the validation split chose among checkpoints."""


class StemSong(Record):
    """One song of a stems corpus."""

    name: str
    """Artist - Title."""
    split: Literal["train", "validation", "test"]
    folder: str
    """Relative to the home: holds mixture.wav and one WAV per stem."""
    frames: int
    sample_rate: int
    stems: tuple[str, ...] = STEMS
    """In the order of a model's outputs."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the names of its WAVs, the mixture first, then the stems as they are added up."""
        return ("mixture", *sorted(self.stems))

    @model_serializer(mode="wrap")
    def _leave_out_usual_stems(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Rows written before stems were configurable keep their bytes, and so their digests.
        row: dict[str, Any] = serialise(self)
        if self.stems == STEMS:
            del row["stems"]
        return row


class ActiveWindows(Record):
    """Where one stem of one song sounds."""

    song: str
    stem: str
    starts: tuple[int, ...]
    """First frames of the windows kept."""
    window: int
    """Frames of a window; a song shorter than that has one window, of its own length."""


class ChannelMap(Record):
    """Which pre-trained output plays which stem."""

    stems: tuple[str, ...]
    channels: tuple[int, ...]
    """Distinct outputs, in the order of `stems`."""
    votes: tuple[tuple[int, ...], ...]
    """`[stem][output]`: chunks whose best assignment gave this stem this output."""
    chunks: int

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.channels)) != len(self.stems):
            raise ValueError(f"channels {self.channels} must be distinct, one per stem")
        return self


class SongScore(Record):
    """How well one stem of one song was separated. All in dB; None where undefined."""

    song: str
    stem: str
    usdr: float | None
    """Song-level SNR per channel, then the mean of channels (the paper's form)."""
    usdr_mdx21: float | None
    """Song-level SNR with energies summed over channels (the 2021 challenge's form)."""
    csdr: float | None
    """Median over one-second frames (museval v4's SDR)."""
    si_sdr: float | None = None
    """Song-level scale-invariant SDR per channel, then the mean of channels."""
    usdr_trivial: float | None = None
    """`usdr` of the trivial estimate, mixture / 4."""
    museval: float | None = None
    """The library's own median SDR, where it was asked for."""
    residual: float | None = None
    """Of the song: RMS of its mixture less the sum of its stems, as a share of the mixture's."""


def plain(record: Record) -> dict[str, Any]:
    """Return a record as plain JSON values."""
    return record.model_dump(mode="json")
