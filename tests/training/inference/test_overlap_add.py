import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.config import SeparateConfig, TrainConfig
from training.inference.overlap_add import add_up, chunk_spans, chunks_of, separate
from training.models.bs_locoformer.config import BsLocoformerConfig
from training.models.separator import Separator, build

CONFIG = BsLocoformerConfig(outputs=4, sample_rate=100)


class Sharing(Separator):
    """Every output is an equal share of the input; lengths that it was given are noted."""

    def __init__(self, config: BsLocoformerConfig = CONFIG) -> None:
        super().__init__(config)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x_BICT: Tensor) -> Tensor:
        self.seen.append(tuple(x_BICT.shape))
        return x_BICT.expand(-1, self.config.outputs, -1, -1) / self.config.outputs


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 700),
    st.sampled_from([(1.0, 2), (0.05, 2), (1.2, 2), (1.0, 3), (0.7, 7), (1.0, 1)]),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 9),
)
def test_equal_masks_give_the_song_back_exactly(
    length: int, framing: tuple[float, int], batch: int, shifts: int, seed: int
) -> None:
    chunk, overlaps = framing
    song = torch.randn(2, length, generator=torch.Generator().manual_seed(seed))
    song[0] *= 1e-3
    config = SeparateConfig(
        chunk_seconds=chunk,
        hop_seconds=chunk / overlaps,
        batch_size=batch,
        shifts=shifts,
        swap_channels=bool(seed % 2),
        sum_to_mixture=bool(seed % 3),
    )
    stems = separate(Sharing(), song, config)
    assert stems.shape == (4, 2, length)
    assert torch.equal(stems.sum(0), song)


