"""The two compiled loops of the ``cpu`` backend: forward, and the gradients.

Both are C functions of one argument, the address of a job: a table of ``int64`` numbers, one for
each slot below, that holds addresses, sizes and two shared counters. Several threads run the same
function on the same job, and each draws pieces of work from a counter until none is left. A piece
writes where no other piece writes, so the result does not depend on who does what.

One pixel and one group are done in steps. First the positions of all taps become corner weights and
addresses, many taps at once (`_place`). Then the corners are gathered, a block of channels at once,
into accumulators that stay in registers. Forward reads single and double precision, and bfloat16,
which it widens as it reads. For the gradients a third step turns four dot products per
tap into the gradients of the offsets and of the modulation, again many taps at once (`_finish`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba

from comix_models.deform.half_lanes import load_half, load_half_pairs
from comix_models.deform.lane_sums import sum_each
from comix_models.deform.lanes import (
    as_flag,
    as_index,
    fetch_add,
    fill,
    fill_index,
    floor,
    load,
    load_fill,
    load_pairs,
    load_quads,
    peek,
    select,
    store,
    store_pairs,
    store_quads,
    widen,
    zeros,
)

# The slots of a job. Plain numbers, because numba bakes module constants into the code.
NEXT_PIECE, NEXT_WORKER, PIECES, SLABS = 0, 1, 2, 3
VALUE, OFFSET_MASK, OUT, SCRATCH, GRID = 4, 5, 6, 7, 8  # addresses
GRAD_OUT, GRAD_VALUE, GRAD_OFFSET_MASK = 9, 10, 11  # addresses
HEIGHT, WIDTH, OUT_HEIGHT, OUT_WIDTH, STRIDE = 12, 13, 14, 15, 16
GROUPS, BLOCKS, TAPS, SCALARS = 17, 18, 19, 20
SLOTS = 21

SCRATCH_BYTES = 12 * 8
"""Scratch memory of one worker, per tap."""

# Where a field begins in the scratch memory, as a multiple of 8 bytes per tap.
_WEIGHTS, _CORNERS, _DOTS, _FX, _FY, _MODULATION = 0, 4, 5, 9, 10, 11

_WIDE = 8  # taps that are placed at once
# Four flags of a tap say which of its corners lie in the image: 1 left, 2 right, 4 top, 8 bottom.
# They share one number with the byte offset of corner (y1, x1).
_FLAG_BITS = 4
_ALL_INSIDE = 15


class _Sizes(NamedTuple):
    """What stays the same during a job; bytes where the name does not say otherwise."""

    element: int  # of a number in registers, in scratch memory and in the result
    stored: int  # of a number of value and offset_mask; less than `element` for bfloat16
    taps: int
    wide_taps: int  # how many taps are placed together with others
    groups: int
    blocks: int
    height: int
    width: int
    out_height: int
    out_width: int
    stride: int
    block: int
    group: int
    pixel: int
    row: int
    scalars: int
    group_scalars: int
    grid: int  # address


def _read_sizes(job: int, element: int, stored: int, lanes: int) -> _Sizes:
    taps, groups, blocks = peek(job + 8 * TAPS), peek(job + 8 * GROUPS), peek(job + 8 * BLOCKS)
    width = peek(job + 8 * WIDTH)
    block = lanes * stored
    return _Sizes(
        element,
        stored,
        taps,
        taps // _WIDE * _WIDE,
        groups,
        blocks,
        peek(job + 8 * HEIGHT),
        width,
        peek(job + 8 * OUT_HEIGHT),
        peek(job + 8 * OUT_WIDTH),
        peek(job + 8 * STRIDE),
        block,
        blocks * block,
        groups * blocks * block,
        width * groups * blocks * block,
        peek(job + 8 * SCALARS) * stored,
        3 * taps * stored,
        peek(job + 8 * GRID),
    )


def _fetch(like: Any, s: Any, address: int) -> Any:
    """Consecutive numbers of value or offset_mask."""
    if s.stored < s.element:
        return load_half(like, address)
    return load(like, address)


def _fetch_pairs(like: Any, s: Any, address: int) -> Any:
    """The even and the odd ones of consecutive numbers of offset_mask."""
    if s.stored < s.element:
        return load_half_pairs(like, address)
    return load_pairs(like, address)


_fetch = numba.njit(error_model="numpy")(_fetch)
_fetch_pairs = numba.njit(error_model="numpy")(_fetch_pairs)


def _place_some(
    like: Any, s: Any, k: int, scalars: int, scratch: int, row: int, column: int
) -> None:
    """Place taps k, k + 1, ..., as many as `like` has lanes, of one group of one output pixel.

    x = wo stride - pad + half + (i dilation - half + dx) offset_scale, likewise y (DCNv4); the grid
    holds what depends on the tap alone, and behind it offset_scale.
    """
    scale = load_fill(like, s.grid + 2 * s.taps * s.element)
    dx, dy = _fetch_pairs(like, s, scalars + 2 * k * s.stored)
    x = fill(like, column * s.stride) + load(like, s.grid + k * s.element) + dx * scale
    y = fill(like, row * s.stride) + load(like, s.grid + (s.taps + k) * s.element) + dy * scale
    one, none = fill(like, 1.0), fill(like, 0.0)
    inside = (x > fill(like, -1.0)) & (x < fill(like, s.width))
    inside = inside & (y > fill(like, -1.0)) & (y < fill(like, s.height))
    # From here on a position is finite and small: only now may it become an integer.
    x, y = select(inside, x, none), select(inside, y, none)
    modulation = _fetch(like, s, scalars + (2 * s.taps + k) * s.stored)
    modulation = select(inside, modulation, none)
    x0, y0 = floor(x), floor(y)
    fx, fy = x - x0, y - y0
    below = modulation * fy
    above = modulation - below
    w01, w11 = above * fx, below * fx
    weights = scratch + (8 * _WEIGHTS * s.taps + 4 * k * s.element)
    store_quads(weights, above - w01, w01, below - w11, w11)
    store(scratch + 8 * _FX * s.taps + k * s.element, fx)
    store(scratch + 8 * _FY * s.taps + k * s.element, fy)
    store(scratch + 8 * _MODULATION * s.taps + k * s.element, modulation * scale)
    left, top = as_flag(inside & (x0 >= none), 1), as_flag(inside & (y0 >= none), 4)
    right = as_flag(inside & (x0 < fill(like, s.width - 1)), 2)
    bottom = as_flag(inside & (y0 < fill(like, s.height - 1)), 8)
    corner = as_index(y0 + one) * fill_index(like, s.row << _FLAG_BITS)
    corner = corner + as_index(x0 + one) * fill_index(like, s.pixel << _FLAG_BITS)
    flags = widen(left + right + top + bottom)
    store(scratch + 8 * _CORNERS * s.taps + 8 * k, corner + flags)


_place_some = numba.njit(error_model="numpy")(_place_some)


def _place(
    wide: Any, narrow: Any, s: Any, scalars: int, scratch: int, row: int, column: int
) -> None:
    """Place all taps of one group of one output pixel."""
    for k in range(0, s.wide_taps, _WIDE):
        _place_some(wide, s, k, scalars, scratch, row, column)
    for k in range(s.wide_taps, s.taps):
        _place_some(narrow, s, k, scalars, scratch, row, column)


def _gather(like: Any, s: Any, plane: int, scratch: int) -> Any:
    """Sum the samples of all taps, for one block of channels; `plane` is its address at (0, 0)."""
    # One sum per corner: four short chains of additions instead of one long one.
    s00, s01, s10, s11 = like, like, like, like
    weights, corners = scratch + 8 * _WEIGHTS * s.taps, scratch + 8 * _CORNERS * s.taps
    e = s.element
    for _ in range(s.taps):
        packed = peek(corners)
        corner, flags = plane + (packed >> _FLAG_BITS), packed & _ALL_INSIDE
        if flags == _ALL_INSIDE:
            above = corner - s.row
            s00 = s00 + load_fill(like, weights) * _fetch(like, s, above - s.pixel)
            s01 = s01 + load_fill(like, weights + e) * _fetch(like, s, above)
            s10 = s10 + load_fill(like, weights + 2 * e) * _fetch(like, s, corner - s.pixel)
            s11 = s11 + load_fill(like, weights + 3 * e) * _fetch(like, s, corner)
        elif flags != 0:
            above = corner - s.row
            if flags & 5 == 5:
                s00 = s00 + load_fill(like, weights) * _fetch(like, s, above - s.pixel)
            if flags & 6 == 6:
                s01 = s01 + load_fill(like, weights + e) * _fetch(like, s, above)
            if flags & 9 == 9:
                s10 = s10 + load_fill(like, weights + 2 * e) * _fetch(like, s, corner - s.pixel)
            if flags & 10 == 10:
                s11 = s11 + load_fill(like, weights + 3 * e) * _fetch(like, s, corner)
        weights += 4 * e
        corners += 8
    return (s00 + s01) + (s10 + s11)


def _scatter(like: Any, s: Any, plane: int, grad_plane: int, grad: Any, scratch: int) -> None:
    """Add the gradient of one block of channels to the value's, and its dot products to memory."""
    weights, corners = scratch + 8 * _WEIGHTS * s.taps, scratch + 8 * _CORNERS * s.taps
    dots = scratch + 8 * _DOTS * s.taps
    e = s.element
    for _ in range(s.taps):
        packed = peek(corners)
        offset, flags = packed >> _FLAG_BITS, packed & _ALL_INSIDE
        a, b, c, d = like, like, like, like
        if flags & 5 == 5:
            at = offset - s.row - s.pixel
            a = load(like, plane + at)
            total = load(like, grad_plane + at) + load_fill(like, weights) * grad
            store(grad_plane + at, total)
        if flags & 6 == 6:
            at = offset - s.row
            b = load(like, plane + at)
            total = load(like, grad_plane + at) + load_fill(like, weights + e) * grad
            store(grad_plane + at, total)
        if flags & 9 == 9:
            at = offset - s.pixel
            c = load(like, plane + at)
            total = load(like, grad_plane + at) + load_fill(like, weights + 2 * e) * grad
            store(grad_plane + at, total)
        if flags & 10 == 10:
            d = load(like, plane + offset)
            total = load(like, grad_plane + offset) + load_fill(like, weights + 3 * e) * grad
            store(grad_plane + offset, total)
        sums = sum_each(a * grad, b * grad, c * grad, d * grad)
        store(dots, sums + load(sums, dots))
        weights += 4 * e
        corners += 8
        dots += 4 * e


