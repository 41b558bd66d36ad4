"""CMFeX, eqs. 11 to 22: each modality attends with the maps of the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from comix_models.attention import (
    PairedAttention,
    SpatialSide,
    SpectralSide,
    spatial_attention,
    spectral_attention,
)
from comix_models.layout import residual


class CMFeX(nn.Module):
    """Cross-modal feature exchange: spatial and spectral maps are swapped (eqs. 11 to 22).

    ``HSI_spa = SA_x Vproj_hsi``, ``X_spa = SA_hsi Vproj_x``, ``HSI_spe = V_hsi SE_x^T`` and
    ``X_spe = V_x SE_hsi^T``; a linear layer halves the channels of each, and the halves are
    concatenated and added to the input of that modality. With one kind of map left (ablations) a
    linear layer keeps all C channels instead. Where the
    HSI has D planes, the spatial map of X serves each of them, and X takes the mean over the planes
    of what their maps say.

    Args:
        hsi: Attention of the HSI.
        x: Attention of X.
        width: Channels C.
        spatial: Whether spatial maps are swapped.
        spectral: Whether spectral maps are swapped.
    """

    def __init__(
        self,
        hsi: PairedAttention,
        x: PairedAttention,
        width: int,
        *,
        spatial: bool = True,
        spectral: bool = True,
    ) -> None:
        super().__init__()
        part = width // 2 if spatial and spectral else width
        self.hsi = hsi
        self.x = x
        self.swap_spatial = SwapSpatial(width, part) if spatial else None
        self.swap_spectral = SwapSpectral(width, part) if spectral else None

    def forward(self, hsi: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """HSI ``(B, D, H, W, C)`` and X ``(B, H, W, C)`` to the same shapes."""
        depth, plane = hsi.shape[1], x.unsqueeze(1)
        found = []
        if self.swap_spatial is not None:
            found.append(self.swap_spatial(self.hsi.spatial(hsi), self.x.spatial(plane), depth))
        if self.swap_spectral is not None:
            found.append(self.swap_spectral(self.hsi.spectral(hsi), self.x.spectral(plane), depth))
        for_hsi, for_x = zip(*found, strict=True)
        return (
            residual(torch.cat(for_hsi, dim=3).view_as(hsi), hsi),
            residual(torch.cat(for_x, dim=2).view_as(x), x),
        )


class SwapSpatial(nn.Module):
    """Spatial maps swapped, and merged: ``SA_x Vproj_hsi`` and ``SA_hsi Vproj_x``.

    Args:
        width: Channels C.
        part: Channels C' that go out: C / 2, or C where nothing else is swapped.
    """

    def __init__(self, width: int, part: int) -> None:
        super().__init__()
        self.hsi = nn.Linear(width, part)
        self.x = nn.Linear(width, part)

    def forward(self, hsi: SpatialSide, x: SpatialSide, depth: int) -> tuple[Tensor, Tensor]:
        """For the HSI of D planes, ``(B, D, H W, C')``, and for X, ``(B, H W, C')``."""
        for_hsi = self.hsi(spatial_attention(map_of=x, values_of=hsi))
        for_x = spatial_attention(map_of=hsi, values_of=x)
        if depth > 1:
            for_x = _by_planes(for_x, depth).mean(dim=1)
        return for_hsi.unsqueeze(1).expand(-1, depth, -1, -1), self.x(for_x)


class SwapSpectral(nn.Module):
    """Spectral maps swapped, and merged: ``V_hsi SE_x^T`` and ``V_x SE_hsi^T``.

    Args:
        width: Channels C.
        part: Channels C' that go out: C / 2, or C where nothing else is swapped.
    """

    def __init__(self, width: int, part: int) -> None:
        super().__init__()
        self.hsi = nn.Linear(width, part)
        self.x = nn.Linear(width, part)

    def forward(self, hsi: SpectralSide, x: SpectralSide, depth: int) -> tuple[Tensor, Tensor]:
        """For the HSI of D planes, ``(B, D, H W, C')``, and for X, ``(B, H W, C')``."""
        for_hsi = spectral_attention(map_of=x, values_of=hsi, merge=self.hsi)
        return _by_planes(for_hsi, depth), spectral_attention(map_of=hsi, values_of=x, merge=self.x)


def _by_planes(tokens: Tensor, depth: int) -> Tensor:
    """``(B, D H W, C)`` as ``(B, D, H W, C)``."""
    return tokens.reshape(tokens.shape[0], depth, -1, tokens.shape[2])
