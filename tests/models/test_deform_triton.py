"""The ``triton`` backend: what torch sees of it, and the jobs that it refuses."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from backends import device_of, run_operator
from torch import Tensor

from comix_models.deform import DeformShape, deform_conv2d, verdict

DEVICE = device_of("triton")


def inputs(
    shape: DeformShape, group_width: int = 16, size: tuple[int, int, int] = (2, 7, 5)
) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    value = torch.randn(*size, shape.groups * group_width, generator=random)
    out = (size[0], shape.out_size(size[1]), shape.out_size(size[2]), shape.scalars)
    return value.to(DEVICE), torch.randn(*out, generator=random).to(DEVICE)


def run(value: Tensor, offset_mask: Tensor) -> Tensor:
    return deform_conv2d(value, offset_mask, kernel=3, groups=2, backend="triton")


SMALL = DeformShape(3, groups=2, padding=1)


@pytest.mark.parametrize("group_width", [1, 5, 64, 65, 130])
@pytest.mark.parametrize("kernel", [1, 9])
def test_any_group_width_and_any_odd_window(group_width: int, kernel: int) -> None:
    shape = DeformShape(kernel, groups=2, padding=kernel // 2)
    ours = [tensor.requires_grad_() for tensor in inputs(shape, group_width, (1, 4, 3))]
    theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    found, expected = (
        run_operator(ours[0], ours[1], shape, "triton"),
        run_operator(theirs[0], theirs[1], shape, "torch"),
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    gradients = [
        torch.autograd.grad(result.square().sum(), tensors)
        for result, tensors in ((found, ours), (expected, theirs))
    ]
    for own, other in zip(*gradients, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-2)


def test_more_pixels_than_a_program_takes_and_channels_that_are_far_apart() -> None:
    value, offset_mask = inputs(SMALL, size=(3, 13, 17))
    expected = run_operator(value, offset_mask, SMALL, "torch")
    torch.testing.assert_close(run(value, offset_mask), expected, rtol=1e-4, atol=1e-4)
    strided = value.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)
    assert strided.stride(3) != 1
    assert torch.equal(run(strided, offset_mask), run(value, offset_mask))


def test_torch_sees_one_operator_with_a_fake_and_gradients() -> None:
    arguments = (*inputs(SMALL), 3, 2, 1, 1, 1, 1.0, False)
    torch.library.opcheck(torch.ops.comix.deform_conv2d_triton.default, arguments)


def test_a_compiled_and_an_exported_network_keep_it_whole() -> None:
    class Network(torch.nn.Module):
        def forward(self, value: Tensor, offset_mask: Tensor) -> Tensor:
            return run(value, offset_mask).relu()

    torch._dynamo.reset()
    value, offset_mask = inputs(SMALL)
    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(value, offset_mask), run(value, offset_mask))
    exported = torch.export.export(Network(), (value, offset_mask))
    called = [str(node.target) for node in exported.graph.nodes]
    assert "comix.deform_conv2d_triton.default" in called
    assert torch.equal(exported.module()(value, offset_mask), run(value, offset_mask).relu())


@pytest.mark.parametrize(
    ("size", "message"),
    [((2**12, 2**10, 2**9), "2\\^31 pixels"), ((1, 2**15, 2**14), "spans 2\\^31 numbers")],
)
def test_more_than_whole_numbers_tell_apart_is_refused(
    size: tuple[int, int, int], message: str
) -> None:
    # No memory behind them: every number is the same one.
    value = torch.zeros(1, device=DEVICE).expand(*size, 4)
    offset_mask = torch.zeros(1, device=DEVICE).expand(*size, 8)
    with pytest.raises(ValueError, match=message):
        deform_conv2d(value, offset_mask, kernel=1, groups=1, backend="triton")


def test_auto_leaves_the_interpreter_alone() -> None:
    found = verdict(torch.device("cpu"), torch.float32, 7)
    assert found.picked == "cpu"
    assert list(found.passed_over) == ["dcnv4", "triton"]
    assert "CUDA" in found.passed_over["dcnv4"]
    expected = "by name" if DEVICE == "cpu" else "CUDA"
    assert expected in found.passed_over["triton"]


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
def test_auto_takes_triton_on_a_gpu() -> None:
    found = verdict(torch.device("cuda"), torch.bfloat16, 7)
    assert found.picked == "triton"


def test_importing_the_operator_does_not_import_triton() -> None:
    program = "import sys, comix_models.deform; sys.exit('triton' in sys.modules)"
    path = ":".join(entry for entry in sys.path if entry)
    finished = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": path}, check=False
    )
    assert finished.returncode == 0
