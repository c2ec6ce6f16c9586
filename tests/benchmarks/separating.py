"""Separating a whole song with the demo's fine-tuned model: ours, the transcription, the floor."""

import torch
from torch import Tensor

from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.measure import Variant, in_turns
from tests.benchmarks.operations import MatrixProducts
from tests.benchmarks.report.form import Figure, Measurement
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
ROUNDS, SWAPPED_ROUNDS = 4, 2
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


def run(quick: bool) -> Measurement:
    """Measure on all cores, with the allocator's default settings."""
    torch.manual_seed(0)
    model = BsLocoformer(CONFIG).eval()
    published = Published(model).eval()
    song = 0.1 * torch.randn(2, SECONDS * CONFIG.sample_rate)
    operations = _operations(song.shape[-1])
    variants = [
        Variant("stemworks separate", "ours", lambda: separate(model, song, CHUNKS)),
        Variant(
            "with channels swapped, too",
            "other",
            lambda: separate(model, song, SWAPPED),
            rounds=SWAPPED_ROUNDS,
            warmed=False,
        ),
        Variant("transcription", "plain", lambda: separate(published, song, CHUNKS)),
        Variant("bare matrix products", "floor", MatrixProducts(operations)),
    ]
    rows = in_turns(variants, 1 if quick else ROUNDS)
    factor = tuple(seconds / SECONDS for seconds in rows[0].seconds)
    figures = (
        Figure(what="real-time factor", unit="s a second of music", values=factor),
        Figure(what="counted operations", unit="GFLOP", values=(operations / 1e9,)),
    )
    return Measurement(amount=SECONDS, unit="s of music", rows=rows, figures=figures)


def _operations(samples: int) -> float:
    chunk, hop = CHUNK_SECONDS * CONFIG.sample_rate, HOP_SECONDS * CONFIG.sample_rate
    return len(chunk_spans(samples, chunk, hop)) * CONFIG.operations(chunk)


BENCHMARK = Benchmark(
    name="separating",
    title="Separating a song",
    words=f"""\
{SECONDS} s of stereo through the demo's fine-tuned model ({CONFIG.outputs} outputs, untrained
weights, which take the same time), chunks of {CHUNK_SECONDS} s every {HOP_SECONDS} s, so that every
second is separated twice; all cores, glibc's default allocator. The transcription
(`tests/training/models/bs_locoformer/transcription.py`) goes through the same chunks with the same
weights. Separating with channels swapped, too, takes part in {SWAPPED_ROUNDS} rounds, without a
warm-up. The floor does the counted operations, forward only, as float32 products of square
matrices.""",
    omitted="""\
the published sizes, whose separators have many times the operations; reading and writing audio
files.""",
    run=run,
)
