from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from comix_models.spectral_prior import SpectralPrior

Array = NDArray[np.float64]
BANDS, CHANNELS, PIXELS = 6, 2, 200
RESPONSE = torch.tensor([[0.5, 0.5, 0, 0, 0, 0], [0, 0, 0, 0.2, 0.3, 0.5]])


def uniform(*shape: int, seed: int) -> Tensor:
    return 0.1 + torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def a_scene() -> tuple[Tensor, Tensor, Tensor]:
    """HSI, the same blurred, and what the other sensor saw of it with some noise."""
    hsi = uniform(BANDS, PIXELS, seed=1)
    around = 0.6 * hsi + 0.4 * uniform(BANDS, PIXELS, seed=2)
    return hsi, around, RESPONSE @ hsi + 0.02 * uniform(CHANNELS, PIXELS, seed=3)


def by_formula(local: Tensor, x: Tensor) -> Array:
    """The conditional mean of the joint Gaussian of shapes, by its block matrices."""
    hsi, around, seen, mix = (t.double().numpy() for t in (*a_scene(), RESPONSE))
    floor = 0.01 * (mix @ hsi).mean()

    def shape(spectra: Array) -> Array:
        divided: Array = spectra / ((mix @ spectra).mean(0) + floor)
        return divided

    def x_shape(channels: Array) -> Array:
        divided: Array = channels / (channels.mean(0) + floor)
        return divided

    scatter = shape(hsi) - shape(around)
    noise = x_shape(seen) - mix @ shape(hsi)
    own = scatter @ scatter.T / PIXELS
    cross, channels = own @ mix.T, mix @ own @ mix.T
    least = 1e-4 * np.trace(channels) / CHANNELS
    total = channels + noise @ noise.T / PIXELS + least * np.eye(CHANNELS)
    mean, told = shape(local.double().numpy()), x.double().numpy()
    expected = mean + cross @ np.linalg.inv(total) @ (x_shape(told) - mix @ mean)
    sharp: Array = expected * (told.mean(0) + floor)
    return sharp


def learnt() -> SpectralPrior:
    return SpectralPrior.learn(*a_scene(), RESPONSE)


def test_it_is_the_conditional_mean() -> None:
    local, x = uniform(BANDS, 50, seed=5), uniform(CHANNELS, 50, seed=6)

    found = learnt()(local, x)

    np.testing.assert_allclose(found, by_formula(local, x), rtol=1e-4, atol=1e-5)


def test_images_are_treated_pixel_by_pixel() -> None:
    local, x = uniform(BANDS, 3, 4, seed=5), uniform(CHANNELS, 3, 4, seed=6)
    prior = learnt()

    torch.testing.assert_close(
        prior(local, x).flatten(1), prior(local.flatten(1), x.flatten(1)), rtol=1e-6, atol=1e-6
    )


@settings(max_examples=20)
@given(st.floats(0.01, 1e4))
def test_a_scene_in_other_units_has_the_same_answer_in_these(factor: float) -> None:
    local, x = uniform(BANDS, 20, seed=5), uniform(CHANNELS, 20, seed=6)
    hsi, around, seen = a_scene()
    scaled = SpectralPrior.learn(factor * hsi, factor * around, factor * seen, RESPONSE)

    found = scaled(factor * local, factor * x) / factor

    torch.testing.assert_close(found, learnt()(local, x), rtol=1e-3, atol=1e-4)


def test_where_light_is_brighter_the_answer_is() -> None:
    local, x = uniform(BANDS, 20, seed=5), uniform(CHANNELS, 20, seed=6)
    prior = learnt()
    prior.floor.zero_()  # which darkness needs, and which is all that knows of units

    torch.testing.assert_close(prior(3 * local, 3 * x), 3 * prior(local, x), rtol=1e-4, atol=1e-3)


def test_it_is_exact_where_channels_tell_all_bands() -> None:
    # Shapes have one degree of freedom, which one of the channels against the other tells.
    spectra = uniform(BANDS, 2, seed=1)
    ground = spectra @ uniform(2, PIXELS, seed=2)
    around = spectra @ uniform(2, PIXELS, seed=3)
    prior = SpectralPrior.learn(ground, around, RESPONSE @ ground, RESPONSE)
    truth, local = spectra @ uniform(2, 40, seed=4), spectra @ uniform(2, 40, seed=5)

    found = prior(local, RESPONSE @ truth)

    assert (found - truth).abs().max() < 0.02 * truth.mean()
    assert (local - truth).abs().max() > 0.2 * truth.mean()


def test_channels_that_are_noise_are_not_believed() -> None:
    hsi, around, _ = a_scene()
    plain = learnt()
    noisy = SpectralPrior.learn(hsi, around, 3 * uniform(CHANNELS, PIXELS, seed=9), RESPONSE)

    assert noisy.regression.norm() < 0.5 * plain.regression.norm()


def test_a_scene_without_any_variance_stays_as_it_is() -> None:
    hsi = torch.full((BANDS, PIXELS), 0.3)
    prior = SpectralPrior.learn(hsi, hsi, RESPONSE @ hsi, RESPONSE)

    found = prior(hsi[:, :5], (RESPONSE @ hsi)[:, :5])

    torch.testing.assert_close(found, hsi[:, :5])


def test_darkness_has_a_finite_shape() -> None:
    found = learnt()(torch.zeros(BANDS, 3), torch.zeros(CHANNELS, 3))

    assert found.isfinite().all()
    assert found.abs().max() < 0.02
