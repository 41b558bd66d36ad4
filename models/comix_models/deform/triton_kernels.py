"""The two kernels of the ``triton`` backend: forward, and the gradients.

A program computes some output pixels for one group: forward for one block of its channels, backward
for all of them, because the gradients of offsets and modulation are sums over the channels. Taps
come one after the other; corners are gathered channels at once, and sums are kept in single
precision, or in double where the tensors are.

Positions inside an image are 32-bit numbers, addresses of pixels 64-bit. Triton's compiler reads
the annotations too, and knows no others than its own.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]  # triton is untyped
def _pixels(
    program: tl.tensor, out_height: tl.tensor, out_width: tl.tensor, block: tl.constexpr
) -> tl.tensor:
    """Image, row, column and number of each output pixel of a block."""
    pixel = program.to(tl.int64) * block + tl.arange(0, block)
    column = pixel % out_width
    row = pixel // out_width
    return row // out_height, (row % out_height).to(tl.int32), column.to(tl.int32), pixel


@triton.jit  # type: ignore[untyped-decorator]
def _place(
    scalars: tl.tensor,
    step: tl.tensor,
    wanted: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    k: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    kernel: tl.constexpr,
    stride: tl.constexpr,
    padding: tl.constexpr,
    dilation: tl.constexpr,
    offset_scale: tl.constexpr,
    remove_center: tl.constexpr,
    real: tl.constexpr,
) -> tl.tensor:
    """Where tap k of some output pixels samples: top left corner, fractions, which corners count.

    ``x = wo stride - padding + half + (i dilation - half + dx) offset_scale``, likewise y (DCNv4).
    """
    taps: tl.constexpr = kernel * kernel - remove_center
    half: tl.constexpr = dilation * (kernel - 1) // 2
    tap = k
    if remove_center:
        tap = k + (k >= taps // 2)  # the middle one is left out
    scale = tl.full((), offset_scale, real)
    grid_x = (tap // kernel * dilation - half).to(real) * scale + (half - padding)
    grid_y = (tap % kernel * dilation - half).to(real) * scale + (half - padding)
    dx = tl.load(scalars + 2 * k * step, mask=wanted, other=0.0).to(real)
    dy = tl.load(scalars + (2 * k + 1) * step, mask=wanted, other=0.0).to(real)
    x = grid_x + (column * stride).to(real) + dx * scale
    y = grid_y + (row * stride).to(real) + dy * scale
    # Not true of NaN either. Only a position that is finite and small may become a whole number.
    inside = wanted & (x > -1) & (x < width) & (y > -1) & (y < height)
    x, y = tl.where(inside, x, 0.0), tl.where(inside, y, 0.0)
    left, top = tl.floor(x), tl.floor(y)
    x0, y0 = left.to(tl.int32), top.to(tl.int32)
    modulation = tl.load(scalars + (2 * taps + k) * step, mask=inside, other=0.0).to(real)
    return (
        x0,
        y0,
        x - left,
        y - top,
        modulation,
        inside,
        inside & (x0 >= 0),
        inside & (x0 < width - 1),
        y0 >= 0,
        y0 < height - 1,
    )


@triton.jit  # type: ignore[untyped-decorator]
def _weighted(
    at: tl.tensor, corner: tl.tensor, channels: tl.tensor, weight: tl.tensor, real: tl.constexpr
) -> tl.tensor:
    """Some pixels' values at one corner, times its weight; nothing where there is no corner."""
    loaded = tl.load(at, mask=corner[:, None] & channels[None, :], other=0.0)
    return weight[:, None] * loaded.to(real)


@triton.jit  # type: ignore[untyped-decorator]
def _scattered(
    here: tl.tensor,
    there: tl.tensor,
    corner: tl.tensor,
    channels: tl.tensor,
    weight: tl.tensor,
    grad: tl.tensor,
    real: tl.constexpr,
) -> tl.tensor:
    """Some pixels' values at one corner, to which their share of the gradient is added."""
    some = corner[:, None] & channels[None, :]
    tl.atomic_add(there, weight[:, None] * grad, mask=some, sem="relaxed")
    return tl.load(here, mask=some, other=0.0).to(real)


