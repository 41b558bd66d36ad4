"""What the deformable operator is asked to do, shared by its backends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class DeformShape:
    """The window of a deformable convolution (DCNv4), validated once.

    Args:
        kernel: Side of the window, odd; taps run with the horizontal index slow.
        groups: Groups G of channels, each with its own offsets and modulation.
        stride: Input pixels from one output pixel to the next.
        padding: Pixels of zeros around the input.
        dilation: Pixels from one tap to the next.
        offset_scale: Stretches offsets and window alike.
        remove_center: Whether the middle tap is left out.

    Raises:
        ValueError: A field has no meaning; the message says which.
    """

    kernel: int
    groups: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    offset_scale: float = 1.0
    remove_center: bool = False

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and positive, not {self.kernel}")
        if self.remove_center and self.kernel == 1:
            raise ValueError("remove_center leaves no tap of a kernel of 1")
        for name in ("groups", "stride", "dilation"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.padding < 0:
            raise ValueError(f"padding must not be negative, not {self.padding}")
        if not math.isfinite(self.offset_scale):
            raise ValueError(f"offset_scale must be finite, not {self.offset_scale}")

    @property
    def taps(self) -> int:
        """How many positions K are sampled for one output pixel."""
        return self.kernel**2 - int(self.remove_center)

    @property
    def scalars(self) -> int:
        """Channels of the offsets and modulation: 3 G K, padded at the end to a multiple of 8."""
        return math.ceil(3 * self.groups * self.taps / 8) * 8

    def out_size(self, size: int) -> int:
        """Length of an output axis whose input has length `size`; below 1 where it does not fit."""
        return (size + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

    def tap_positions(self) -> list[tuple[float, float]]:
        """Where the K taps of output pixel (0, 0) sample without offsets, as (x, y) in pixels."""
        half = self.dilation * (self.kernel - 1) // 2
        middle = self.kernel // 2
        axis = [
            half - self.padding + (i * self.dilation - half) * self.offset_scale
            for i in range(self.kernel)
        ]
        return [
            (axis[i], axis[j])
            for i in range(self.kernel)
            for j in range(self.kernel)
            if not (self.remove_center and i == j == middle)
        ]

    def check(self, value: Tensor, offset_mask: Tensor) -> None:
        """Refuse tensors that do not belong to this operator, or not to each other.

        Raises:
            ValueError: Shapes, number types or devices do not fit; the message has both.
        """
        found = f"value {tuple(value.shape)}, offset_mask {tuple(offset_mask.shape)}"
        if value.ndim != 4 or offset_mask.ndim != 4:
            raise ValueError(f"expected value (N, H, W, C) and offset_mask (N, H, W, S): {found}")
        count, height, width, channels = value.shape
        if channels < 1 or channels % self.groups:
            raise ValueError(f"channels do not divide into {self.groups} groups: {found}")
        out = (count, self.out_size(height), self.out_size(width))
        if min(out) < 1:
            raise ValueError(f"nothing to compute, the output would be {out}: {found}")
        if tuple(offset_mask.shape) != (*out, self.scalars):
            raise ValueError(f"offset_mask must be {(*out, self.scalars)}: {found}")
        kinds = (value.dtype, value.device), (offset_mask.dtype, offset_mask.device)
        if kinds[0] != kinds[1] or not value.is_floating_point():
            raise ValueError(
                f"value and offset_mask must be floats of one type on one device: "
                f"{value.dtype} on {value.device}, {offset_mask.dtype} on {offset_mask.device}"
            )
