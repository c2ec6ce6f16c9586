"""The verb `evaluate`: separate the test songs, score every stem, keep an excerpt to listen to."""

import logging
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from storage.audio.residual import NOTICEABLE_RESIDUAL, residual_share
from storage.audio.waveforms import encode
from storage.errors import ConfigError
from storage.files import write_bytes, write_json
from storage.home.job_events import progress
from storage.home.runs import Run
from storage.manifests import write_rows
from storage.names.file_names import file_names
from storage.records import SongScore, StemSong
from training.checkpoints.weights import load_model
from training.config import EvaluateConfig
from training.data.stems.corpus import StemCorpus
from training.distributed import join
from training.inference.overlap_add import separate
from training.models.separator import Separator
from training.scoring import frame_scores, metrics
from training.settings.runtime import RuntimeConfig

logger = logging.getLogger(__name__)


def evaluate(run: Run) -> None:
    """Score the input `model` on the test songs of `songs`.

    The mixture is the song's own `mixture.wav`. Leaves excerpts, each song's frames as museval
    writes them, and, last, `scores.jsonl`. While a song is separated, those before it are scored.

    Raises:
        StemworksError: an input is missing or malformed.
    """
    job = run.job()
    config = EvaluateConfig.parse(job.recipe)
    with join(RuntimeConfig()) as process:
        model = load_model(job.path("model")).to(process.device)
        require_outputs(model.config.outputs, config)
        rate = model.config.sample_rate
        corpus = StemCorpus.open(job.path("songs"), job.home().root, rate, config.stems)
        songs = corpus.of("test")
        files = file_names(song.name for song in songs)
        separated = (_separate(model, corpus, song, config) for song in songs)
        scores: list[SongScore] = []
        listed = []
        for number, judged in enumerate(_judged(separated, config)):
            scores += judged.scores
            folder = f"{number:03d}"
            seconds = judged.keep_excerpt(run.excerpts / folder, config.excerpt_seconds)
            listed.append({"song": judged.song.name, "folder": folder, "start_seconds": seconds})
            file = run.result / "museval" / "test" / f"{files[judged.song.name]}.json"
            judged.keep_frames(file, config.frame_seconds)
            note = f"{judged.song.name} {judged.summary()}"
            done = progress(number + 1, len(songs), "songs", note)
            logger.info("song %d/%d %s", number + 1, len(songs), note, extra=done)
            judged.warn()
        write_json(run.excerpts / "excerpts.json", listed)
        write_rows(run.scores, scores)


def require_outputs(outputs: int, config: EvaluateConfig) -> None:
    """Raise `ConfigError` where a model's outputs and the stems to score do not fit."""
    stems = len(config.stems)
    if config.assignment == "named" and outputs != stems:
        raise ConfigError(
            f"the model has {outputs} outputs and evaluation.stems names {stems}; name one stem "
            "per output, or set evaluation.assignment=oracle for a model whose outputs have none"
        )
    if outputs < stems:
        raise ConfigError(
            f"the model has {outputs} outputs, fewer than the {stems} of evaluation.stems; name "
            "fewer stems"
        )


