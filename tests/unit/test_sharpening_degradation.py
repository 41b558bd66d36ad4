"""Blind estimation, on pairs whose sensors are known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from comix_cli.sharpening.estimate import Samples, estimate_degradation
from comix_models.degradation import PointSpread, blur_matrix, blurred, reach_in_pixels
from comix_models.placement import Placement

SIDE, BANDS, MEMBERS = 80, 16, 30
GAIN = torch.tensor([3000.0, 0.02], dtype=torch.float64)
OFFSET = torch.tensor([20.0, -0.001], dtype=torch.float64)


def uniform(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def a_ground() -> Tensor:
    """Smooth mixtures of many materials with a texture: reflectance `(bands, H, W)`."""
    spectra = 0.1 + uniform(BANDS, MEMBERS, seed=1)
    smooth = F.interpolate(uniform(1, MEMBERS, 10, 10, seed=2), size=(SIDE, SIDE), mode="bicubic")
    share = smooth[0].clamp_min(0) ** 3 * (0.4 + uniform(MEMBERS, SIDE, SIDE, seed=3))
    ground: Tensor = torch.tensordot(spectra, share / share.sum(0), 1)
    return ground


def a_response() -> Tensor:
    """Two bell curves that overlap in no band, cut at a distance: `(channels, bands)`."""
    at = torch.arange(BANDS, dtype=torch.float64)
    curves = torch.exp(-0.5 * ((at - torch.tensor([[4.0], [11.0]])) / 1.5) ** 2)
    cut = torch.where(curves > 0.05, curves, 0.0)
    return cut / cut.sum(1, keepdim=True)


def perturbed(response: Tensor) -> Tensor:
    """Each weight up to 40 % more or less."""
    other = response * (1 + 0.4 * (2 * uniform(*response.shape, seed=4) - 1))
    return other / other.sum(1, keepdim=True)


def sampled(x: Tensor, hsi: Tensor, placement: Placement) -> Samples:
    reach = reach_in_pixels(placement.ratio)
    found = []
    for i, y in enumerate(placement.centres(0, hsi.shape[1])):
        for j, z in enumerate(placement.centres(1, hsi.shape[2])):
            row, col = math.floor(y) - reach[0], math.floor(z) - reach[1]
            patch = x[:, max(row, 0) : row + 2 * reach[0] + 1, max(col, 0) : col + 2 * reach[1] + 1]
            if patch.shape[1:] == (2 * reach[0] + 1, 2 * reach[1] + 1) and min(row, col) >= 0:
                found.append((hsi[:, i, j], patch, torch.tensor([row + 0.5 - y, col + 0.5 - z])))
    spectra, patches, corners = zip(*found, strict=True)
    return Samples(torch.stack(spectra), torch.stack(patches), torch.stack(corners))


def a_pair(placement: Placement, spread: PointSpread) -> Samples:
    ground = a_ground()
    rows, cols = (
        int((SIDE - offset) / ratio)
        for offset, ratio in zip(placement.offset, placement.ratio, strict=True)
    )
    matrix, _ = blur_matrix(placement, spread, (SIDE, SIDE), (rows, cols))
    hsi = blurred(matrix.double(), ground, (rows, cols))
    x = torch.tensordot(a_response(), ground, 1) * GAIN[:, None, None] + OFFSET[:, None, None]
    return sampled(x, hsi, placement)


@pytest.mark.parametrize(
    ("placement", "spread"),
    [
        (Placement((4, 4)), PointSpread((2.0, 1.5), 0.3, (0.5, -0.8))),
        (Placement((3.3, 3.7), (1.2, 0.7)), PointSpread((1.4, 1.8), -0.4, (-0.3, 0.6))),
    ],
    ids=["whole ratio", "any ratio"],
)
def test_what_the_sensors_did_is_found(placement: Placement, spread: PointSpread) -> None:
    response = a_response()
    prior = perturbed(response)
    assert (prior - response).norm() > 0.2 * response.norm()

    net = estimate_degradation(a_pair(placement, spread), prior, placement.ratio)

    found = net.spread()
    assert found.sigma == pytest.approx(spread.sigma, rel=0.02)
    assert found.tilt == pytest.approx(spread.tilt, abs=0.02)
    assert found.shift == pytest.approx(spread.shift, abs=0.05)
    assert (net.response - response).norm() < 0.02 * response.norm()
    torch.testing.assert_close(net.gain, GAIN, rtol=0.02, atol=0)
    # Against what the channel varies by: the offset itself is small.
    assert ((net.offset - OFFSET).abs() < 0.02 * 0.5 * GAIN).all()
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_units_of_the_hsi_do_not_matter() -> None:
    placement = Placement((4, 4))
    pair = a_pair(placement, PointSpread((1.7, 1.7)))
    prior = perturbed(a_response())
    numbers = replace(pair, hsi=10_000 * pair.hsi)

    plain = estimate_degradation(pair, prior, placement.ratio)
    scaled = estimate_degradation(numbers, prior, placement.ratio)

    torch.testing.assert_close(scaled.gain * 10_000, plain.gain, rtol=1e-3, atol=0)
    torch.testing.assert_close(scaled.response, plain.response, rtol=0, atol=1e-3)
    assert scaled.spread().sigma == pytest.approx(plain.spread().sigma, rel=1e-3)


def test_changed_pixels_hardly_pull() -> None:
    placement, spread = Placement((4, 4)), PointSpread((2.0, 1.6))
    pair = a_pair(placement, spread)
    clouded = pair.patches.clone()
    clouded[::40] = GAIN[:, None, None] * 1.5  # far brighter than anything on the ground

    net = estimate_degradation(
        replace(pair, patches=clouded), perturbed(a_response()), placement.ratio
    )

    assert net.spread().sigma == pytest.approx(spread.sigma, rel=0.1)
    torch.testing.assert_close(net.gain, GAIN, rtol=0.1, atol=0)
