"""Learning rates over a run, torch-free: settings that are also the arithmetic.

A rate is a pure function of the step and of the validation losses so far: nothing is state, and a
run that resumes has the rate it would have had. To add a schedule, write its class and name it in
`ScheduleConfig`.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from storage.config import Config, MeasuredIn

Share = Annotated[float, Field(gt=0, le=1)]


class Schedule(Config):
    """A linear warm-up to the peak, then what the kind of schedule says."""

    kind: str
    """Which schedule this is."""
    warmup_steps: NonNegativeInt = 4000
    """Steps of linear warm-up (the paper says 5000 in pre-training; the code 4000)."""

    def rate(self, peak: float, step: int, steps: int, losses: Sequence[float]) -> float:
        """Return the learning rate of a step, counted from 0.

        (step + 1) / warmup_steps of the peak during the warm-up. The authors' warm-up counts from
        -1, so their first step climbs instead of descending; this one never does.

        Args:
            peak: the highest rate.
            step: whose rate it is.
            steps: of the whole run.
            losses: of the validations so far, oldest first.
        """
        if step < self.warmup_steps:
            return peak * (step + 1) / self.warmup_steps
        return peak * self.share(step, steps, losses)

    @abstractmethod
    def share(self, step: int, steps: int, losses: Sequence[float]) -> float:
        """Return which share of the peak a step after the warm-up has."""


class ExponentialSchedule(Schedule):
    """Constant up to `hold_steps`, then multiplied by `decay` every `decay_every` steps."""

    kind: Literal["exponential"] = "exponential"
    hold_steps: NonNegativeInt = 0
    """Step up to which the learning rate stays at its peak after the warm-up."""
    decay: Share = 0.965
    """What the rate is multiplied by."""
    decay_every: Annotated[PositiveInt, MeasuredIn("steps")] = 2038
    """From one decay to the next (2 epochs in the code; the paper says every epoch)."""

    def share(self, step: int, steps: int, losses: Sequence[float]) -> float:
        """Return `decay` ** (steps since the hold // `decay_every`)."""
        since = max(0, step - max(self.warmup_steps, self.hold_steps))
        return float(self.decay ** (since // self.decay_every))


class CosineSchedule(Schedule):
    """Half a cosine from the peak to `final` of it at the last step (Loshchilov & Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    final: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the peak that is left at the end."""

    def share(self, step: int, steps: int, losses: Sequence[float]) -> float:
        """Return final + (1 - final) (1 + cos(pi t)) / 2, with t from 0 to 1 after the warm-up."""
        whole = max(1, steps - self.warmup_steps)
        t = min(1.0, (step - self.warmup_steps) / whole)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * t)) / 2


class PlateauSchedule(Schedule):
    """Multiplied by `factor` when `patience` validations in a row brought nothing better.

    As PyTorch's `ReduceLROnPlateau` in mode `min` with an absolute threshold and no cooldown:
    losses here are in dB and may be negative, where a relative one means nothing.
    """

    kind: Literal["plateau"] = "plateau"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """What the rate is multiplied by."""
    patience: NonNegativeInt = 2
    """Validations without an improvement that are borne; the next one lowers the rate."""
    threshold: Annotated[NonNegativeFloat, MeasuredIn("dB")] = 1e-4
    """Least decrease of the validation loss that counts as an improvement."""
    minimum: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the peak that the rate never falls below."""

    def share(self, step: int, steps: int, losses: Sequence[float]) -> float:
        """Return `factor` ** (plateaus among the losses so far)."""
        best, waited, share = math.inf, 0, 1.0
        for loss in losses:
            if loss < best - self.threshold:
                best, waited = loss, 0
            else:
                waited += 1
            if waited > self.patience:
                share, waited = max(self.minimum, share * self.factor), 0
        return share


class ConstantSchedule(Schedule):
    """The peak, from the end of the warm-up on."""

    kind: Literal["constant"] = "constant"

    def share(self, step: int, steps: int, losses: Sequence[float]) -> float:
        """Return 1."""
        return 1.0


ScheduleConfig = Annotated[
    ExponentialSchedule | CosineSchedule | PlateauSchedule | ConstantSchedule,
    Field(discriminator="kind"),
]
"""Any schedule, distinguished by its `kind`."""