class Judged:
    """One separated song: mixture [C, T], references and estimates [S, C, T], scores."""

    def __init__(self, song: StemSong, stems: tuple[str, ...], mixture: Tensor) -> None:
        self.song, self.stems, self.mixture = song, stems, mixture
        self.references = self.estimates = torch.zeros(0)
        self.scores: list[SongScore] = []
        self.frames: frame_scores.Frames | None = None

    def judge(self, config: EvaluateConfig) -> "Judged":
        """Score every stem; return this same song."""
        frame = round(config.frame_seconds * self.song.sample_rate)
        self.frames = frame_scores.closed_form(self.references, self.estimates, frame)
        medians = self.frames.medians()
        rows = score(self.references, self.estimates, self.mixture, medians)
        oracle: list[float | None] = [None] * len(self.stems)
        if config.museval and (theirs := museval_frames(self, frame)):
            self.frames = theirs
            oracle = [_defined(value) for value in theirs.medians()]
        named = {"song": self.song.name, "residual": residual(self.references, self.mixture)}
        self.scores = [
            SongScore.model_validate({**named, "stem": stem, "museval": theirs, **row})
            for stem, row, theirs in zip(self.stems, rows, oracle, strict=True)
        ]
        return self

    def summary(self) -> str:
        """Return each stem's uSDR in a few words."""
        return " ".join(
            f"{row.stem} {'-' if row.usdr is None else f'{row.usdr:.2f}'}" for row in self.scores
        )

    def warn(self) -> None:
        """Say what makes a song's scores tell less than others'."""
        difference = self.scores[0].residual
        if difference is not None and difference > NOTICEABLE_RESIDUAL:
            logger.warning(
                "the mixture of '%s' is not its stems' sum (relative error %.3f): its scores "
                "tell less than others'",
                *(self.song.name, difference),
            )
        silent = [
            stem
            for stem, reference in zip(self.stems, self.references, strict=True)
            if not reference.any()
        ]
        if silent:
            logger.warning(
                "%s of '%s' never sounds: it has no score, and the song no cSDR",
                *(" and ".join(silent), self.song.name),
            )

    def keep_frames(self, file: Path, seconds: float) -> None:
        """Write the frames' scores where sigsep's tools look for a test song's."""
        assert self.frames
        frame_scores.write(file, self.stems, self.frames, seconds)

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
    references_SCT: Tensor, estimates_SCT: Tensor, mixture_CT: Tensor, csdr_S: Sequence[float]
) -> Iterator[dict[str, float | None]]:
    """Yield each stem's scores, None where they are undefined: for a stem that never sounds.

    Stem by stem, as float64 of all of them at once would take gigabytes.

    Args:
        references_SCT: true stems.
        estimates_SCT: separated stems.
        mixture_CT: the song.
        csdr_S: medians of the frames, which all stems decide together.
    """
    trivial_1CT = mixture_CT[None] / len(references_SCT)
    for number, csdr in enumerate(csdr_S):
        pair = references_SCT[number : number + 1], estimates_SCT[number : number + 1]
        values = {
            "usdr": metrics.usdr_per_channel(*pair).item(),
            "usdr_mdx21": metrics.usdr_mdx21(*pair).item(),
            "csdr": csdr,
            "si_sdr": metrics.si_sdr(*pair).mean(-1).item(),
            "usdr_trivial": metrics.usdr_per_channel(pair[0], trivial_1CT).item(),
        }
        sounds = bool(references_SCT[number].any())
        yield {name: _defined(value) if sounds else None for name, value in values.items()}


def oracle_assignment(references_RCT: Tensor, estimates_SCT: Tensor) -> list[int]:
    """Return, for each of R references, the estimate that plays it, each at most once.

    The choice has the highest mean SI-SDR over references and channels; silent references, which
    have none, take what is left. It knows the answers, so its scores are a ceiling.
    """
    # Only where outputs have no names.
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415

    ratio_RS = torch.stack(
        [
            torch.stack(
                [metrics.si_sdr(reference_CT, estimate_CT).mean() for estimate_CT in estimates_SCT]
            )
            for reference_CT in references_RCT
        ]
    )
    _, chosen = linear_sum_assignment(ratio_RS.nan_to_num(0, 100, -100).numpy(), maximize=True)
    return [int(number) for number in chosen]


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


def residual(references_SCT: Tensor, mixture_CT: Tensor) -> float:
    """Return the RMS of mixture less stems, as a share of the mixture's; 0 for a silent one."""
    whole = float(mixture_CT.double().square().sum())
    rest = float((mixture_CT.double() - references_SCT.double().sum(0)).square().sum())
    return round(residual_share(rest, whole), 6)


def museval_frames(song: Judged, frame: int) -> frame_scores.Frames | None:
    """Return the library's own frames; None if a stem is silent throughout, which it refuses."""
    signals = (song.references, song.estimates)
    if not all(signal_SCT.any(-1).any(-1).all() for signal_SCT in signals):
        return None
    return frame_scores.by_museval(*signals, frame)


def _separate(
    model: Separator, corpus: StemCorpus, song: StemSong, config: EvaluateConfig
) -> Judged:
    judged = Judged(
        song, corpus.stems, torch.from_numpy(corpus.read(song, "mixture", 0, song.frames))
    )
    judged.references = torch.from_numpy(corpus.read_stems(song, 0, song.frames))
    estimates_SCT = separate(model, judged.mixture, config.separate)
    if config.assignment == "oracle":
        estimates_SCT = estimates_SCT[oracle_assignment(judged.references, estimates_SCT)]
    judged.estimates = estimates_SCT
    return judged


def _judged(separated: Iterable[Judged], config: EvaluateConfig) -> Iterator[Judged]:
    """Yield the songs scored, in their order; no more are held at once than there are workers."""
    with ThreadPoolExecutor(config.workers) as pool:
        pending: deque[Future[Judged]] = deque()
        for song in separated:
            pending.append(pool.submit(song.judge, config))
            while len(pending) >= config.workers or (pending and pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None