@given(st.integers(1, 500), st.integers(1, 60), st.integers(1, 60))
def test_chunks_cover_everything_and_never_leave_the_song(
    length: int, chunk: int, hop: int
) -> None:
    chunk = min(chunk, length)
    hop = min(hop, chunk)
    spans = chunk_spans(length, chunk, hop)
    covered = np.zeros(length, int)
    for start, used in spans:
        assert 0 <= start <= used < start + chunk <= length
        covered[used : start + chunk] += 1
    assert covered.min() >= 1
    assert covered.max() <= -(-chunk // hop)
    assert [used for _, used in spans] == list(range(0, hop * len(spans), hop))


def test_every_chunk_is_whole_and_batches_are_full() -> None:
    model, told = Sharing(), []
    config = SeparateConfig(chunk_seconds=1, hop_seconds=0.5, batch_size=3)
    separate(model, torch.randn(2, 430), config, lambda *x: told.append(x))
    assert [shape[0] for shape in model.seen] == [3, 3, 2]
    assert {shape[1:] for shape in model.seen} == {(1, 2, 100)}
    assert told == [(3, 8), (6, 8), (8, 8)]


def test_silent_chunks_are_not_separated() -> None:
    model = Sharing()
    song = torch.zeros(2, 1000)
    song[:, :100] = 0.5
    song[:, 600] = 1e-6
    stems = separate(model, song, SeparateConfig(chunk_seconds=1, hop_seconds=0.5, batch_size=8))
    assert sum(shape[0] for shape in model.seen) == 2
    assert torch.equal(stems.sum(0), song)
    silence = torch.zeros(2, 50)
    assert torch.equal(separate(Sharing(), silence, SeparateConfig()).sum(0), silence)


def test_a_real_model_takes_any_length(mixit: TrainConfig) -> None:
    model = build(mixit.model).eval()
    config = SeparateConfig(chunk_seconds=0.5, hop_seconds=0.25)
    for length in (1, 100, 4001, 9000):
        stems = separate(model, 0.1 * torch.randn(2, length), config)
        assert stems.shape == (4, 2, length)
        assert stems.isfinite().all()


class Leaning(Sharing):
    """Gives left to the first output and right to the second, louder in the middle of a chunk."""

    def forward(self, x_BICT: Tensor) -> Tensor:
        shares = torch.linspace(0, 1, x_BICT.shape[-1])
        y_BSCT = torch.zeros(len(x_BICT), 4, *x_BICT.shape[2:])
        y_BSCT[:, 0, 0], y_BSCT[:, 1, 1] = x_BICT[:, 0, 0] * shares, x_BICT[:, 0, 1]
        return y_BSCT


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 900), st.integers(10, 200), st.integers(1, 4), st.integers(1, 6))
def test_pieces_are_what_a_plain_average_of_all_chunks_is(
    length: int, chunk: int, overlaps: int, batch: int
) -> None:
    song = torch.randn(2, length, generator=torch.Generator().manual_seed(length))
    # A whole number of samples, lest half a sample be rounded one way here and another there.
    hop = max(1, chunk // overlaps)
    config = SeparateConfig(chunk_seconds=chunk / 100, hop_seconds=hop / 100, batch_size=batch)
    stems = separate(Leaning(), song, config)
    size = min(chunk, length)
    spans = chunk_spans(length, size, hop if size == chunk else min(hop, size))
    total, count = torch.zeros(4, 2, length), torch.zeros(length)
    for start, used in spans:
        output = Leaning()(song[None, None, :, start : start + size])[0]
        total[..., used : start + size] += output[..., used - start :]
        count[used : start + size] += 1
    assert torch.allclose(stems, total / count, atol=1e-5)


def test_shifts_are_the_average_of_framings_a_part_of_a_hop_apart() -> None:
    song = torch.randn(2, 1000, generator=torch.Generator().manual_seed(1))
    config = SeparateConfig(chunk_seconds=1, hop_seconds=1)
    twice = separate(Leaning(), song, config.override(["shifts=2"]))
    framed = [separate(Leaning(), song[:, shift:], config) for shift in (0, 50)]
    middle = slice(100, 850)
    mean = (framed[0][..., 50:] + framed[1]) / 2
    assert torch.allclose(twice[..., 50:][..., middle], mean[..., middle], atol=1e-6)


def test_a_chunk_of_one_sample_has_no_part_of_a_hop() -> None:
    song = torch.randn(2, 7, generator=torch.Generator().manual_seed(1))
    config = SeparateConfig(chunk_seconds=0.01, hop_seconds=0.01, shifts=3)
    assert torch.allclose(separate(Sharing(), song, config).sum(0), song)


def test_swapping_channels_averages_both_ways_round() -> None:
    song = torch.randn(2, 100, generator=torch.Generator().manual_seed(1))
    plain = SeparateConfig(chunk_seconds=1, hop_seconds=1)
    stems = separate(Leaning(), song, plain.override(["swap_channels=true"]))
    there = separate(Leaning(), song, plain)
    back = separate(Leaning(), song.flip(0), plain)
    assert torch.allclose(stems, (there + back.flip(1)) / 2, atol=1e-6)
    assert not torch.allclose(stems, there, atol=1e-2)


def test_stems_are_made_to_add_up_to_the_mixture() -> None:
    song = torch.randn(2, 1000, generator=torch.Generator().manual_seed(1))
    plain = SeparateConfig(chunk_seconds=1, hop_seconds=0.5)
    loose = separate(Leaning(), song, plain)
    stems = separate(Leaning(), song, plain.override(["sum_to_mixture=true"]))
    assert not torch.allclose(loose.sum(0), song, atol=1e-2)
    assert torch.allclose(stems.double().sum(0), song.double(), atol=1e-6)
    rest = stems - loose
    assert torch.allclose(rest, rest[:1].expand_as(rest), atol=1e-6)
    assert torch.equal(stems, add_up(loose, song))


@pytest.mark.parametrize(("peak", "heard"), [(2.0**-17, 0), (1.01 * 2.0**-17, 1), (0.01, 1)])
def test_half_a_sixteen_bit_step_is_silence(peak: float, heard: int) -> None:
    """In either channel, and of either sign."""
    for channel, sign in ((0, 1), (1, -1)):
        model, song = Sharing(), torch.zeros(2, 100)
        song[channel, 50] = sign * peak
        stems = separate(model, song, SeparateConfig(chunk_seconds=1, hop_seconds=1))
        assert len(model.seen) == heard
        assert torch.equal(stems.sum(0), song)


class Listening(Sharing):
    """Notes how loud each channel is that it is given."""

    def forward(self, x_BICT: Tensor) -> Tensor:
        self.levels = x_BICT.square().mean(-1).sqrt().flatten().tolist()
        return super().forward(x_BICT)


@pytest.mark.parametrize("gain", [2.0**-12, 0.003, 0.7, 1.0, 1.3, 60.0])
def test_models_hear_every_channel_at_one_level(gain: float) -> None:
    """The nearest power of two divides it: within three decibels of an RMS of 1."""
    model = Listening()
    song = torch.randn(2, 100, generator=torch.Generator().manual_seed(3))
    song *= gain * torch.tensor([[1.0], [0.05]])
    separate(model, song, SeparateConfig(chunk_seconds=1, hop_seconds=1))
    assert all(2**-0.501 < level < 2**0.501 for level in model.levels)


def test_chunk_and_hop_are_as_set_or_the_models_own() -> None:
    model = Sharing()
    own = model.chunk_seconds, model.hop_seconds
    assert chunks_of(model, SeparateConfig(chunk_seconds=None, hop_seconds=None)) == own
    hop = SeparateConfig(chunk_seconds=None, hop_seconds=0.7)
    assert chunks_of(model, hop) == (model.chunk_seconds, 0.7)
    assert chunks_of(model, SeparateConfig(chunk_seconds=3, hop_seconds=None)) == (3, 1.5)
    assert chunks_of(model, SeparateConfig(chunk_seconds=3, hop_seconds=2)) == (3, 2)
