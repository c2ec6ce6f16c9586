"""The verb `evaluate`: separate the test songs, score every stem, keep an excerpt to listen to."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from storage.audio import encode
from storage.errors import MachineError
from storage.files import write_bytes, write_json
from storage.manifests import write_rows
from storage.records import SongScore, StemSong
from storage.runs import Run
from training import metrics
from training.config import EvaluateConfig, RuntimeConfig
from training.data.stems import StemCorpus
from training.distributed import join
from training.models.separator import Separator
from training.separate import separate
from training.weights import load_model

logger = logging.getLogger(__name__)


def evaluate(run: Run) -> None:
    """Score the input `model` on the test songs of `songs`.

    The mixture is the song's own `mixture.wav`. Leaves excerpts and, last, `scores.jsonl`.

    Raises:
        StemworksError: an input is missing or malformed.
    """
    job = run.job()
    config = EvaluateConfig.parse(job.recipe)
    with join(RuntimeConfig()) as place:
        model = load_model(job.path("model")).to(place.device)
        corpus = StemCorpus.open(job.path("songs"), job.home().root, model.config.sample_rate)
        songs = corpus.of("test")
        scores: list[SongScore] = []
        listed = []
        for number, song in enumerate(songs):
            judged = _judge(model, corpus, song, config)
            scores += judged.scores
            folder = f"{number:03d}"
            seconds = judged.keep_excerpt(run.excerpts / folder, config.excerpt_seconds)
            listed.append({"song": song.name, "folder": folder, "start_seconds": seconds})
            logger.info("song %d/%d %s %s", number + 1, len(songs), song.name, judged.summary())
        write_json(run.excerpts / "excerpts.json", listed)
        write_rows(run.scores, scores)


class Judged:
    """One separated song: mixture [C, T], references and estimates [S, C, T], scores."""

    def __init__(self, song: StemSong, stems: tuple[str, ...], mixture: Tensor) -> None:
        self.song, self.stems, self.mixture = song, stems, mixture
        self.references = self.estimates = torch.zeros(0)
        self.scores: list[SongScore] = []

    def summary(self) -> str:
        """Return each stem's uSDR in a few words."""
        return " ".join(
            f"{row.stem} {'-' if row.usdr is None else f'{row.usdr:.2f}'}" for row in self.scores
        )

    def keep_excerpt(self, folder: Path, seconds: float) -> float:
        """Write the excerpt in which the stems sound most evenly; return where it starts."""
        rate = self.song.sample_rate
        frames = min(round(seconds * rate), self.mixture.shape[-1])
        start = loudest_start(self.references, frames, rate)
        sounds = {"mixture": self.mixture}
        for stem, reference, estimate in zip(
            self.stems, self.references, self.estimates, strict=True
        ):
            sounds |= {f"{stem}-reference": reference, stem: estimate}
        for name, sound in sounds.items():
            excerpt = np.ascontiguousarray(sound[:, start : start + frames].numpy())
            write_bytes(folder / f"{name}.flac", encode(excerpt, rate))
        return start / rate


def score(
    references_SCT: Tensor, estimates_SCT: Tensor, mixture_CT: Tensor, frame: int
) -> Iterator[dict[str, float | None]]:
    """Yield each stem's scores, None where they are undefined: for a stem that never sounds.

    Args:
        references_SCT: true stems.
        estimates_SCT: separated stems.
        mixture_CT: the song.
        frame: samples of a frame of the chunk-wise SDR.
    """
    trivial_SCT = (mixture_CT / len(references_SCT)).expand_as(references_SCT)
    columns = {
        "usdr": metrics.usdr_per_channel(references_SCT, estimates_SCT),
        "usdr_mdx21": metrics.usdr_mdx21(references_SCT, estimates_SCT),
        "csdr": metrics.csdr(references_SCT, estimates_SCT, frame),
        "usdr_trivial": metrics.usdr_per_channel(references_SCT, trivial_SCT),
    }
    for number, reference_CT in enumerate(references_SCT):
        sounds = bool(reference_CT.any())
        yield {
            name: _defined(float(values[number])) if sounds else None
            for name, values in columns.items()
        }


def loudest_start(references_SCT: Tensor, frames: int, step: int) -> int:
    """Return the first frame of the window, on a grid of `step`, whose quietest stem is loudest."""
    last = references_SCT.shape[-1] - frames
    starts = list(range(0, last + 1, step))
    energy_ST = references_SCT.double().square().sum(1).cumsum(-1)
    padded_ST = torch.nn.functional.pad(energy_ST, (1, 0))
    windows = torch.stack([padded_ST[:, s + frames] - padded_ST[:, s] for s in starts], dim=1)
    # Stems that never sound must not make every window equal.
    heard = windows[windows.sum(1) > 0]
    return starts[int(heard.min(0).values.argmax())] if len(heard) else 0


def _judge(model: Separator, corpus: StemCorpus, song: StemSong, config: EvaluateConfig) -> Judged:
    judged = Judged(
        song, corpus.stems, torch.from_numpy(corpus.read(song, "mixture", 0, song.frames))
    )
    judged.references = torch.from_numpy(corpus.read_stems(song, 0, song.frames))
    judged.estimates = separate(model, judged.mixture, config.separate)
    frame = round(config.frame_seconds * song.sample_rate)
    rows = score(judged.references, judged.estimates, judged.mixture, frame)
    oracle: list[float | None] = [None] * len(corpus.stems)
    if config.museval:
        oracle = _museval(judged.references, judged.estimates, frame)
    judged.scores = [
        SongScore.model_validate({"song": song.name, "stem": stem, "museval": theirs, **row})
        for stem, row, theirs in zip(corpus.stems, rows, oracle, strict=True)
    ]
    return judged


def _museval(references_SCT: Tensor, estimates_SCT: Tensor, frame: int) -> list[float | None]:
    """Return the library's own median SDR of each stem; None for all if one stem is silent."""
    try:
        import museval  # noqa: PLC0415 - slow, and refuses to import without ffmpeg
    except (ImportError, RuntimeError) as error:
        raise MachineError(
            f"museval cannot be imported ({error}); install ffmpeg, or set museval=false"
        ) from error
    if not (references_SCT.any(-1).any(-1).all() and estimates_SCT.any(-1).any(-1).all()):
        return [None] * len(references_SCT)
    sdr, *_ = museval.evaluate(
        references_SCT.mT.double().numpy(), estimates_SCT.mT.double().numpy(), frame, frame
    )
    return [_defined(_nanmedian(row)) for row in sdr]


def _nanmedian(values: npt.NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else math.nan


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None
