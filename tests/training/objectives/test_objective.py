import torch

from training.config import TrainConfig
from training.engine import objectives
from training.objectives.mixit.config import MixitObjective
from training.objectives.supervised.config import SupervisedObjective


def test_perfect_estimates_reach_the_bound(mixit: TrainConfig) -> None:
    references = torch.randn(2, 4, 2, 4000)
    scale = torch.ones(())

    def forward(x_BICT: torch.Tensor) -> torch.Tensor:
        # In the loss domain the mixture has level 1, and so the references are scaled alike.
        gain = x_BICT / references.sum(1, keepdim=True)
        return references * gain * scale

    supervised = objectives.build(SupervisedObjective(), mixit.model)
    assert supervised(forward, references).loss < -29.9


def test_mixit_reports_how_outputs_are_shared(mixit: TrainConfig) -> None:
    references = torch.randn(3, 2, 2, 4000)

    def forward(x_BICT: torch.Tensor) -> torch.Tensor:
        return (references * x_BICT / references.sum(1, keepdim=True)).repeat_interleave(2, 1) / 2

    outcome = objectives.build(MixitObjective(), mixit.model)(forward, references)
    assert outcome.loss < -29.9
    assert outcome.logs["first_mixture_share"] == 0.5


def test_level_does_not_matter(mixit: TrainConfig) -> None:
    references = torch.randn(2, 4, 2, 4000)
    objective = objectives.build(SupervisedObjective(), mixit.model)
    losses = [
        objective(lambda x: x.expand(-1, 4, -1, -1) / 4, references * level).loss
        for level in (1.0, 1e-3)
    ]
    assert torch.allclose(losses[0], losses[1], atol=1e-4)
