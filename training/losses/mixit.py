"""Mixture invariant training: which outputs belong to which mixture, and the loss of that choice.

Wisdom et al., "Unsupervised sound separation using mixture invariant training" (2020), eq. 1,
with the thresholded SNR of Saijo & Bando (2025), eq. 4, for two mixtures. The squared error of
every assignment is a quadratic form in the Gram matrix of outputs and mixtures, so all 2^S are
compared exactly without forming one waveform; the winner alone is scored with gradient.

Tensors: B batch, S outputs, M = 2 mixtures, C audio channels, T samples, P candidate assignments.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from storage.errors import ConfigError
from training.losses.limits import MOST_OUTPUTS
from training.losses.snr import snr_loss_of_energies, thresholded_snr_loss

Solver = Literal["exact", "lstsq"]
"""How the assignment is chosen."""

CANDIDATES_AT_ONCE = 4096
"""Candidates scored together: bounds the search's memory."""

SAMPLES_AT_ONCE = 4096
"""Length of the pieces of time that inner products are summed over."""

RIDGE = 1e-9
"""Share of the mean output energy added to the diagonal, so that dead or equal outputs solve."""


class MixitResult(NamedTuple):
    """`loss` is a scalar with gradient; `assignment` is [B, M, S] of zeros and ones."""

    loss: Tensor
    assignment: Tensor


def mixit_loss(
    estimate_BSCT: Tensor, mixtures_BMCT: Tensor, solver: Solver, soft_threshold_db: float
) -> MixitResult:
    """Assign each output to one mixture, then score the two sums: mean over B, M and C, in dB."""
    assignment_BMS = assign(estimate_BSCT, mixtures_BMCT, solver, soft_threshold_db)
    with torch.autocast(estimate_BSCT.device.type, enabled=False):
        sums_BMCT = torch.einsum("bms,bsct->bmct", assignment_BMS, estimate_BSCT.float())
        loss = thresholded_snr_loss(sums_BMCT, mixtures_BMCT, soft_threshold_db).mean()
    return MixitResult(loss, assignment_BMS)


@torch.no_grad()
def assign(
    estimate_BSCT: Tensor, mixtures_BMCT: Tensor, solver: Solver, soft_threshold_db: float
) -> Tensor:
    """Return the assignment [B, M, S], float32 zeros and ones, one mixture for each output.

    `exact` minimises the very loss that is then computed. `lstsq` is the paper's heuristic as its
    authors run it: least squares on the first channel, each output to its larger coefficient.

    Raises:
        ConfigError: `exact` with more than `MOST_OUTPUTS` outputs.
    """
    assert mixtures_BMCT.shape[1] == 2, "MixIT assigns outputs to two mixtures"
    with torch.autocast(estimate_BSCT.device.type, enabled=False):
        gram_BCRR = _gram(estimate_BSCT, mixtures_BMCT)
        if solver == "lstsq":
            first_BS = _least_squares(gram_BCRR[:, 0])
        else:
            first_BS = _exhaustive(gram_BCRR, soft_threshold_db)
    return torch.stack([first_BS, 1 - first_BS], dim=1).float()


def _gram(estimate_BSCT: Tensor, mixtures_BMCT: Tensor) -> Tensor:
    """Inner products over time of outputs and mixtures, float64 [B, C, R, R] with R = S + M.

    In float64 because errors are small differences of large terms: in float32 a good separation's
    error is mostly rounding. One example and channel at a time, as float64 waveforms are large, and
    in pieces of time: a product of a few rows as long as a segment has too little breadth to keep
    a GPU busy.
    """
    grams = [
        _inner_products(torch.cat([estimate_SCT[:, channel], mixtures_MCT[:, channel]]).double())
        for estimate_SCT, mixtures_MCT in zip(estimate_BSCT, mixtures_BMCT, strict=True)
        for channel in range(estimate_BSCT.shape[2])
    ]
    return torch.unflatten(torch.stack(grams), 0, (len(estimate_BSCT), -1))


