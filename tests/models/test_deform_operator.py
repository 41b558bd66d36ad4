"""The deformable operator against plain loops that follow its formula, and by hand."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from subprocess import run

import numpy as np
import pytest
import torch
from backends import BACKENDS, device_of, run_operator
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from comix_models.deform import DeformShape, available_backends, deform_conv2d

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}
Doubles = NDArray[np.float64]


def pixel(image: Doubles, y: int, x: int) -> Doubles:
    """The channels of one pixel; zeros outside the image."""
    if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
        inside: Doubles = image[y, x]
        return inside
    return np.zeros(image.shape[2])


def bilinear(image: Doubles, y: float, x: float) -> Doubles:
    y0, x0 = math.floor(y), math.floor(x)
    fy, fx = y - y0, x - x0
    top = (1 - fx) * pixel(image, y0, x0) + fx * pixel(image, y0, x0 + 1)
    bottom = (1 - fx) * pixel(image, y0 + 1, x0) + fx * pixel(image, y0 + 1, x0 + 1)
    return (1 - fy) * top + fy * bottom


def oracle(value: Doubles, offset_mask: Doubles, shape: DeformShape) -> Doubles:
    """The operator as its formula says, pixel by pixel and tap by tap."""
    groups, half = shape.groups, shape.dilation * (shape.kernel - 1) // 2
    taps = list(itertools.product(range(shape.kernel), range(shape.kernel)))
    if shape.remove_center:
        taps.remove((shape.kernel // 2, shape.kernel // 2))
    count, rows, columns, _ = offset_mask.shape
    width = value.shape[3] // groups
    result = np.zeros((count, rows, columns, value.shape[3]))
    for n, ho, wo, g in np.ndindex(count, rows, columns, groups):
        scalars = offset_mask[n, ho, wo, 3 * len(taps) * g : 3 * len(taps) * (g + 1)]
        own = slice(g * width, (g + 1) * width)
        for k, (i, j) in enumerate(taps):
            dx, dy, modulation = scalars[2 * k], scalars[2 * k + 1], scalars[2 * len(taps) + k]
            x = wo * shape.stride - shape.padding + half
            y = ho * shape.stride - shape.padding + half
            x += (i * shape.dilation - half + dx) * shape.offset_scale
            y += (j * shape.dilation - half + dy) * shape.offset_scale
            result[n, ho, wo, own] += modulation * bilinear(value[n, :, :, own], y, x)
    return result


@dataclass(frozen=True)
class Case:
    """A shape of the operator with the tensors to give it."""

    shape: DeformShape
    value: Tensor
    offset_mask: Tensor

    def run(self, backend: str) -> Tensor:
        return run_operator(self.value, self.offset_mask, self.shape, backend)


@st.composite
def cases(draw: Callable[..., int], *, dtype: torch.dtype) -> Case:
    kernel = draw(st.sampled_from((1, 3, 5, 7)))
    dilation = draw(st.integers(1, 2))
    reach = dilation * (kernel - 1) // 2
    shape = DeformShape(
        kernel=kernel,
        groups=draw(st.integers(1, 2)),
        stride=draw(st.integers(1, 3)),
        padding=draw(st.integers(reach, reach + 2)),
        dilation=dilation,
        offset_scale=draw(st.sampled_from((1.0, 0.5, 1.75))),
        remove_center=kernel > 1 and bool(draw(st.booleans())),
    )
    size = (draw(st.integers(1, 2)), draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    return make_case(shape, size, draw(st.sampled_from((3, 16, 24))), dtype, draw(st.integers(0)))


def make_case(
    shape: DeformShape,
    size: tuple[int, int, int],
    group_width: int,
    dtype: torch.dtype,
    seed: int = 0,
) -> Case:
    random = torch.Generator().manual_seed(seed % 2**63)
    channels = shape.groups * group_width
    out = (size[0], shape.out_size(size[1]), shape.out_size(size[2]), shape.scalars)
    value = torch.randn(*size, channels, dtype=dtype, generator=random)
    return Case(shape, value, 1.5 * torch.randn(*out, dtype=dtype, generator=random))


def small(dtype: torch.dtype = torch.float32, *, count: int = 2, kernel: int = 3) -> Case:
    shape = DeformShape(kernel, groups=2, padding=kernel // 2)
    return make_case(shape, (count, 9, 11), 16, dtype)


def check_against_oracle(case: Case, backend: str) -> None:
    expected = oracle(case.value.double().numpy(), case.offset_mask.double().numpy(), case.shape)
    tolerance = TOLERANCE[case.value.dtype]
    np.testing.assert_allclose(case.run(backend).numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=30, deadline=None)
@given(case=cases(dtype=torch.float32))
def test_single_precision_equals_plain_loops(backend: str, case: Case) -> None:
    check_against_oracle(case, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=30, deadline=None)
@given(case=cases(dtype=torch.float64))
def test_double_precision_equals_plain_loops(backend: str, case: Case) -> None:
    check_against_oracle(case, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("tap", "dx", "dy"), [(0, -1, -1), (1, -1, 0), (2, -1, 1), (3, 0, -1)])
def test_the_horizontal_index_of_the_taps_is_the_slow_one(
    backend: str, tap: int, dx: int, dy: int
) -> None:
    image = torch.arange(25.0).view(1, 5, 5, 1)
    offset_mask = torch.zeros(1, 5, 5, 32)
    offset_mask[..., 18 + tap] = 1
    result = run_operator(image, offset_mask, DeformShape(3, groups=1, padding=1), backend)
    assert result[0, 2, 2, 0] == image[0, 2 + dy, 2 + dx, 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_a_pair_of_offsets_x_comes_first(backend: str) -> None:
    image = torch.arange(25.0).view(1, 5, 5, 1)
    offset_mask = torch.zeros(1, 5, 5, 8)
    offset_mask[..., :3] = torch.tensor([2.0, -1.0, 1.0])
    result = run_operator(image, offset_mask, DeformShape(1, groups=1), backend)
    assert result[0, 2, 2, 0] == image[0, 1, 4, 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_group_reads_its_own_scalars(backend: str) -> None:
    image = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]).view(1, 1, 3, 2)
    offset_mask = torch.zeros(1, 1, 3, 8)
    offset_mask[..., :6] = torch.tensor([-1.0, 0.0, 1.0, 1.0, 0.0, 2.0])
    result = run_operator(image, offset_mask, DeformShape(1, groups=2), backend)
    assert result[0, 0, 1].tolist() == [1.0, 60.0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_modulation_is_neither_normalised_nor_squashed(backend: str) -> None:
    offset_mask = torch.zeros(1, 3, 3, 32)
    offset_mask[..., 18:27] = -7.0
    result = run_operator(
        torch.ones(1, 3, 3, 1), offset_mask, DeformShape(3, groups=1, padding=1), backend
    )
    assert result[0, 1, 1, 0] == -63.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_offset_scale_stretches_the_window_too(backend: str) -> None:
    image = torch.arange(49.0).view(1, 7, 7, 1)
    offset_mask = torch.zeros(1, 7, 7, 32)
    offset_mask[..., 18 + 6] = 1  # i = 2, j = 0: right and up
    shape = DeformShape(3, groups=1, padding=1, offset_scale=2.0)
    result = run_operator(image, offset_mask, shape, backend)
    assert result[0, 3, 3, 0] == image[0, 1, 5, 0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("dx", "dy", "expected"),
    [(-0.5, 0, 0.5), (0, -0.75, 0.25), (-0.5, -0.5, 0.25), (-1, 0, 0), (1.5, 0, 0.5), (2, 0, 0)],
)
def test_corners_outside_the_image_count_as_zero_one_by_one(
    backend: str, dx: float, dy: float, expected: float
) -> None:
    offset_mask = torch.zeros(1, 2, 2, 8)
    offset_mask[..., :3] = torch.tensor([dx, dy, 1.0])
    image = torch.ones(1, 2, 2, 1)
    result = run_operator(image, offset_mask, DeformShape(1, groups=1), backend)
    assert result[0, 0, 0, 0].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("far", [math.nan, math.inf, -math.inf, 1e6, -1e6, 3e38])
def test_a_position_that_is_no_position_gives_zero(backend: str, far: float) -> None:
    case = small()
    lost, without = case.offset_mask.clone(), case.offset_mask.clone()
    lost[..., 0] = far  # dx of the first tap of the first group
    lost[..., 27 + 17] = far  # dy of the last tap of the second
    without[..., 18], without[..., 27 + 26] = 0, 0
    expected = run_operator(case.value, without, case.shape, backend)
    assert torch.equal(run_operator(case.value, lost, case.shape, backend), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_image_does_not_depend_on_the_others_of_its_batch(backend: str) -> None:
    case = small(count=5)
    together = case.run(backend)
    for n in range(5):
        alone = run_operator(
            case.value[n : n + 1], case.offset_mask[n : n + 1], case.shape, backend
        )
        assert torch.equal(alone[0], together[n])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_memory_layout_of_the_input_does_not_matter(backend: str) -> None:
    case = small()
    value = case.value.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    offset_mask = case.offset_mask.repeat(1, 1, 2, 1)[:, :, :11]
    assert not value.is_contiguous()
    assert torch.equal(run_operator(value, offset_mask, case.shape, backend), case.run(backend))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype: torch.dtype, backend: str) -> None:
    case = small()
    value, offset_mask = case.value.to(dtype), case.offset_mask.to(dtype)
    result = run_operator(value, offset_mask, case.shape, backend)
    expected = run_operator(value.float(), offset_mask.float(), case.shape, backend)
    if backend == "triton" and device_of(backend) == "cpu" and dtype == torch.bfloat16:
        # The interpreter cuts digits off where a GPU rounds.
        torch.testing.assert_close(result.float(), expected, rtol=2**-7, atol=0)
    else:
        assert torch.equal(result, expected.to(dtype))


def test_auto_takes_the_compiled_backend_on_the_cpu() -> None:
    case = small()
    assert torch.equal(case.run("auto"), case.run("cpu"))


def test_backends_come_fastest_first_with_what_keeps_them_from_working() -> None:
    found = available_backends()
    assert list(found) == ["dcnv4", "triton", "cpu", "torch"]
    assert {name: found[name] for name in BACKENDS} == dict.fromkeys(BACKENDS, "")


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_outside_of_the_image_is_read(backend: str) -> None:
    case = small(count=1)
    around = torch.full((1, 15, 17, 40), math.nan)
    around[:, 3:12, 3:14, 4:36] = case.value
    value = around[:, 3:12, 3:14, 4:36]
    offset_mask = 8 * case.offset_mask  # most positions lie outside, many just so
    offset_mask[..., :4] = torch.tensor([1e6, math.nan, -1e6, math.inf])
    expected = run_operator(case.value, offset_mask, case.shape, backend)
    found = run_operator(value, offset_mask, case.shape, backend)
    assert torch.isfinite(found).all()
    assert torch.equal(found, expected)


def test_an_unknown_backend_is_refused_with_the_names_of_the_known() -> None:
    with pytest.raises(ValueError, match=r"'cuda'; there are auto, .*cpu.*torch"):
        small().run("cuda")


def test_a_backend_that_cannot_do_it_says_why() -> None:
    case = small()
    with pytest.raises(ValueError, match="cannot run here: it runs on the CPU, not on meta"):
        deform_conv2d(
            case.value.to("meta"), case.offset_mask.to("meta"), kernel=3, groups=2, backend="cpu"
        )


@pytest.mark.parametrize(
    ("value", "offset_mask"),
    [
        ((2, 5, 5), (2, 5, 5, 32)),
        ((2, 5, 5, 3), (2, 5, 5, 56)),
        ((2, 5, 5, 4), (2, 5, 5, 54)),
        ((2, 5, 5, 4), (2, 5, 4, 56)),
        ((2, 5, 5, 4), (1, 5, 5, 56)),
        ((0, 5, 5, 4), (0, 5, 5, 56)),
    ],
)
def test_shapes_that_do_not_fit_are_refused_with_both_in_the_message(
    value: tuple[int, ...], offset_mask: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # the message is checked below
        deform_conv2d(torch.zeros(value), torch.zeros(offset_mask), kernel=3, groups=2)
    assert str(value) in str(refused.value)
    assert str(offset_mask) in str(refused.value)


def test_number_types_that_differ_are_refused_with_both_in_the_message() -> None:
    case = small()
    with pytest.raises(ValueError, match=r"torch.float64 on cpu, torch.float32 on cpu"):
        run_operator(case.value.double(), case.offset_mask, case.shape, "auto")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": 4}, "kernel must be odd"),
        ({"kernel": 1, "remove_center": True}, "leaves no tap"),
        ({"stride": 0}, "stride must be positive"),
        ({"dilation": 0}, "dilation must be positive"),
        ({"groups": 0}, "groups must be positive"),
        ({"padding": -1}, "padding must not be negative"),
        ({"offset_scale": math.inf}, "offset_scale must be finite"),
    ],
)
def test_a_window_without_meaning_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeformShape(**{"kernel": 3, "groups": 1, **changes})  # type: ignore[arg-type]


def test_importing_the_operator_does_not_import_numba() -> None:
    program = "import sys, comix_models.deform; sys.exit('numba' in sys.modules)"
    path = ":".join(entry for entry in sys.path if entry)
    assert (
        run([sys.executable, "-c", program], env={"PYTHONPATH": path}, check=False).returncode == 0
    )
