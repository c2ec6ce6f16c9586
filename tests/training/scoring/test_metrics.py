import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from training.scoring import metrics
from training.scoring.metrics import (
    csdr,
    csdr_frames,
    nanmedian,
    si_sdr,
    usdr_mdx21,
    usdr_per_channel,
)

FRAME = 400


@pytest.fixture(scope="module")
def museval_sdr() -> Callable[[Tensor, Tensor], np.ndarray[Any, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what museval imports warns of its own future
        from museval.metrics import bss_eval  # noqa: PLC0415

    def score(reference: Tensor, estimate: Tensor) -> np.ndarray[Any, Any]:
        swapped = (x.transpose(1, 2).double().numpy() for x in (reference, estimate))
        sdr: np.ndarray[Any, Any] = bss_eval(
            *swapped, window=FRAME, hop=FRAME, filters_len=8, bsseval_sources_version=False
        )[0]
        return sdr

    return score


def signals(samples: int = 5 * FRAME, sources: int = 3, channels: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(samples + sources)
    reference = torch.randn(sources, channels, samples, generator=generator, dtype=torch.float64)
    error = torch.randn(sources, channels, samples, generator=generator, dtype=torch.float64)
    return reference, reference + 0.3 * error


def _plain(reference: Tensor, estimate: Tensor) -> None:
    """Leave the signals as they are."""


def _silent_reference(reference: Tensor, estimate: Tensor) -> None:
    reference[1, :, FRAME : 2 * FRAME] = 0


def _silent_estimate(reference: Tensor, estimate: Tensor) -> None:
    estimate[0, :, 3 * FRAME : 4 * FRAME] = 0


def _opposite_channels(reference: Tensor, estimate: Tensor) -> None:
    reference[2, 1, :FRAME] = -reference[2, 0, :FRAME]


def _almost_silent(reference: Tensor, estimate: Tensor) -> None:
    reference[1, :, : FRAME - 1] = 0


@pytest.mark.parametrize(
    "change", [_plain, _silent_reference, _silent_estimate, _opposite_channels, _almost_silent]
)
def test_closed_form_is_museval(
    museval_sdr: Callable[[Tensor, Tensor], np.ndarray[Any, Any]],
    change: Callable[[Tensor, Tensor], None],
) -> None:
    reference, estimate = signals()
    change(reference, estimate)
    ours = csdr_frames(reference, estimate, FRAME).numpy()
    np.testing.assert_allclose(ours, museval_sdr(reference, estimate), rtol=0, atol=1e-9)
    medians = np.nanmedian(ours, axis=1)
    np.testing.assert_allclose(csdr(reference, estimate, FRAME).numpy(), medians, atol=1e-12)


@pytest.mark.parametrize("samples", [FRAME // 2, FRAME, FRAME + 1, 2 * FRAME - 1, 3 * FRAME + 7])
@pytest.mark.parametrize(("sources", "channels"), [(1, 1), (2, 2), (4, 2)])
def test_frames_are_counted_as_museval_counts_them(
    museval_sdr: Callable[[Tensor, Tensor], np.ndarray[Any, Any]],
    samples: int,
    sources: int,
    channels: int,
) -> None:
    reference, estimate = signals(samples, sources, channels)
    expected = museval_sdr(reference, estimate)
    ours = csdr_frames(reference, estimate, FRAME).numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("frames", [15, 16, 17, 33])
def test_blocks_of_frames_are_the_frames_of_each(frames: int) -> None:
    reference, estimate = signals(frames * FRAME + 9)
    _silent_reference(reference, estimate)
    whole = csdr_frames(reference, estimate, FRAME)
    assert whole.shape == (3, frames)
    for number in range(frames):
        span = slice(number * FRAME, (number + 1) * FRAME)
        alone = csdr_frames(reference[..., span], estimate[..., span], FRAME)
        np.testing.assert_allclose(whole[:, number : number + 1], alone, rtol=0, atol=1e-12)


def test_a_silent_frame_is_nan_for_every_source_and_no_other_frame() -> None:
    reference, estimate = signals()
    _silent_reference(reference, estimate)
    nan = csdr_frames(reference, estimate, FRAME).isnan()
    assert nan[:, 1].all()
    assert nan.sum() == 3


def test_no_error_is_infinite() -> None:
    reference, estimate = signals()
    estimate[0, :, :FRAME] = reference[0, :, :FRAME]
    frames = csdr_frames(reference, estimate, FRAME)
    assert frames[0, 0] == torch.inf
    assert frames[1:, 0].isfinite().all()
    assert (csdr(reference, reference, FRAME) == torch.inf).all()


def test_a_silent_song_has_no_score_and_an_empty_one_no_frames() -> None:
    reference, estimate = signals()
    assert csdr(torch.zeros_like(reference), estimate, FRAME).isnan().all()
    assert csdr_frames(reference[..., :0], estimate[..., :0], FRAME).shape == (3, 0)
    assert csdr(reference[..., :0], estimate[..., :0], FRAME).isnan().all()


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.integers(1, 9)),
        elements=st.one_of(st.floats(-50, 50), st.just(np.nan), st.just(np.inf)),
    )
)
def test_nanmedian_is_numpys(values: np.ndarray[Any, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's word for an all-NaN row
        expected = np.nanmedian(values, axis=1)
    np.testing.assert_allclose(nanmedian(torch.from_numpy(values)).numpy(), expected, rtol=1e-12)


def test_the_two_forms_of_usdr() -> None:
    reference, estimate = torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)
    reference[0, 0], reference[0, 1] = 1.0, 10.0
    estimate[0, 0], estimate[0, 1] = 0.9, 0.0
    assert usdr_per_channel(reference, estimate).item() == pytest.approx((20 + 0) / 2, abs=1e-4)
    expected = 10 * np.log10(404 / (400 + 0.04))
    assert usdr_mdx21(reference, estimate).item() == pytest.approx(expected, abs=1e-6)


def test_usdr_of_silence_is_finite() -> None:
    silence = torch.zeros(2, 2, 50)
    assert (usdr_mdx21(silence, silence) == 0).all()
    assert usdr_per_channel(silence, silence + 1).isfinite().all()


def test_si_sdr_ignores_scale_and_counts_orthogonal_error() -> None:
    time = torch.arange(1000) / 1000
    reference, error = (2 * torch.pi * 5 * time).sin(), (2 * torch.pi * 50 * time).sin()
    for scale in (0.1, 1.0, 7.0):
        value = si_sdr(reference, scale * (reference + 0.1 * error))
        assert value.item() == pytest.approx(20.0, abs=1e-3)


def test_silence_is_scored_by_what_is_added_to_every_energy() -> None:
    silence, faint = torch.zeros(1, 2, 4), torch.full((1, 2, 4), 1e-4)
    wrong = 4 * 1e-8
    assert usdr_per_channel(silence, faint).item() == pytest.approx(
        10 * np.log10(1e-8 / (wrong + 1e-8)), abs=1e-5
    )
    assert usdr_mdx21(silence, faint).item() == pytest.approx(
        10 * np.log10(1e-7 / (2 * wrong + 1e-7)), abs=1e-5
    )
    assert si_sdr(silence, faint)[0, 0].item() == pytest.approx(
        10 * np.log10(1e-8 / (wrong + 1e-8)), abs=1e-5
    )


@pytest.mark.parametrize("at_once", [1, 7, 40, 10**6])
def test_long_signals_are_scored_by_the_piece(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Against the formula on whole signals, Le Roux et al. 2019 for SI-SDR."""
    reference, estimate = signals(103)
    signal, error = reference.square().sum(-1), (reference - estimate).square().sum(-1)
    scale = (reference * estimate).sum(-1, keepdim=True) / reference.square().sum(-1, keepdim=True)
    target = scale * reference
    ratio = target.square().sum(-1) / (estimate - target).square().sum(-1)
    monkeypatch.setattr(metrics, "AT_ONCE", at_once)
    found = usdr_per_channel(reference, estimate), si_sdr(reference, estimate)
    expected = (10 * torch.log10(signal / error)).mean(-1), 10 * torch.log10(ratio)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_frame_is_a_second_of_44100_samples() -> None:
    reference, estimate = signals(2 * 44_100 + 44_099, sources=1, channels=1)
    assert csdr_frames(reference, estimate).shape == (1, 2)
    assert torch.equal(csdr(reference, estimate), csdr(reference, estimate, 44_100))