def _finish_some(like: Any, s: Any, k: int, grad_scalars: int, scratch: int) -> None:
    """Write the gradients of taps k, k + 1, ... of one group of one output pixel."""
    d00, d01, d10, d11 = load_quads(like, scratch + 8 * _DOTS * s.taps + 4 * k * s.element)
    fx = load(like, scratch + 8 * _FX * s.taps + k * s.element)
    fy = load(like, scratch + 8 * _FY * s.taps + k * s.element)
    slope = load(like, scratch + 8 * _MODULATION * s.taps + k * s.element)
    across_top, across_bottom = d01 - d00, d11 - d10
    top, bottom = d00 + fx * across_top, d10 + fx * across_bottom
    dx = slope * (across_top + fy * (across_bottom - across_top))
    store_pairs(grad_scalars + 2 * k * s.element, dx, slope * (bottom - top))
    store(grad_scalars + (2 * s.taps + k) * s.element, top + fy * (bottom - top))


_finish_some = numba.njit(error_model="numpy")(_finish_some)


def _finish(wide: Any, narrow: Any, s: Any, grad_scalars: int, scratch: int) -> None:
    """Write the gradients of all taps of one group of one output pixel."""
    for k in range(0, s.wide_taps, _WIDE):
        _finish_some(wide, s, k, grad_scalars, scratch)
    for k in range(s.wide_taps, s.taps):
        _finish_some(narrow, s, k, grad_scalars, scratch)


