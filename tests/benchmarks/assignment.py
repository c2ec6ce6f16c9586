"""MixIT's assignment of eight outputs: by one Gram matrix, by brute force, by least squares."""

from itertools import product

import torch
from torch import Tensor

from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.measure import Variant, in_turns
from tests.benchmarks.report.form import Figure, Measurement
from training.losses.mixit import Solver, assign
from training.losses.snr import thresholded_snr_loss

BATCH, OUTPUTS, SAMPLES = 4, 8, 88_200
ROUNDS, BRUTE_ROUNDS = 15, 2
EXACT: tuple[Solver, float] = ("exact", 30.0)
LSTSQ: tuple[Solver, float] = ("lstsq", 30.0)
"""The solver, and the threshold in dB."""


def run(quick: bool) -> Measurement:
    """Measure the search alone, without gradient, on all cores."""
    estimate, mixtures = _signals()
    best: list[Tensor] = []
    variants = [
        Variant("exact, one Gram matrix", "ours", lambda: assign(estimate, mixtures, *EXACT)),
        Variant("solver = lstsq", "other", lambda: assign(estimate, mixtures, *LSTSQ)),
        Variant(
            "brute force over waveforms",
            "plain",
            lambda: best.append(brute_force(estimate, mixtures)),
            rounds=BRUTE_ROUNDS,
            warmed=False,
        ),
        Variant("torch.linalg.lstsq on waveforms", "library", lambda: by_lstsq(estimate, mixtures)),
        Variant(
            "read the estimates once (sum of squares)", "floor", lambda: estimate.square().sum()
        ),
    ]
    rows = in_turns(variants, 1 if quick else ROUNDS)
    exact = assign(estimate, mixtures, *EXACT)[:, 0]
    figures = [
        Figure(
            what=f"examples in which {what} finds the assignment of the exact search",
            unit=f"of {BATCH}",
            values=(float((theirs == exact).all(-1).sum()),),
        )
        for what, theirs in (
            ("brute force", best[0]),
            ("torch.linalg.lstsq", by_lstsq(estimate, mixtures)),
        )
    ]
    return Measurement(amount=BATCH, unit="examples", rows=rows, figures=tuple(figures))


def _signals() -> tuple[Tensor, Tensor]:
    """Return estimates that leak, and the mixtures that their sources make."""
    draw = torch.Generator().manual_seed(0)
    sources = torch.randn(BATCH, OUTPUTS, 2, SAMPLES, generator=draw)
    mixtures = torch.stack([sources[:, ::2].sum(1), sources[:, 1::2].sum(1)], 1)
    return sources + torch.randn(sources.shape, generator=draw), mixtures


@torch.no_grad()
def brute_force(estimate: Tensor, mixtures: Tensor) -> Tensor:
    """Return [B, S], which outputs play the first mixture, by summing waveforms 2^S times."""
    choices = torch.tensor(list(product((0.0, 1.0), repeat=estimate.shape[1])))
    losses = []
    for first in choices:
        both = torch.stack([first, 1 - first])
        sums = torch.einsum("ms,bsct->bmct", both, estimate)
        losses.append(thresholded_snr_loss(sums, mixtures).mean((1, 2)))
    return choices[torch.stack(losses).argmin(0)]


@torch.no_grad()
def by_lstsq(estimate: Tensor, mixtures: Tensor) -> Tensor:
    """Return [B, S] by the paper's heuristic: least squares on the first channel."""
    solution = torch.linalg.lstsq(estimate[:, :, 0].mT, mixtures[:, :, 0].mT).solution
    first: Tensor = solution[..., 0] >= solution[..., 1]
    return first.float()


BENCHMARK = Benchmark(
    name="assignment",
    title="MixIT assignment",
    words=f"""\
Which of {OUTPUTS} outputs belong to which of two mixtures: {BATCH} examples of {SAMPLES:,} samples
of stereo, no gradient, all cores. Brute force sums waveforms for each of the 2^{OUTPUTS}
assignments and scores them with the same loss; it takes part in {BRUTE_ROUNDS} rounds, without a
warm-up.
`torch.linalg.lstsq` is the paper's heuristic on the first channel, straight from the library, in
float32; `solver = lstsq` is ours, from the Gram matrix of both channels. The heuristic assigns by
another criterion than the loss.""",
    omitted="""\
hard cases. Early in training, with collapsed outputs, heuristic and exact search differ more.""",
    run=run,
)
