import math

import pytest
import torch
from torch import Tensor

from storage.errors import ConfigError
from training.models.bs_locoformer.config import BsLocoformerConfig
from training.models.bs_locoformer.model import BsLocoformer, ConvSwiGLU, RMSGroupNorm
from training.models.separator import build, select_outputs
from training.spectral import istft, kept_frames, stft

TINY = BsLocoformerConfig(
    outputs=3, blocks=2, width=16, hidden=12, kernel=4, heads=2, groups=4, dropout=0.0
)
LENGTH = 9_000

SIZES = {
    "small": dict(blocks=4, width=96, hidden=128, heads=4, groups=4),
    "medium": dict(blocks=6, width=128, hidden=192, heads=8, groups=8),
    "large": dict(blocks=9, width=192, hidden=256, heads=8, groups=8),
}


def tiny(**changes: object) -> BsLocoformer:
    torch.manual_seed(0)
    model = BsLocoformer(TINY.model_copy(update=changes))
    # Away from the start values, where ones and zeros would hide a misplaced scale or bias.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("size", "separator", "encoder", "decoder_4", "decoder_12"),
    [
        ("small", 5_021_440, 407_752, 24_115_360, 49_371_360),
        ("medium", 14_959_104, 540_936, 37_221_920, 70_874_720),
        ("large", 45_157_248, 807_304, 71_053_600, 121_500_000),
    ],
)
def test_parameter_counts_are_the_published_ones(
    size: str, separator: int, encoder: int, decoder_4: int, decoder_12: int
) -> None:
    for outputs, decoder in ((4, decoder_4), (12, decoder_12)):
        with torch.device("meta"):
            model = BsLocoformer(BsLocoformerConfig.parse(dict(SIZES[size], outputs=outputs)))
        assert sum(p.numel() for p in model.frozen_parameters()) == separator
        assert sum(p.numel() for p in model.encoder.parameters()) == encoder
        assert sum(p.numel() for p in model.decoder.parameters()) == decoder
        assert sum(p.numel() for p in model.parameters()) == separator + encoder + decoder


def test_norm_has_the_gradient_of_its_formula_and_none_for_silence() -> None:
    norm = RMSGroupNorm(6, 2).double()
    x = noise(4, 6).double().requires_grad_()
    normalised = norm.float()(x.detach().float())
    grouped = x.detach().view(4, 2, 3)
    rms = grouped.norm(dim=-1, keepdim=True) / math.sqrt(3)
    torch.testing.assert_close(normalised, (grouped / (rms + 1e-5)).view(4, 6).float())
    silent = torch.zeros(2, 6, requires_grad=True)
    torch.autograd.backward(norm(silent).sum())
    assert silent.grad is not None
    assert silent.grad.isfinite().all()


def test_second_convolution_starts_as_the_published_transposed_one() -> None:
    torch.manual_seed(0)
    config = BsLocoformerConfig(width=32, hidden=64, kernel=4, heads=4, groups=4)
    largest = ConvSwiGLU(config, axis=1).contract.weight.abs().max().item()
    assert 0.99 < largest * math.sqrt(32 * 4) <= 1


def test_attention_in_several_calls_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = tiny().eval(), noise(2, 1, 2, LENGTH)
    whole = model(x)
    monkeypatch.setattr("training.models.attention.SEQUENCES_AT_ONCE", 7)
    torch.testing.assert_close(model(x), whole, rtol=1e-5, atol=1e-6)


def test_chosen_outputs_are_the_originals() -> None:
    model, x = tiny().eval(), noise(1, 1, 2, LENGTH)
    before = torch.get_rng_state()
    chosen = select_outputs(model, [2, 0])
    assert torch.equal(torch.get_rng_state(), before)
    assert chosen.outputs == 2
    assert chosen.config.outputs == 2
    assert not chosen.training
    whole = model(x)[:, [2, 0]]
    last_bits = 4 * torch.finfo(whole.dtype).eps * whole.abs().max().item()
    torch.testing.assert_close(chosen(x), whole, rtol=0, atol=last_bits)
    ours = {p.data_ptr() for p in model.parameters()}
    assert ours.isdisjoint(p.data_ptr() for p in chosen.parameters())
    assert all(p.requires_grad for p in chosen.parameters())


@pytest.mark.parametrize("chosen", [[7, 3, 11, 0], [4, 5, 6, 7], [2]])
def test_every_bands_decoder_keeps_the_chosen_outputs_exactly(chosen: list[int]) -> None:
    """Weights to the bit. A product with fewer columns may sum in another order, whose rounding
    double precision puts out of sight."""
    model = tiny(outputs=12).eval()
    cut = select_outputs(model, chosen)
    ours = cut.state_dict()
    for name, whole in model.state_dict().items():
        if name.startswith("decoder.last"):
            kept = [whole[:, :, output] for output in chosen]
            assert ours[name].shape[2] == len(chosen)
            assert all(torch.equal(ours[name][:, :, n], one) for n, one in enumerate(kept))
        else:
            assert torch.equal(ours[name], whole)
    tokens, spectrum = noise(2, 9, 62, 16).double(), noise(2, 2, 9, 1025, 2).double()
    masked = model.double().get_submodule("decoder")(tokens, spectrum)
    torch.testing.assert_close(
        cut.double().get_submodule("decoder")(tokens, spectrum),
        masked[:, chosen],
        rtol=0,
        atol=1e-13,
    )


@pytest.mark.parametrize("chosen", [[], [3], [0, -1]])
def test_impossible_choices_are_refused(chosen: list[int]) -> None:
    with pytest.raises(ConfigError, match="chosen outputs"):
        select_outputs(tiny(), chosen)


def test_freezing_covers_the_blocks_and_nothing_else() -> None:
    model = tiny()
    frozen = {id(p) for p in model.frozen_parameters()}
    names = {name.split(".")[0] for name, p in model.named_parameters() if id(p) in frozen}
    kept = {name.split(".")[0] for name, p in model.named_parameters() if id(p) not in frozen}
    assert (names, kept) == ({"blocks"}, {"encoder", "decoder"})


def test_the_inverse_transform_inverts() -> None:
    x = noise(2, 3, 4_321)
    torch.testing.assert_close(istft(stft(x, 2048, 512).mT, 2048, 512, 4_321), x, rtol=0, atol=1e-5)


def test_six_seconds_lose_their_last_frame_and_hollow_ends_keep_it() -> None:
    assert kept_frames(264_600, 2048, 512, keep_last=False) == 516
    assert kept_frames(529_200, 2048, 512, keep_last=False) == 1033
    assert kept_frames(264_600, 2048, 512, keep_last=True) == 517
    assert kept_frames(512 * 9 + 511, 2048, 512, keep_last=False) == 10


def test_hops_that_leave_holes_between_windows_are_refused() -> None:
    with pytest.raises(ConfigError, match="hop = 1024"):
        tiny(hop=1024)


def test_build_reads_the_table() -> None:
    assert isinstance(build(TINY), BsLocoformer)
