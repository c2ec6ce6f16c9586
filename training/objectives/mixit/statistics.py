"""Which outputs are alive: how a model shares out its energy, and how well each mixture is met.

MixIT asks only that outputs add up to mixtures, so a model may leave outputs silent, or put
everything into one. Both show here before they show in scores.

Tensors: B batch, I = 1 mixture in, M = 2 mixtures, S outputs, C audio channels, T samples.
"""

import torch
from torch import Tensor

from training.losses.mixit import assign
from training.objectives.mixit.config import MixitObjective
from training.objectives.objective import Numbers, Outcome

QUIET = 1e-12
"""Energy below which a signal counts as silent, and least error that a ratio divides by."""


def energy_shares(outputs_BSCT: Tensor) -> Tensor:
    """Return each output's share of its example's energy, [B, S]; all zero where all are silent."""
    energy_BS = outputs_BSCT.double().square().sum(dim=(2, 3))
    return energy_BS / energy_BS.sum(dim=1, keepdim=True).clamp_min(QUIET)


def effective_number(shares_S: Tensor) -> Tensor:
    """Return how many equal shares would be as diverse, [...] of [..., S]: exp of their entropy.

    S equal shares give S, one that has everything gives 1, and no energy at all gives 0.
    """
    number: Tensor = torch.special.entr(shares_S).sum(-1).exp() * (shares_S.sum(-1) > 0)
    return number


def mixture_snr(outputs_BSCT: Tensor, references_BMCT: Tensor, objective: MixitObjective) -> Tensor:
    """Return [B, 2]: the SNR in dB of the louder and the quieter mixture, the mean over channels.

    Outputs go to the mixture that the objective assigns them to. `references_BMCT` must be at the
    outputs' level.
    """
    chosen_BMS = assign(
        outputs_BSCT, references_BMCT, objective.solver, objective.soft_threshold_db
    )
    sums_BMCT = torch.einsum("bms,bsct->bmct", chosen_BMS, outputs_BSCT.float())
    energy_BMC = references_BMCT.square().sum(-1)
    error_BMC = (references_BMCT - sums_BMCT).square().sum(-1)
    ratio_BMC = energy_BMC.clamp_min(QUIET) / error_BMC.clamp_min(QUIET)
    order_BM = energy_BMC.sum(-1).argsort(dim=1, descending=True)
    return (10 * ratio_BMC.log10()).mean(-1).gather(1, order_BM)


class OutputStatistics:
    """Sums over examples, which add up over batches and processes, and what they say."""

    def __init__(self, objective: MixitObjective, outputs: int) -> None:
        self._objective = objective
        self._sums = torch.zeros(outputs + 5, dtype=torch.float64)

    @torch.no_grad()
    def add(self, outcome: Outcome) -> None:
        """Count a batch."""
        outputs_BSCT, references_BMCT = outcome.separation.waveforms, outcome.references
        shares_BS = energy_shares(outputs_BSCT)
        columns = [
            shares_BS,
            effective_number(shares_BS)[:, None],
            shares_BS.max(dim=1, keepdim=True).values,
            mixture_snr(outputs_BSCT, references_BMCT, self._objective).double(),
            torch.ones_like(shares_BS[:, :1]),
        ]
        self._sums += torch.cat(columns, dim=1).sum(dim=0).cpu()

    def sums(self) -> list[float]:
        """Return the sums, to be added to those of other processes."""
        return [float(value) for value in self._sums]

    def numbers(self, sums: list[float]) -> Numbers:
        """Return what the sums say, by name: see `training/engine/telemetry.py`."""
        count = max(1.0, sums[-1])
        *shares, effective, dominance, louder, quieter = (value / count for value in sums[:-1])
        return {
            "snr_louder": louder,
            "snr_quieter": quieter,
            "effective_sources": effective,
            "alive_outputs": float(effective_number(torch.tensor(shares))),
            "dominance": dominance,
            "energy_shares": shares,
        }