@triton.jit  # type: ignore[untyped-decorator]
def forward(
    value: tl.tensor,
    scalars: tl.tensor,
    out: tl.tensor,
    pixels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    groups: tl.tensor,
    group_width: tl.tensor,
    value_n: tl.tensor,
    value_h: tl.tensor,
    value_w: tl.tensor,
    value_c: tl.tensor,
    scalars_n: tl.tensor,
    scalars_h: tl.tensor,
    scalars_w: tl.tensor,
    scalars_c: tl.tensor,
    kernel: tl.constexpr,
    stride: tl.constexpr,
    padding: tl.constexpr,
    dilation: tl.constexpr,
    offset_scale: tl.constexpr,
    remove_center: tl.constexpr,
    real: tl.constexpr,
    block_pixels: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    """``out (N, Ho, Wo, C)``, contiguous; `value` and `scalars` have strides of their own."""
    taps: tl.constexpr = kernel * kernel - remove_center
    blocks = tl.cdiv(group_width, block_channels)
    program, part = tl.program_id(0) // (groups * blocks), tl.program_id(0) % (groups * blocks)
    group = part // blocks
    within = part % blocks * block_channels + tl.arange(0, block_channels)
    image, row, column, pixel = _pixels(program, out_height, out_width, block_pixels)
    wanted, channels = pixel < pixels, within < group_width
    channel = group * group_width + within
    base = value + image * value_n
    base = base[:, None] + (channel * value_c)[None, :]
    scalars += image * scalars_n + row.to(tl.int64) * scalars_h + column.to(tl.int64) * scalars_w
    scalars += group * 3 * taps * scalars_c
    total = tl.zeros((block_pixels, block_channels), real)
    for k in range(taps):
        x0, y0, fx, fy, modulation, _inside, left, right, top, bottom = _place(
            scalars, scalars_c, wanted, row, column, k, height, width,
            kernel, stride, padding, dilation, offset_scale, remove_center, real,
        )  # fmt: skip
        at = base + (y0 * value_h + x0 * value_w)[:, None]
        below, above = modulation * fy, modulation * (1 - fy)
        total += _weighted(at, left & top, channels, above * (1 - fx), real)
        total += _weighted(at + value_w, right & top, channels, above * fx, real)
        at += value_h
        total += _weighted(at, left & bottom, channels, below * (1 - fx), real)
        total += _weighted(at + value_w, right & bottom, channels, below * fx, real)
    to = out + (pixel * (groups * group_width))[:, None] + channel[None, :]
    tl.store(to, total.to(out.dtype.element_ty), mask=wanted[:, None] & channels[None, :])


@triton.jit  # type: ignore[untyped-decorator]
def backward(
    grad_out: tl.tensor,
    value: tl.tensor,
    scalars: tl.tensor,
    grad_value: tl.tensor,
    grad_scalars: tl.tensor,
    pixels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    groups: tl.tensor,
    group_width: tl.tensor,
    grad_scalars_w: tl.tensor,
    value_n: tl.tensor,
    value_h: tl.tensor,
    value_w: tl.tensor,
    value_c: tl.tensor,
    scalars_n: tl.tensor,
    scalars_h: tl.tensor,
    scalars_w: tl.tensor,
    scalars_c: tl.tensor,
    kernel: tl.constexpr,
    stride: tl.constexpr,
    padding: tl.constexpr,
    dilation: tl.constexpr,
    offset_scale: tl.constexpr,
    remove_center: tl.constexpr,
    real: tl.constexpr,
    block_pixels: tl.constexpr,
    block_channels: tl.constexpr,
) -> None:
    """The gradients of value, added to zeros, and of offsets and modulation; all contiguous."""
    taps: tl.constexpr = kernel * kernel - remove_center
    program, group = tl.program_id(0) // groups, tl.program_id(0) % groups
    image, row, column, pixel = _pixels(program, out_height, out_width, block_pixels)
    wanted = pixel < pixels
    channels_in_all = groups * group_width
    scalars += image * scalars_n + row.to(tl.int64) * scalars_h + column.to(tl.int64) * scalars_w
    scalars += group * 3 * taps * scalars_c
    grad_scalars += pixel * grad_scalars_w + group * 3 * taps
    value += image * value_n
    grad_value += image * height * width * channels_in_all
    grad_out += pixel * channels_in_all
    scale = tl.full((), offset_scale, real)
    for k in range(taps):
        x0, y0, fx, fy, modulation, inside, left, right, top, bottom = _place(
            scalars, scalars_c, wanted, row, column, k, height, width,
            kernel, stride, padding, dilation, offset_scale, remove_center, real,
        )  # fmt: skip
        at = y0 * value_h + x0 * value_w
        to = (y0 * width + x0) * channels_in_all
        below, above = modulation * fy, modulation * (1 - fy)
        along_x = tl.zeros((block_pixels,), real)
        along_y = tl.zeros((block_pixels,), real)
        sample = tl.zeros((block_pixels,), real)
        for first in range(0, group_width, block_channels):
            within = first + tl.arange(0, block_channels)
            channels, channel = within < group_width, group * group_width + within
            some = wanted[:, None] & channels[None, :]
            grad = tl.load(grad_out[:, None] + channel[None, :], mask=some, other=0.0).to(real)
            here = (value + at)[:, None] + (channel * value_c)[None, :]
            there = (grad_value + to)[:, None] + channel[None, :]
            v00 = _scattered(here, there, left & top, channels, above * (1 - fx), grad, real)
            here, there = here + value_w, there + channels_in_all
            v01 = _scattered(here, there, right & top, channels, above * fx, grad, real)
            here, there = here + value_h, there + width * channels_in_all
            v11 = _scattered(here, there, right & bottom, channels, below * fx, grad, real)
            here, there = here - value_w, there - channels_in_all
            v10 = _scattered(here, there, left & bottom, channels, below * (1 - fx), grad, real)
            upper = v00 + fx[:, None] * (v01 - v00)
            lower = v10 + fx[:, None] * (v11 - v10)
            across = (v01 - v00) + fy[:, None] * ((v11 - v10) - (v01 - v00))
            along_x += tl.sum(grad * across, axis=1)
            along_y += tl.sum(grad * (lower - upper), axis=1)
            sample += tl.sum(grad * (upper + fy[:, None] * (lower - upper)), axis=1)
        kind = grad_scalars.dtype.element_ty
        slope = modulation * scale
        # What no corner reaches has no gradient, whatever its modulation; it was read as zero.
        tl.store(grad_scalars + 2 * k, (slope * along_x).to(kind), mask=wanted)
        tl.store(grad_scalars + 2 * k + 1, (slope * along_y).to(kind), mask=wanted)
        sample = tl.where(inside, sample, 0.0)
        tl.store(grad_scalars + 2 * taps + k, sample.to(kind), mask=wanted)
