"""Chunk-wise SDR of four stems: the closed form, museval, and reading the waveforms once."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.measure import Variant, in_turns
from tests.benchmarks.report.form import Comparison, Figure, Measurement, Target
from training.jobs.evaluate import score
from training.scoring.metrics import csdr_frames

RATE, SECONDS, STEMS = 44_100, 10, 4
ROUNDS = 25
OURS, MUSEVAL = "closed form", "museval.evaluate (v4)"
TARGET = Target(at_least=100)


def run(quick: bool) -> Measurement:
    """Measure on all cores; museval runs once, as a minute's work needs no median."""
    reference, estimate = _signals()
    mixture, theirs = reference.sum(0), list[npt.NDArray[Any]]()
    every = [
        Variant(OURS, "ours", lambda: csdr_frames(reference, estimate)),
        Variant(
            MUSEVAL,
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
    ]
    rows = in_turns(every, 1 if quick else ROUNDS, "processor")
    apart = np.abs(csdr_frames(reference, estimate).numpy() - theirs[0]).max()
    ratio = Comparison(what=f"{MUSEVAL} / ours", over=MUSEVAL, under=OURS, target=TARGET)
    return Measurement(
        amount=SECONDS,
        unit="s of four stems",
        clock="processor",
        rows=rows,
        comparisons=(ratio,),
        figures=(
            Figure(what="greatest difference of any frame", unit="dB", values=(float(apart),)),
        ),
    )


def _signals() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    reference = 0.1 * torch.randn(STEMS, 2, SECONDS * RATE, generator=draw)
    return reference, reference + 0.03 * torch.randn(reference.shape, generator=draw)


def museval_sdr(reference: Tensor, estimate: Tensor) -> npt.NDArray[Any]:
    """Return museval's SDR [S, N]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what museval imports warns of its own future
        import museval  # noqa: PLC0415

        swapped = (x.transpose(1, 2).double().numpy() for x in (reference, estimate))
        sdr: npt.NDArray[Any] = museval.evaluate(*swapped, win=RATE, hop=RATE, mode="v4")[0]
    return sdr


BENCHMARK = Benchmark(
    name="scoring",
    title="Chunk-wise SDR",
    words=f"""\
{STEMS} stereo stems of {SECONDS} s, frames of 1 s, the same estimates for all, in processor time of
all cores. museval takes part in the first round alone, without a warm-up. It computes distortion
filters that cancel out of the SDR, and also ISR, SIR and SAR, which the closed form does not give:
the ratio is that of getting the one score which is reported.""",
    omitted="several songs at once, and reading them.",
    run=run,
)
