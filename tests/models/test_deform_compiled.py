"""How the compiled backend of the deformable operator is compiled, launched and seen by torch."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import pytest
import torch
from torch import Tensor

from comix_models.deform import compiled, deform_conv2d, launch, warm_up


def inputs(seed: int = 0, *, groups: int = 3) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    scalars = -(-3 * groups * 9 // 8) * 8
    value = torch.randn(2, 24, 20, 16 * groups, generator=random)
    return value, torch.randn(2, 24, 20, scalars, generator=random)


def run(value: Tensor, offset_mask: Tensor) -> Tensor:
    groups = value.shape[3] // 16
    return deform_conv2d(value, offset_mask, kernel=3, groups=groups, backend="cpu")


def run_with_gradient(value: Tensor, offset_mask: Tensor) -> Tensor:
    value = value.clone().requires_grad_()
    return torch.autograd.grad(run(value, offset_mask).square().sum(), (value,))[0]


@pytest.mark.parametrize("function", [run, run_with_gradient])
def test_two_python_threads_may_compute_at_once(function: Any) -> None:
    many = [inputs(seed) for seed in range(8)]
    expected = [function(*one) for one in many]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            results = list(pool.map(lambda one: function(*one), many))
            assert all(torch.equal(a, b) for a, b in zip(results, expected, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_result_does_not_depend_on_the_number_of_threads(threads: int) -> None:
    expected, before = run(*inputs()), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(run(*inputs()), expected)
    finally:
        torch.set_num_threads(before)


def test_python_threads_stand_in_where_torch_has_no_openmp(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        expected = run_with_gradient(*inputs())
        monkeypatch.setattr(launch, "openmp_parallel", lambda: None)
        assert torch.equal(run_with_gradient(*inputs()), expected)
    finally:
        torch.set_num_threads(before)


def test_a_cache_that_cannot_be_written_does_not_stop_anybody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = numba.cfunc

    def cfunc(*args: Any, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return original(*args, **options)

    expected = run(*inputs())
    monkeypatch.setattr(numba, "cfunc", cfunc)
    compiled._compile.cache_clear()
    with caplog.at_level(logging.INFO, logger="comix_models"):
        assert torch.equal(run(*inputs()), expected)
    assert "going on without a cache on disk: cannot cache function" in caplog.text


def test_compiling_is_announced_and_its_time_is_told(caplog: pytest.LogCaptureFixture) -> None:
    compiled._compile.cache_clear()
    with caplog.at_level(logging.INFO, logger="comix_models"):
        warm_up(torch.float32, group_width=16)
    messages = [record.message for record in caplog.records]
    assert [message.split(",")[1] for message in messages] == [
        *(2 * [" forward"]),
        *(2 * [" backward"]),
    ]
    assert messages[0].startswith("preparing the deformable operator")
    assert " s: deformable operator" in messages[1]


@pytest.mark.parametrize(
    ("group_width", "element", "lanes"),
    [(16, 4, 16), (16, 8, 8), (48, 4, 16), (24, 4, 12), (37, 4, 1)],
)
def test_a_group_is_cut_into_equal_blocks_that_fit_the_registers(
    group_width: int, element: int, lanes: int
) -> None:
    assert compiled.lanes_of(group_width, element) == lanes


def test_torch_sees_one_operator_with_a_fake_and_gradients() -> None:
    value, offset_mask = (tensor[:1, :5, :4].contiguous() for tensor in inputs(groups=1))
    arguments = (value.requires_grad_(), offset_mask.requires_grad_(), 3, 1, 1, 1, 1, 1.0, False)
    torch.library.opcheck(torch.ops.comix.deform_conv2d_cpu.default, arguments)


def test_torch_traces_it_without_a_break() -> None:
    compiled_run = torch.compile(run, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled_run(*inputs()), run(*inputs()))