def _clear_dots(quad: Any, s: Any, scratch: int) -> None:
    dots = scratch + 8 * _DOTS * s.taps
    for k in range(s.taps):
        store(dots + 4 * k * s.element, quad)


_read_sizes = numba.njit(error_model="numpy")(_read_sizes)
_place = numba.njit(error_model="numpy")(_place)
_gather = numba.njit(error_model="numpy")(_gather)
_scatter = numba.njit(error_model="numpy")(_scatter)
_finish = numba.njit(error_model="numpy")(_finish)
_clear_dots = numba.njit(error_model="numpy")(_clear_dots)


def forward_of(bits: int, lanes: int, stored: int, revision: int) -> Callable[[int], None]:
    """Write the forward loop; a piece of work is one row of one output image.

    Args:
        bits: 32 or 64, of a float.
        lanes: Channels held in registers at once; a group has a whole number of such blocks.
        stored: Bytes of a number of value and offset_mask: 2 for bfloat16, else those of a float.
        revision: Stands for the code that this function calls. numba's cache on disk watches this
            file and the numbers here, not the other files.
    """

    def forward(job: int) -> None:
        if revision < 0:
            return
        like, wide, narrow = zeros(bits, lanes), zeros(bits, _WIDE), zeros(bits, 1)
        s = _read_sizes(job, bits // 8, stored, lanes)
        value, scalars, out = (
            peek(job + 8 * VALUE),
            peek(job + 8 * OFFSET_MASK),
            peek(job + 8 * OUT),
        )
        pieces = peek(job + 8 * PIECES)
        worker = fetch_add(job + 8 * NEXT_WORKER)
        scratch = peek(job + 8 * SCRATCH) + worker * s.taps * SCRATCH_BYTES
        piece = fetch_add(job + 8 * NEXT_PIECE)
        while piece < pieces:
            image = value + piece // s.out_height * s.height * s.row
            for column in range(s.out_width):
                pixel = piece * s.out_width + column
                for group in range(s.groups):
                    here = scalars + pixel * s.scalars + group * s.group_scalars
                    _place(wide, narrow, s, here, scratch, piece % s.out_height, column)
                    for block in range(s.blocks):
                        channel = group * s.group + block * s.block
                        total = _gather(like, s, image + channel, scratch)
                        store(out + (pixel * s.pixel + channel) // stored * s.element, total)
            piece = fetch_add(job + 8 * NEXT_PIECE)

    return forward


def backward_of(bits: int, lanes: int, stored: int, revision: int) -> Callable[[int], None]:
    """Write the loop of the gradients; arguments as for `forward_of`.

    A job is one image. A piece of work is one group of one slab of output rows. Every slab has its
    own image to add the value's gradient to, so that no two pieces ever write to the same place,
    and every sum has an order of its own.
    """

    def backward(job: int) -> None:
        if revision < 0:
            return
        like, wide, narrow = zeros(bits, lanes), zeros(bits, _WIDE), zeros(bits, 1)
        s = _read_sizes(job, bits // 8, stored, lanes)
        value, scalars = peek(job + 8 * VALUE), peek(job + 8 * OFFSET_MASK)
        grad_out, grad_scalars = peek(job + 8 * GRAD_OUT), peek(job + 8 * GRAD_OFFSET_MASK)
        pieces, slabs = peek(job + 8 * PIECES), peek(job + 8 * SLABS)
        worker = fetch_add(job + 8 * NEXT_WORKER)
        scratch = peek(job + 8 * SCRATCH) + worker * s.taps * SCRATCH_BYTES
        piece = fetch_add(job + 8 * NEXT_PIECE)
        while piece < pieces:
            group, slab = piece // slabs, piece % slabs
            grad_value = peek(job + 8 * GRAD_VALUE) + slab * s.height * s.row
            for row in range(slab * s.out_height // slabs, (slab + 1) * s.out_height // slabs):
                for column in range(s.out_width):
                    pixel = row * s.out_width + column
                    here = pixel * s.scalars + group * s.group_scalars
                    _place(wide, narrow, s, scalars + here, scratch, row, column)
                    _clear_dots(zeros(bits, 4), s, scratch)
                    for block in range(s.blocks):
                        channel = group * s.group + block * s.block
                        grad = load(like, grad_out + pixel * s.pixel + channel)
                        _scatter(like, s, value + channel, grad_value + channel, grad, scratch)
                    _finish(wide, narrow, s, grad_scalars + here, scratch)
            piece = fetch_add(job + 8 * NEXT_PIECE)

    return backward
