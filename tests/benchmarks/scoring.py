"""Chunk-wise SDR of four stems: the closed form, museval, and reading the waveforms once."""

import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tests.benchmarks.measure import Result, Variant, in_turns
from training.jobs.evaluate import score
from training.scoring.metrics import csdr_frames

RATE, SECONDS, STEMS = 44_100, 10, 4
ROUNDS = 25


def run() -> Result:
    """Measure on all cores; museval runs once, as a minute's work needs no median."""
    reference, estimate = _signals()
    mixture, theirs = reference.sum(0), list[npt.NDArray[Any]]()
    rows = in_turns(
        [
            Variant("closed form", "ours", lambda: csdr_frames(reference, estimate)),
            Variant(
                "museval.evaluate (v4)",
                "library",
                lambda: theirs.append(museval_sdr(reference, estimate)),
                rounds=1,
                warmed=False,
            ),
            Variant(
                "and every other metric, stem by stem",
                "other",
                lambda: (
                    csdr_frames(reference, estimate),
                    list(score(reference, estimate, mixture, [0.0] * STEMS)),
                ),
            ),
            Variant(
                "read both once (sum of squares)",
                "floor",
                lambda: (reference.square().sum(), estimate.square().sum()),
            ),
        ],
        ROUNDS,
    )
    apart = np.abs(csdr_frames(reference, estimate).numpy() - theirs[0]).max()
    # Seconds of the processor: another program on the machine changes them little.
    ours = median(processor_seconds(lambda: csdr_frames(reference, estimate)) for _ in range(9))
    library = processor_seconds(lambda: museval_sdr(reference, estimate))
    notes = (
        f"the two differ by {apart:.1e} dB at most",
        f"{rows[1].ratio:.0f} x museval on the same estimates (target: 100 x); in processor time "
        f"{library / ours:.0f} x ({ours:.3f} s against {library:.1f} s)",
    )
    return Result("Chunk-wise SDR", rows, SECONDS, "s of four stems", notes)


def _signals() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    reference = 0.1 * torch.randn(STEMS, 2, SECONDS * RATE, generator=draw)
    return reference, reference + 0.03 * torch.randn(reference.shape, generator=draw)


def processor_seconds(work: Callable[[], object]) -> float:
    """Return what work takes of all cores together."""
    started = time.process_time()
    work()
    return time.process_time() - started


def museval_sdr(reference: Tensor, estimate: Tensor) -> npt.NDArray[Any]:
    """Return museval's SDR [S, N]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what museval imports warns of its own future
        import museval  # noqa: PLC0415

        swapped = (x.transpose(1, 2).double().numpy() for x in (reference, estimate))
        sdr: npt.NDArray[Any] = museval.evaluate(*swapped, win=RATE, hop=RATE, mode="v4")[0]
    return sdr