def _inner_products(rows_RT: Tensor) -> Tensor:
    whole = rows_RT.shape[-1] // SAMPLES_AT_ONCE * SAMPLES_AT_ONCE
    rest = rows_RT[:, whole:]
    pieces = torch.unflatten(rows_RT[:, :whole], -1, (-1, SAMPLES_AT_ONCE)).transpose(0, 1)
    return (pieces @ pieces.mT).sum(0) + rest @ rest.mT


def _exhaustive(gram_BCRR: Tensor, soft_threshold_db: float) -> Tensor:
    """Return, as [B, S], which outputs play the first mixture in the best of all assignments."""
    outputs, device = gram_BCRR.shape[-1] - 2, gram_BCRR.device
    if outputs > MOST_OUTPUTS:
        raise ConfigError(
            f"outputs = {outputs}: the exact MixIT solver searches 2^outputs assignments and stops "
            f"at {MOST_OUTPUTS}; set objective.solver=lstsq"
        )
    bits = torch.arange(outputs, device=device)
    best_B = torch.full(gram_BCRR.shape[:1], torch.inf, device=device, dtype=gram_BCRR.dtype)
    code_B = torch.zeros_like(best_B, dtype=torch.long)
    for codes_P in torch.split(torch.arange(2**outputs, device=device), CANDIDATES_AT_ONCE):
        first_PS = (codes_P[:, None] >> bits & 1).double()
        loss_BP = _candidate_losses(gram_BCRR, first_PS, soft_threshold_db)
        lowest_B, where_B = loss_BP.min(-1)
        code_B = torch.where(lowest_B < best_B, codes_P[where_B], code_B)
        best_B = torch.minimum(lowest_B, best_B)
    return (code_B[:, None] >> bits & 1).double()


def _candidate_losses(gram_BCRR: Tensor, first_PS: Tensor, soft_threshold_db: float) -> Tensor:
    """Return the loss [B, P] of giving the outputs `first_PS` to mixture 0 and the rest to 1.

    With a the outputs chosen and x their mixture, |x - sum a_s y_s|^2 is the quadratic form of
    the Gram matrix at (a, -1 at x, 0 at the other mixture).
    """
    ones, zeros = torch.ones_like(first_PS[:, :1]), torch.zeros_like(first_PS[:, :1])
    forms_PR = (
        torch.cat([first_PS, -ones, zeros], dim=1),
        torch.cat([1 - first_PS, zeros, -ones], dim=1),
    )
    losses_BP = []
    for form_PR, energy_BC in zip(forms_PR, _mixture_energies(gram_BCRR), strict=True):
        error_BCP = ((form_PR @ gram_BCRR) * form_PR).sum(-1).clamp_min(0)
        loss_BCP = snr_loss_of_energies(error_BCP, energy_BC.unsqueeze(-1), soft_threshold_db)
        losses_BP.append(loss_BCP.mean(1))
    return (losses_BP[0] + losses_BP[1]) / 2


def _mixture_energies(gram_BCRR: Tensor) -> tuple[Tensor, Tensor]:
    return gram_BCRR[..., -2, -2], gram_BCRR[..., -1, -1]


def _least_squares(gram_BRR: Tensor) -> Tensor:
    """Return, as [B, S], the outputs whose first coefficient is the larger (signed, ties to 0).

    Normal equations with a ridge: torch's `lstsq` on CUDA takes full rank for granted, and dead or
    collinear outputs are common early in training.
    """
    normal_BSS, cross_BSM = gram_BRR[:, :-2, :-2], gram_BRR[:, :-2, -2:]
    mean_energy_B11 = normal_BSS.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    ridge = RIDGE * mean_energy_B11 + torch.finfo(torch.float32).tiny
    identity = torch.eye(normal_BSS.shape[-1], device=gram_BRR.device, dtype=gram_BRR.dtype)
    # solve_ex never raises: what is not finite loses every comparison and goes to mixture 1.
    coefficients_BSM, _ = torch.linalg.solve_ex(normal_BSS + ridge * identity, cross_BSM)
    first_BS: Tensor = coefficients_BSM[..., 0] >= coefficients_BSM[..., 1]
    return first_BS.double()
