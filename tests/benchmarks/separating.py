"""Separating a whole song with the demo's fine-tuned model: ours, the transcription, the floor."""

import torch
from torch import Tensor

from tests.benchmarks.measure import Result, Variant, in_turns
from tests.benchmarks.operations import MatrixProducts
from tests.training.models.bs_locoformer.transcription import copied_from
from training.config import SeparateConfig
from training.inference.overlap_add import chunk_spans, separate
from training.models.bs_locoformer.config import TINY
from training.models.bs_locoformer.model import BsLocoformer
from training.models.separator import Separator

SECONDS = 30
CHUNK_SECONDS, HOP_SECONDS = 6, 3
CHUNKS = SeparateConfig(chunk_seconds=CHUNK_SECONDS, hop_seconds=HOP_SECONDS)
"""As the demo separates."""
SWAPPED = CHUNKS.override(["swap_channels=true"])
ROUNDS = 5
CONFIG = TINY.model_copy(update={"outputs": 4})
"""The demo's fine-tuned model."""


class Published(Separator):
    """The plain transcription behind the contract of every separator."""

    def __init__(self, model: BsLocoformer) -> None:
        super().__init__(model.config)
        self.oracle = copied_from(model)

    def forward(self, x_BICT: Tensor) -> Tensor:
        """Separate [B, 1, C, T]."""
        y_BSCT: Tensor = self.oracle(x_BICT[:, 0])
        return y_BSCT


def run() -> Result:
    """Measure on all cores, with the allocator's default settings."""
    torch.manual_seed(0)
    model = BsLocoformer(CONFIG).eval()
    published = Published(model).eval()
    song = 0.1 * torch.randn(2, SECONDS * CONFIG.sample_rate)
    products = MatrixProducts(_operations(song.shape[-1]))
    rows = in_turns(
        [
            Variant("stemworks separate", "ours", lambda: separate(model, song, CHUNKS)),
            Variant("with channels swapped, too", "other", lambda: separate(model, song, SWAPPED)),
            Variant("transcription", "plain", lambda: separate(published, song, CHUNKS)),
            Variant("bare matrix products", "floor", products),
        ],
        ROUNDS,
    )
    notes = (
        f"real-time factor {rows[0].median / SECONDS:.3f}: "
        f"{SECONDS / rows[0].median:.1f} seconds of music per second",
        f"{products.operations / 1e9:.0f} GFLOP counted",
    )
    return Result("Separating a song", rows, SECONDS, "s of music", notes)


def _operations(samples: int) -> float:
    chunk, hop = CHUNK_SECONDS * CONFIG.sample_rate, HOP_SECONDS * CONFIG.sample_rate
    return len(chunk_spans(samples, chunk, hop)) * CONFIG.operations(chunk)
