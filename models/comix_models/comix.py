"""CoMiX, as its figure shows it: two backbones that talk to each other, and one light decoder.

Zhang, Gu, Tian, Bruzzone: "CoMiX: Cross-Modal Fusion with Deformable Convolutions for HSI-X
Semantic Segmentation", IEEE TGRS 63, 2025.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from comix_models.cmfex import CMFeX
from comix_models.decoder import AllMLPDecoder
from comix_models.stacked import cropped, padded
from comix_models.stem import SpectralStem, Stem


class Branch(nn.Module):
    """One modality in one stage: the way in, then its blocks.

    Args:
        enter: From the width and size of the stage before.
        blocks: Blocks that keep the shape.
    """

    def __init__(self, enter: nn.Module, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.enter = enter
        self.blocks = nn.Sequential(*blocks)

    def forward(self, features: Tensor) -> Tensor:
        """``(..., H, W, C)`` to ``(..., H', W', C')``."""
        result: Tensor = self.blocks(self.enter(features))
        return result


class Stage(nn.Module):
    """One stage of CoMiX: blocks on both modalities, exchange, fusion.

    Args:
        hsi: Branch of the HSI, on volumes ``(B, D, H, W, C)``.
        x: Branch of X, on features ``(B, H, W, C)``.
        exchange: CMFeX; ``None`` where the branches do not talk.
        fold: From the HSI volume to features ``(B, H, W, C)``.
        fuse: FFM or average, two of ``(B, H, W, C)`` to one.
    """

    def __init__(
        self, hsi: Branch, x: Branch, exchange: CMFeX | None, fold: nn.Module, fuse: nn.Module
    ) -> None:
        super().__init__()
        self.hsi = hsi
        self.x = x
        self.exchange = exchange
        self.fold = fold
        self.fuse = fuse

    def forward(self, hsi: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """HSI ``(B, D, H, W, C)`` and X ``(B, H, W, C)`` to both, for the next stage, and fused."""
        hsi, x = self.hsi(hsi), self.x(x)
        if self.exchange is not None:
            hsi, x = self.exchange(hsi, x)
        return hsi, x, self.fuse(self.fold(hsi), x)


class CoMiX(nn.Module):
    """The network of HSI and X.

    Args:
        hsi_stem: From bands to the volume of the first stage.
        x_stem: From channels to the features of the first stage.
        stages: Four stages; the second halves the resolution.
        decoder: From the fused features of every stage to logits.
        window: Side of the only window that the network takes; ``None`` takes any.
    """

    def __init__(
        self,
        hsi_stem: SpectralStem,
        x_stem: Stem,
        stages: Iterable[Stage],
        decoder: AllMLPDecoder,
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.hsi_stem = hsi_stem
        self.x_stem = x_stem
        self.stages = nn.ModuleList(stages)
        self.decoder = decoder
        self.window = window

    def forward(self, hsi: Tensor, x: Tensor | None = None) -> Tensor:
        """Logits of every pixel.

        Args:
            hsi: ``(B, bands, H, W)``, scaled to about [0, 1].
            x: ``(B, channels, H, W)`` on the same grid, scaled likewise.

        Returns:
            ``(B, classes, H, W)``.

        Raises:
            ValueError: X is missing or of another size, or the window is not the network's.
        """
        if x is None or x.shape[2:] != hsi.shape[2:]:
            raise ValueError(f"x: {_size(x)} where the HSI has {_size(hsi)} pixels")
        check_window(hsi, self.window)
        size = hsi.shape[2:]
        hsi, x = self.hsi_stem(padded(hsi, 2)), self.x_stem(padded(x, 2))
        fused = []
        for stage in self.stages:
            hsi, x, features = stage(hsi, x)
            fused.append(features)
        return cropped(self.decoder(fused), size)


class HsiStage(nn.Module):
    """One stage of the HSI alone.

    Args:
        hsi: Branch of the HSI, on volumes ``(B, D, H, W, C)``.
        fold: From the HSI volume to features ``(B, H, W, C)``.
    """

    def __init__(self, hsi: Branch, fold: nn.Module) -> None:
        super().__init__()
        self.hsi = hsi
        self.fold = fold

    def forward(self, hsi: Tensor) -> tuple[Tensor, Tensor]:
        """A volume ``(B, D, H, W, C)`` to the next one and its features ``(B, H, W, C)``."""
        hsi = self.hsi(hsi)
        return hsi, self.fold(hsi)


class HsiNet(nn.Module):
    """The network of the HSI alone: CoMiX's HSI branch and decoder.

    Args:
        hsi_stem: From bands to the volume of the first stage.
        stages: Four stages; the second halves the resolution.
        decoder: From the features of every stage to logits.
        window: Side of the only window that the network takes; ``None`` takes any.
    """

    def __init__(
        self,
        hsi_stem: SpectralStem,
        stages: Iterable[HsiStage],
        decoder: AllMLPDecoder,
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.hsi_stem = hsi_stem
        self.stages = nn.ModuleList(stages)
        self.decoder = decoder
        self.window = window

    def forward(self, hsi: Tensor, x: Tensor | None = None) -> Tensor:
        """Logits of every pixel.

        Args:
            hsi: ``(B, bands, H, W)``, scaled to about [0, 1].
            x: ``None``, or a tensor of no channels.

        Returns:
            ``(B, classes, H, W)``.

        Raises:
            ValueError: X has channels, or the window is not the network's.
        """
        if x is not None and x.shape[1] > 0:
            raise ValueError(f"x: {x.shape[1]} channels given to a network of the HSI alone")
        check_window(hsi, self.window)
        size = hsi.shape[2:]
        hsi = self.hsi_stem(padded(hsi, 2))
        features = []
        for stage in self.stages:
            hsi, found = stage(hsi)
            features.append(found)
        return cropped(self.decoder(features), size)


def check_window(image: Tensor, window: int | None) -> None:
    """Refuse an image ``(B, bands, H, W)`` that is not the one window of a learned projection."""
    if window is not None and tuple(image.shape[2:]) != (window, window):
        raise ValueError(f"window: {_size(image)} pixels where the network takes {window}x{window}")


def _size(image: Tensor | None) -> str:
    return "none" if image is None else f"{image.shape[2]}x{image.shape[3]}"
