"""Models that tell a pixel's class from the values of that pixel alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from comix_models.spec_base import Spec
from comix_models.stacked import check_x


class PixelModel(nn.Module, ABC):
    """Takes windows as the networks do, and works through their pixels a part at a time.

    What it has learned are buffers: it was fitted as a whole, and no gradient changes it. It
    computes in the number type of its inputs, whatever is asked of networks, since thresholds and
    distances cannot do with the 8 bits of bfloat16.

    Args:
        spec: What it is made of.
        chunk: Pixels at a time, which bounds the memory.
    """

    def __init__(self, spec: Spec, chunk: int) -> None:
        super().__init__()
        self.x_channels = spec.x_channels
        self.class_count = spec.classes
        self.chunk = max(1, chunk)

    @abstractmethod
    def logits(self, values: Tensor) -> Tensor:
        """From the values of pixels ``(n, features)`` to logits ``(n, classes)``."""

    def forward(self, hsi: Tensor, x: Tensor | None = None) -> Tensor:
        """Logits of every pixel.

        Args:
            hsi: ``(B, bands, H, W)``, scaled to about [0, 1].
            x: ``(B, channels, H, W)`` on the same grid, scaled likewise; none without X.

        Returns:
            ``(B, classes, H, W)``.

        Raises:
            ValueError: X is not what the model takes.
        """
        check_x(hsi, x, self.x_channels)
        count, _, rows, columns = hsi.shape
        result = hsi.new_empty(count, self.class_count, rows * columns)
        parts = [image.flatten(2) for image in (hsi, x) if image is not None]
        with torch.autocast(hsi.device.type, enabled=False):
            for image, start, stop in self._chunks(count, rows * columns):
                values = torch.cat([part[image, :, start:stop] for part in parts])
                result[image, :, start:stop] = self.logits(values.T.contiguous()).T
        return result.view(count, self.class_count, rows, columns)

    def _chunks(self, images: int, pixels: int) -> Iterator[tuple[int, int, int]]:
        for image in range(images):
            for start in range(0, pixels, self.chunk):
                yield image, start, min(start + self.chunk, pixels)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: torch's compiler would unroll the loop over the pixels, and gain nothing."""
