"""The gradients of the deformable operator: against finite differences, and between backends."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import pytest
import torch
from backends import BACKENDS, device_of, run_operator
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from comix_models.deform import DeformShape
from comix_models.deform.jobs import slabs_of


def tensors(
    shape: DeformShape,
    size: tuple[int, int, int],
    group_width: int,
    dtype: torch.dtype,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Random value and offset_mask whose positions keep away from whole pixels.

    There the gradient of bilinear sampling jumps, and neither a difference quotient nor another
    backend has to agree.
    """
    random = torch.Generator().manual_seed(seed)
    channels = shape.groups * group_width
    value = torch.randn(*size, channels, dtype=torch.float64, generator=random)
    out = (size[0], shape.out_size(size[1]), shape.out_size(size[2]))
    whole = torch.randint(-2, 3, (*out, shape.scalars), generator=random)
    part = 0.15 + 0.7 * torch.rand(*out, shape.scalars, dtype=torch.float64, generator=random)
    both = value.to(dtype), (whole + part).to(dtype)
    return both[0].requires_grad_(), both[1].requires_grad_()


def gradcheck(function: Callable[..., Tensor], inputs: Sequence[Tensor], backend: str) -> bool:
    """torch's check against finite differences, along random directions in the interpreter."""
    on_gpu = device_of(backend) == "cuda"
    return torch.autograd.gradcheck(
        function,
        inputs,
        nondet_tol=1e-10 if on_gpu else 0.0,  # a GPU adds in no fixed order
        fast_mode=backend == "triton" and not on_gpu,
    )


def gradients(value: Tensor, offset_mask: Tensor, shape: DeformShape, backend: str) -> list[Tensor]:
    result = run_operator(value, offset_mask, shape, backend)
    towards = torch.randn(result.shape, generator=torch.Generator().manual_seed(1))
    return list(torch.autograd.grad(result, (value, offset_mask), towards.to(result.dtype)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "shape",
    [
        DeformShape(3, groups=2, padding=1),
        DeformShape(3, groups=1, padding=2, dilation=2, stride=2),
        DeformShape(5, groups=1, padding=2, remove_center=True),
        DeformShape(1, groups=2),
    ],
    ids=str,
)
def test_gradients_equal_finite_differences(backend: str, shape: DeformShape) -> None:
    inputs = tensors(shape, (1, 3, 2), 3, torch.float64)
    function = functools.partial(run_operator, shape=shape, backend=backend)
    assert gradcheck(function, inputs, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_know_that_offset_scale_stretches_the_offsets(backend: str) -> None:
    shape = DeformShape(3, groups=1, padding=1, offset_scale=0.9)
    inputs = tensors(shape, (1, 3, 3), 2, torch.float64)

    def function(value: Tensor, offset_mask: Tensor) -> Tensor:
        return run_operator(value, offset_mask, shape, backend)

    assert gradcheck(function, inputs, backend)


@pytest.mark.parametrize("backend", ["cpu", "triton"])
@settings(max_examples=25, deadline=None)
@given(
    kernel=st.sampled_from((1, 3, 5, 7)),
    groups=st.integers(1, 3),
    group_width=st.sampled_from((3, 16, 24)),
    size=st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(1, 8)),
    seed=st.integers(0, 2**32),
)
def test_backends_agree_on_the_gradients_in_single_precision(
    backend: str,
    kernel: int,
    groups: int,
    group_width: int,
    size: tuple[int, int, int],
    seed: int,
) -> None:
    shape = DeformShape(kernel, groups, padding=kernel // 2)
    inputs = tensors(shape, size, group_width, torch.float32, seed)
    ours, reference = (gradients(*inputs, shape, name) for name in (backend, "torch"))
    for own, other in zip(ours, reference, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kernel", [3, 7])
def test_gradients_in_bfloat16_are_those_of_the_same_numbers(backend: str, kernel: int) -> None:
    shape = DeformShape(kernel, groups=2, padding=kernel // 2)
    inputs = [tensor.detach().bfloat16() for tensor in tensors(shape, (2, 9, 7), 16, torch.float32)]
    half = [tensor.clone().requires_grad_() for tensor in inputs]
    double = [tensor.double().requires_grad_() for tensor in inputs]
    ours = gradients(half[0], half[1], shape, backend)
    exact = gradients(double[0], double[1], shape, "torch")
    for own, other in zip(ours, exact, strict=True):
        assert own.dtype == torch.bfloat16
        assert (own.double() - other).norm() / other.norm() < 1e-2


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_position_that_is_no_position_has_no_gradient(backend: str) -> None:
    shape = DeformShape(3, groups=2, padding=1)
    value, offset_mask = tensors(shape, (1, 5, 5), 16, torch.float32)
    with torch.no_grad():
        offset_mask[..., 0], offset_mask[..., 3] = torch.nan, 1e6
    grad_value, grad_offset_mask = gradients(value, offset_mask, shape, backend)
    assert torch.isfinite(grad_value).all()
    assert torch.isfinite(grad_offset_mask).all()
    # taps 0 and 1: both offsets and the modulation of each
    assert not grad_offset_mask[..., [0, 1, 2, 3, 18, 19]].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_padding_of_the_scalars_has_no_gradient(backend: str) -> None:
    shape = DeformShape(3, groups=1, padding=1)
    inputs = tensors(shape, (1, 5, 5), 16, torch.float32)
    assert not gradients(*inputs, shape, backend)[1][..., 27:].any()


def test_gradients_are_the_same_bit_for_bit_every_time() -> None:
    shape = DeformShape(7, groups=3, padding=3)
    inputs = tensors(shape, (2, 20, 20), 16, torch.float32)
    first = gradients(*inputs, shape, "cpu")
    for _ in range(5):
        again = gradients(*inputs, shape, "cpu")
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_gradients_of_an_image_do_not_depend_on_the_others_of_its_batch() -> None:
    shape = DeformShape(3, groups=3, padding=1)
    value, offset_mask = tensors(shape, (4, 9, 7), 16, torch.float32)
    together = torch.autograd.grad(
        run_operator(value, offset_mask, shape=shape, backend="cpu").sum(), (value, offset_mask)
    )
    alone = torch.autograd.grad(
        run_operator(value[2:3], offset_mask[2:3], shape=shape, backend="cpu").sum(),
        (value, offset_mask),
    )
    assert torch.equal(together[0][2], alone[0][2])
    assert torch.equal(together[1][2], alone[1][2])


@pytest.mark.parametrize(
    ("groups", "threads", "rows", "slabs"),
    [(6, 2, 64, 1), (3, 2, 64, 2), (1, 4, 64, 4), (1, 4, 3, 3), (6, 16, 64, 8), (12, 3, 64, 1)],
)
def test_slabs_make_the_pieces_a_multiple_of_the_threads(
    groups: int, threads: int, rows: int, slabs: int
) -> None:
    assert slabs_of(groups, threads, rows) == slabs


def test_value_alone_can_ask_for_its_gradient() -> None:
    shape = DeformShape(3, groups=1, padding=1)
    value, offset_mask = tensors(shape, (1, 5, 5), 16, torch.float32)
    result = run_operator(value, offset_mask.detach(), shape=shape, backend="cpu")
    (grad,) = torch.autograd.grad(result.sum(), (value,))
    assert torch.equal(
        grad,
        torch.autograd.grad(
            run_operator(value, offset_mask, shape=shape, backend="cpu").sum(), (value,)
        )[0],
    )
