from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from comix_models.build import build_model, set_deform_backend
from comix_models.comix import CoMiX
from comix_models.dcn2d import DeformableConv
from comix_models.spec import CoMiXSpec, preset

VARIANTS: dict[str, dict[str, Any]] = {
    "as published": {},
    "three planes": {"spectral_depth": 3},
    "2-D blocks": {"hsi_blocks": "2d"},
    "2-D blocks on three planes": {"hsi_blocks": "2d", "spectral_depth": 3},
    "spatial maps": {"cmfex": "spatial"},
    "spatial maps, three planes": {"cmfex": "spatial", "spectral_depth": 3},
    "spectral maps": {"cmfex": "spectral"},
    "spectral maps, three planes": {"cmfex": "spectral", "spectral_depth": 3},
    "no exchange": {"cmfex": "none"},
    "average": {"fusion": "average"},
    "average, three planes": {"fusion": "average", "spectral_depth": 3},
    "attention on X": {"x_blocks": "attention"},
    "attention on three planes": {"hsi_blocks": "attention", "spectral_depth": 3},
    "attention alone": {
        "hsi_blocks": "attention",
        "x_blocks": "attention",
        "cmfex": "none",
        "fusion": "average",
    },
    "baseline": {"hsi_blocks": "2d", "cmfex": "none", "fusion": "average"},
    "HSI alone": {"x_channels": 0},
    "HSI alone, three planes": {"x_channels": 0, "spectral_depth": 3},
    "learned tokens": {"projection": "learned", "window": 16, "padding_taps": True},
    "learned tokens, three planes": {
        "projection": "learned",
        "window": 16,
        "spectral_depth": 3,
    },
}


def a_spec(**changes: Any) -> CoMiXSpec:
    return preset("nano", **{"hsi_bands": 7, "x_channels": 2, "classes": 3, **changes})


def a_model(seed: int = 0, **changes: Any) -> nn.Module:
    torch.manual_seed(seed)
    return build_model(a_spec(**changes), deform_backend="torch")


def a_scene(
    model: nn.Module, height: int = 16, width: int = 16, batch: int = 2
) -> tuple[Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(height * 100 + width)
    hsi = torch.rand(batch, 7, height, width, generator=generator)
    x = torch.rand(batch, 2, height, width, generator=generator)
    return hsi, x if isinstance(model, CoMiX) else None


def a_loss(model: nn.Module) -> Tensor:
    hsi, x = a_scene(model)
    target = (hsi[:, 0] * 3).long()
    return functional.cross_entropy(model(hsi, x), target)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_variant_learns(changes: dict[str, Any]) -> None:
    model = a_model(**changes, head_dropout=0.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02)
    before = a_loss(model)
    torch.autograd.backward(before)
    optimiser.step()

    assert a_loss(model).item() < before.item()


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_gradients_reach_every_parameter(changes: dict[str, Any]) -> None:
    model = a_model(**changes, head_dropout=0.0)
    with torch.no_grad():  # offsets start at zero, whatever they are made of: move them first
        for module in model.modules():
            if isinstance(module, DeformableConv):
                nn.init.normal_(module.offset_mask.weight, std=0.05)
    torch.autograd.backward(a_loss(model))

    unreached = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert unreached == []


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    variant=st.sampled_from(["as published", "three planes", "2-D blocks", "HSI alone"]),
)
def test_any_window_has_logits_of_every_pixel(height: int, width: int, variant: str) -> None:
    model = a_model(**VARIANTS[variant]).eval()

    with torch.no_grad():
        logits = model(*a_scene(model, height, width))

    assert logits.shape == (2, 3, height, width)
    assert logits.isfinite().all()


def test_an_odd_window_is_one_whose_border_is_repeated() -> None:
    model = a_model().eval()
    hsi, x = a_scene(model, 7, 6)
    assert x is not None
    longer = [torch.cat((image, image[:, :, -1:]), dim=2) for image in (hsi, x)]

    with torch.no_grad():
        torch.testing.assert_close(model(hsi, x), model(*longer)[:, :, :7])


@pytest.mark.parametrize("variant", ["as published", "three planes", "HSI alone"])
def test_the_output_does_not_depend_on_the_rest_of_the_batch(variant: str) -> None:
    model = a_model(**VARIANTS[variant]).eval()
    hsi, x = a_scene(model, batch=3)

    with torch.no_grad():
        together = model(hsi, x)
        alone = model(hsi[1:2], None if x is None else x[1:2])

    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_both_modalities_matter() -> None:
    model = a_model().eval()
    hsi, x = a_scene(model)
    assert x is not None

    with torch.no_grad():
        logits = model(hsi, x)
        assert not torch.allclose(logits, model(1 - hsi, x), atol=1e-3)
        assert not torch.allclose(logits, model(hsi, 1 - x), atol=1e-3)


def test_a_model_is_restored_by_its_weights() -> None:
    model, other = a_model(seed=0).eval(), a_model(seed=1).eval()
    scene = a_scene(model)
    kept = io.BytesIO()
    torch.save(model.state_dict(), kept)
    kept.seek(0)
    other.load_state_dict(torch.load(kept, weights_only=True))

    with torch.no_grad():
        assert torch.equal(model(*scene), other(*scene))


def test_a_seed_fixes_the_first_weights() -> None:
    one, same, other = a_model(seed=5), a_model(seed=5), a_model(seed=6)
    weights = [torch.cat([p.flatten() for p in m.parameters()]) for m in (one, same, other)]

    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_no_activation_starts_out_of_proportion() -> None:
    for name in ("tiny", "base"):
        torch.manual_seed(0)
        spec = preset(name, hsi_bands=7, x_channels=2, classes=3)
        model = build_model(spec, deform_backend="torch")
        logits = model(*a_scene(model))

        assert 0.05 < logits.std().item() < 5


def test_a_learned_projection_refuses_another_window() -> None:
    model = a_model(projection="learned", window=16)
    hsi, x = a_scene(model, 16, 20)

    with pytest.raises(ValueError, match=r"^window: 16x20 pixels where the network takes 16x16"):
        model(hsi, x)


def test_a_missing_second_sensor_is_refused() -> None:
    model = a_model()

    with pytest.raises(ValueError, match=r"^x: none where the HSI has 16x16 pixels"):
        model(a_scene(model)[0])


def test_images_of_different_sizes_are_refused() -> None:
    model = a_model()
    hsi, x = a_scene(model)
    assert x is not None

    with pytest.raises(ValueError, match=r"^x: 16x15 where the HSI has 16x16 pixels"):
        model(hsi, x[..., :15])


def test_the_hsi_alone_takes_a_second_sensor_of_no_channels() -> None:
    model = a_model(x_channels=0).eval()
    hsi, _ = a_scene(model)

    with torch.no_grad():
        assert torch.equal(model(hsi), model(hsi, hsi[:, :0]))
    with pytest.raises(ValueError, match=r"^x: 7 channels given to a network of the HSI alone"):
        model(hsi, hsi)


def test_the_backend_of_the_operator_is_chosen_for_the_whole_network() -> None:
    model = a_model()
    set_deform_backend(model, "cpu")

    backends = {m.backend for m in model.modules() if isinstance(m, DeformableConv)}
    assert backends == {"cpu"}
