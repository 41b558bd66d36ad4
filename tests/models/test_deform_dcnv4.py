"""The adapter of the published package, on a stand-in that computes as the package's kernels do."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from backends import run_operator
from torch import Tensor

from comix_models.deform import DeformShape, dcnv4_backend
from comix_models.deform.torch_backend import deform_with_grid_sample


class PackageFunction:
    """The door of the package: arguments in its order, refusals and oddities as it has them."""

    offsets_swapped = False

    @classmethod
    def apply(cls, value: Tensor, offset_mask: Tensor, *arguments: Any) -> Tensor:
        """Value ``(1, H, W, C)`` and ``(1, Ho, Wo, S)``, then numbers by position."""
        (kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w) = arguments[
            :8
        ]
        groups, group_width, _, step, remove_center = arguments[8:]
        assert (kernel_h, kernel_w) == (3, 3)
        assert (stride_h, pad_h, dilation_h) == (stride_w, pad_w, dilation_w)
        assert remove_center in (0, 1)
        taps = 9 - remove_center
        assert value.is_contiguous()
        assert offset_mask.is_contiguous()
        assert value.shape[3] == groups * group_width
        assert group_width % 16 == 0
        assert len(value) == 1, "several images at once come out wrong"
        assert step % len(value) == 0
        assert offset_mask.shape[3] == math.ceil(3 * groups * taps / 8) * 8
        rows = [
            cls._row(value[0], offset_mask[0, row], row, arguments)
            for row in range(offset_mask.shape[1])
        ]
        return torch.stack(rows).unsqueeze(0)

    @classmethod
    def _row(cls, image: Tensor, scalars: Tensor, row: int, arguments: tuple[Any, ...]) -> Tensor:
        stride, pad, dilation = arguments[2], arguments[4], arguments[6]
        groups, width, scale, _, remove_center = arguments[8:]
        taps = [(i, j) for i in range(3) for j in range(3) if not (remove_center and i == j == 1)]
        columns = torch.arange(len(scalars))
        parts = []
        for group in range(groups):
            own = scalars[:, 3 * len(taps) * group :]
            plane = image[:, :, group * width : (group + 1) * width]
            total = torch.zeros(len(scalars), width)
            for k, (i, j) in enumerate(taps):
                dx, dy = own[:, 2 * k], own[:, 2 * k + 1]
                if cls.offsets_swapped:
                    dx, dy = dy, dx
                x = columns * stride - pad + dilation + (i * dilation - dilation + dx) * scale
                y = row * stride - pad + dilation + (j * dilation - dilation + dy) * scale
                modulation = own[:, 2 * len(taps) + k]
                total = total + modulation[:, None] * _bilinear(plane, x, y)
            parts.append(total)
        return torch.cat(parts, dim=1)


def _bilinear(plane: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """``(H, W, C)`` at positions ``(P,)``: ``(P, C)``, corners outside counting as zero."""
    height, width = plane.shape[:2]
    total = torch.zeros(len(x), plane.shape[2])
    for right in (0, 1):
        for below in (0, 1):
            column, row = x.floor().long() + right, y.floor().long() + below
            weight = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            corner = plane[row.clamp(0, height - 1), column.clamp(0, width - 1)]
            total = total + torch.where(inside, weight, 0)[:, None] * corner
    return total


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[PackageFunction]]:
    """The stand-in, installed, on the CPU."""
    functions: Any = ModuleType("DCNv4.functions")
    functions.DCNv4Function = PackageFunction
    monkeypatch.setitem(sys.modules, "DCNv4", ModuleType("DCNv4"))
    monkeypatch.setitem(sys.modules, "DCNv4.functions", functions)
    monkeypatch.setattr(dcnv4_backend, "_DEVICE", "cpu")
    dcnv4_backend.why_not.forget()
    yield PackageFunction
    dcnv4_backend.why_not.forget()


def random_inputs(shape: DeformShape, count: int, group_width: int = 32) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    value = torch.randn(count, 8, 6, shape.groups * group_width, generator=random)
    out = (count, shape.out_size(8), shape.out_size(6), shape.scalars)
    return value, 1.3 * torch.randn(*out, generator=random)


def run(value: Tensor, offset_mask: Tensor, shape: DeformShape) -> Tensor:
    return run_operator(value, offset_mask, shape, "dcnv4", "cpu")


@pytest.mark.parametrize(
    "shape",
    [
        DeformShape(3, groups=3, padding=1),
        DeformShape(3, groups=1, padding=2, dilation=2, stride=2, offset_scale=0.5),
        DeformShape(3, groups=2, padding=1, remove_center=True),
    ],
    ids=str,
)
@pytest.mark.usefixtures("package")
def test_the_package_is_asked_in_its_own_layout(shape: DeformShape) -> None:
    value, offset_mask = random_inputs(shape, 3)
    strided = value.transpose(1, 2).contiguous().transpose(1, 2)
    expected = deform_with_grid_sample(value, offset_mask, shape)
    torch.testing.assert_close(run(strided, offset_mask, shape), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("package")
def test_gradients_come_through_it() -> None:
    shape = DeformShape(3, groups=1, padding=1)
    inputs = [tensor.requires_grad_() for tensor in random_inputs(shape, 2, 16)]
    gradients = torch.autograd.grad(run(inputs[0], inputs[1], shape).square().sum(), inputs)
    reference = deform_with_grid_sample(inputs[0], inputs[1], shape).square().sum()
    for own, other in zip(gradients, torch.autograd.grad(reference, inputs), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-3)


def test_a_package_that_disagrees_is_refused_with_the_difference(
    package: type[PackageFunction], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "offsets_swapped", True)
    shape = DeformShape(3, groups=1, padding=1)
    with pytest.raises(ValueError, match=r"disagrees with the reference: result of 9 taps differs"):
        run(*random_inputs(shape, 1, 16), shape)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
@pytest.mark.usefixtures("package")
def test_the_package_may_be_met_first_in_the_middle_of_an_inference(mode: Any) -> None:
    shape = DeformShape(3, groups=1, padding=1)
    value, offset_mask = random_inputs(shape, 2, 16)
    with mode():
        found = run(value, offset_mask, shape)
    expected = deform_with_grid_sample(value, offset_mask, shape)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert dcnv4_backend.why_not() == ""


def test_a_package_that_fails_is_refused_with_its_reason(
    package: type[PackageFunction], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> Tensor:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(package, "apply", fail)
    assert dcnv4_backend.why_not() == "the package DCNv4 fails (no kernel image is available)"


def test_a_missing_package_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dcnv4_backend, "_DEVICE", "cpu")
    monkeypatch.setitem(sys.modules, "DCNv4", None)
    dcnv4_backend.why_not.forget()
    assert "install comix[dcnv4]" in dcnv4_backend.why_not()
    dcnv4_backend.why_not.forget()


@pytest.mark.parametrize(
    ("kernel", "width", "dtype", "message"),
    [
        (7, 16, torch.float32, "3x3 windows only, not 7x7"),
        (3, 24, torch.float32, "a multiple of 16 channels, not of 24"),
        (3, 16, torch.bfloat16, "float16 and float32, not torch.bfloat16"),
    ],
)
@pytest.mark.usefixtures("package")
def test_jobs_that_the_package_cannot_do_are_refused(
    kernel: int, width: int, dtype: torch.dtype, message: str
) -> None:
    shape = DeformShape(kernel, groups=1, padding=kernel // 2)
    value, offset_mask = random_inputs(shape, 1, width)
    with pytest.raises(ValueError, match=message):
        run(value.to(dtype), offset_mask.to(dtype), shape)
