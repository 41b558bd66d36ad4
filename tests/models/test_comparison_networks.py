"""U-Net and Fusion-FCN."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from comix_models.build import SPECS, build_model, count_parameters, spec_from_json
from comix_models.fuse import fuse, traced
from comix_models.fusion_fcn import FusionFCN, FusionFCNSpec
from comix_models.spec import CoMiXSpec, preset
from comix_models.spec_base import Spec
from comix_models.unet import UNetSpec

UNET = UNetSpec(5, 2, 3, width=4)
FUSION = FusionFCNSpec(5, 3, 3, x_groups=(2, 1), width=8)
BOTH = pytest.mark.parametrize("spec", [UNET, FUSION], ids=lambda spec: spec.model)


def batch(spec: Spec, rows: int = 16, columns: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Two chips, and labels that follow from them."""
    generator = torch.Generator().manual_seed(0)
    hsi, x = (
        torch.rand(2, channels, rows, columns, generator=generator)
        for channels in (spec.hsi_bands, spec.x_channels)
    )
    return hsi, x, (hsi[:, 0] + x[:, 0]).clamp(max=1.999).mul(1.5).long()


def made(spec: Spec) -> nn.Module:
    torch.manual_seed(0)
    return build_model(spec)


@pytest.mark.parametrize(
    "spec",
    [UNET, FUSION, preset("nano", hsi_bands=5, x_channels=2, classes=3)],
    ids=lambda spec: spec.model,
)
def test_steps_lower_the_loss_on_a_fixed_batch_of_every_network(spec: Spec) -> None:
    network = made(spec).train()
    hsi, x, labels = batch(spec)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(6):
        loss = F.cross_entropy(network(hsi, x), labels)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    assert losses[-1] < losses[1]


@BOTH
@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (13, 9), (1, 1), (3, 31)])
def test_windows_of_any_size_give_logits_of_that_size(spec: Spec, rows: int, columns: int) -> None:
    hsi, x, _ = batch(spec, rows, columns)
    assert made(spec).eval()(hsi, x).shape == (2, 3, rows, columns)


@BOTH
def test_every_weight_has_a_gradient(spec: Spec) -> None:
    network = made(spec)
    hsi, x, labels = batch(spec)
    torch.autograd.backward(F.cross_entropy(network(hsi, x), labels))
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@BOTH
def test_a_network_rewritten_for_inference_gives_the_same(spec: Spec) -> None:
    network = made(spec).double()
    hsi, x, _ = (tensor.double() for tensor in batch(spec, 13, 9))
    for _ in range(3):
        network(hsi, x)  # lets batch normalisations see something
    network.eval()
    expected = network(hsi, x)
    fused = fuse(network)
    torch.testing.assert_close(fused(hsi, x), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(traced(fused, hsi, x)(hsi, x), expected, rtol=1e-9, atol=1e-9)
    if spec.model == "unet":
        assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())


@BOTH
def test_x_that_does_not_fit_is_refused(spec: Spec) -> None:
    network, (hsi, x, _) = made(spec), batch(spec)
    with pytest.raises(ValueError, match=r"^x: 0 channels"):
        network(hsi)
    with pytest.raises(ValueError, match=r"^x: "):
        network(hsi, x[..., :5])


def test_a_u_net_of_the_hsi_alone_takes_no_x() -> None:
    network = made(UNetSpec(5, 0, 3, width=2)).eval()
    assert network(torch.zeros(1, 5, 8, 8)).shape == (1, 3, 8, 8)
    assert network(torch.zeros(1, 5, 8, 8), torch.zeros(1, 0, 8, 8)).shape == (1, 3, 8, 8)


def test_default_sizes_are_the_documented_ones() -> None:
    assert count_parameters(build_model(UNetSpec(177, 4, 5))) == 513_701
    # Houston2013; the published comparison says 0.09 M.
    assert count_parameters(build_model(FusionFCNSpec(144, 1, 15))) == 77_631


def test_fusion_fcn_is_what_its_description_says() -> None:
    network = made(FUSION)
    assert isinstance(network, FusionFCN)
    hsi, x, _ = batch(FUSION, 6, 7)
    branches = []
    for branch, raster in zip(network.branches, (x[:, :2], x[:, 2:]), strict=True):
        features, total = raster, torch.zeros(())
        for block in branch.get_submodule("blocks"):  # type: ignore[attr-defined]
            convolved = F.relu(F.conv2d(features, block[0].weight, block[0].bias, padding=1))
            # The mean of the pixels that there are among 3 x 3.
            ones = torch.ones_like(convolved[:, :1])
            features = F.avg_pool2d(convolved, 3, 1, 1) / F.avg_pool2d(ones, 3, 1, 1)
            total = total + features
        branches.append(total)
    stack = torch.cat([*branches, hsi], dim=1)
    weight, bias = network.classes.weight, network.classes.bias
    expected = torch.einsum("bchw,kc->bkhw", stack, weight) + bias[:, None, None]
    torch.testing.assert_close(network(hsi, x), expected)


def test_a_u_net_sees_as_far_as_its_deepest_level() -> None:
    network = made(UNetSpec(1, 0, 2, width=2)).eval()
    image = torch.zeros(1, 1, 64, 64)
    changed = image.clone()
    changed[0, 0, 32, 32] = 1
    with torch.no_grad():
        moved = (network(changed) - network(image)).abs().sum(dim=(0, 1)) > 1e-9
    rows = moved.any(dim=1).nonzero().flatten()
    assert rows.min() < 32 - 16
    assert rows.max() > 32 + 16


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({"model": "unet", "width": 0}, "width"),
        ({"model": "unet", "depth": 3}, "depth"),
        ({"model": "unet", "hsi_bands": 0}, "hsi_bands"),
        ({"model": "fusion-fcn", "x_channels": 0}, "x_channels"),
        ({"model": "fusion-fcn", "x_groups": [1, 0]}, "x_groups"),
        ({"model": "fusion-fcn", "x_groups": [1, 2]}, "x_groups"),
        ({"model": "oracle"}, "model"),
        ({"model": ["unet"]}, "model"),
    ],
)
def test_a_damaged_spec_is_refused_by_its_field(record: dict[str, Any], field: str) -> None:
    whole = {"hsi_bands": 4, "x_channels": 2, "classes": 3} | record
    with pytest.raises(ValueError, match=f"^{field}: "):
        spec_from_json(whole)


@BOTH
def test_a_spec_comes_back_from_json_as_it_went(spec: Spec) -> None:
    record = json.loads(json.dumps(spec.to_json()))
    assert record["model"] == spec.model
    assert spec_from_json(record) == spec
    assert type(spec_from_json(record)) is type(spec)


def test_a_spec_that_does_not_say_its_model_is_of_comix() -> None:
    spec = preset("nano", hsi_bands=5, x_channels=2, classes=3)
    record = spec.to_json()
    assert record.pop("model") == "comix"
    assert spec_from_json(record) == spec
    with pytest.raises(ValueError, match=r"^model: 'comix' is not 'unet'"):
        UNetSpec.from_json(spec.to_json())


def test_every_kind_has_a_name_of_its_own() -> None:
    assert list(SPECS) == ["comix", "unet", "fusion-fcn", "random-forest", "svm"]
    assert SPECS["comix"] is CoMiXSpec


def test_what_is_yet_to_be_fitted_cannot_be_built() -> None:
    with pytest.raises(TypeError, match="no model is built from a Spec"):
        build_model(Spec(4, 0, 3))
