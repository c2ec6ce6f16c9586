"""The verb `select`: which pre-trained output plays which stem (Saijo & Bando 2025, 4.3)."""

import logging

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from storage.errors import ConfigError, DataError
from storage.files import write_json
from storage.home.job_events import progress
from storage.home.runs import Run
from storage.records import ChannelMap, plain
from training.config import SelectConfig
from training.data.stems.corpus import StemCorpus
from training.data.stems.source import StemSegments
from training.distributed import join
from training.engine.weights import load_model
from training.inference.overlap_add import waveforms_of
from training.models.separator import Separator
from training.runtime import RuntimeConfig

SILENT = 1e-6
"""A stem with less than this share of the mixture's energy (-60 dB) has no vote in a chunk."""
EPS = 1e-8
LINES = 20
"""Progress lines of a whole selection, about."""

logger = logging.getLogger(__name__)


def select(run: Run) -> None:
    """Choose the outputs of the input `model` on the validation songs of `songs`.

    Raises:
        StemworksError: an input is missing or malformed, or no chunk has a stem that sounds.
    """
    job = run.job()
    config = SelectConfig.parse(job.recipe)
    with join(RuntimeConfig()) as place:
        model = load_model(job.path("model")).to(place.device)
        rate = model.config.sample_rate
        corpus = StemCorpus.open(job.path("songs"), job.home().root, rate, config.stems)
        songs = corpus.of("validation")
        segments = StemSegments(corpus, songs, round(config.chunk_seconds * rate))
        write_json(run.channels, plain(choose(model, segments)))


def choose(model: Separator, segments: StemSegments) -> ChannelMap:
    """Let every chunk vote by its best assignment of outputs to stems; the majority decides.

    The paper takes each stem's most voted output, so that two stems may end up with one output
    (its authors resolve this by hand). Here the votes themselves are assigned: the choice of
    distinct outputs with the most votes, which is the paper's wherever that is distinct.

    Raises:
        ConfigError: the model has fewer outputs than there are stems.
        DataError: no stem sounds in any chunk.
    """
    stems, outputs = segments.names, model.config.outputs
    if outputs < len(stems):
        raise ConfigError(
            f"the model has {outputs} outputs, but {len(stems)} stems need one each; pre-train "
            f"with model.outputs of {len(stems)} or more"
        )
    votes = np.zeros((len(stems), outputs), np.int64)
    quality = np.zeros((len(stems), outputs))
    chunks = 0
    for number in range(len(segments)):
        references_SCT = torch.from_numpy(segments.stems(number))
        active, snr_SN = _snr_of_chunk(model, references_SCT)
        if active.size:
            rows, columns = _assign(snr_SN)
            votes[active[rows], columns] += 1
            quality[active] += snr_SN
            chunks += 1
        if (number + 1) % max(1, len(segments) // LINES) == 0:
            _log_progress(number + 1, len(segments))
    if not chunks:
        raise DataError(
            f"no stem sounds in any of {len(segments)} chunks of the validation songs; check them"
        )
    return ChannelMap(
        stems=stems,
        channels=tuple(majority(votes, quality)),
        votes=tuple(tuple(int(count) for count in row) for row in votes),
        chunks=chunks,
    )


def _log_progress(done: int, chunks: int) -> None:
    logger.info("chunk %d/%d", done, chunks, extra=progress(done, chunks, "chunks"))


def majority(votes_SN: npt.NDArray[np.int64], quality_SN: npt.NDArray[np.float64]) -> list[int]:
    """Return distinct outputs, one per stem, with the most votes in all.

    Equal votes are decided by `quality_SN`, which can never outweigh one vote.
    """
    spread = float(np.ptp(quality_SN)) or 1.0
    tie_break = (quality_SN - quality_SN.min()) / spread / (2 * len(votes_SN))
    _, columns = _assign(votes_SN + tie_break)
    return [int(column) for column in columns]


def _assign(score_SN: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.intp], ...]:
    """Return the rows and columns of the assignment with the greatest sum."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415

    rows, columns = linear_sum_assignment(score_SN, maximize=True)
    return rows, columns


@torch.inference_mode()
def _snr_of_chunk(
    model: Separator, references_SCT: Tensor
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return the stems that sound in a chunk, and the SNR [stems that sound, outputs] in dB.

    Energies are summed over channels and samples.
    """
    mixture_CT = references_SCT.sum(0)
    energy_S = references_SCT.double().square().sum((1, 2))
    floor = SILENT * float(mixture_CT.double().square().sum())
    active = torch.nonzero(energy_S > max(floor, EPS)).flatten()
    if not len(active):
        return active.numpy(), np.zeros((0, model.config.outputs))
    estimates_NCT = waveforms_of(model, mixture_CT[None, None])[0].cpu()
    rows = []
    for stem in active.tolist():
        error_N = (references_SCT[stem] - estimates_NCT).double().square().sum((1, 2))
        rows.append(10 * torch.log10(energy_S[stem] / (error_N + EPS)))
    return active.numpy(), torch.stack(rows).numpy()
