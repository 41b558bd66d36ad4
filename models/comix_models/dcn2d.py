"""The 2-D DCN block, eqs. 1 to 4 of the CoMiX paper, on the operator of DCNv4."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from comix_models.deform import deform_conv2d
from comix_models.layout import residual, through


class DeformableConv(nn.Module):
    """DCNv4 with its projections: ``y(p) = sum_g sum_k w_g m_gk x_g(p + p_k + dp_gk)``.

    The offsets dp and the modulation scalars m, on which no softmax or sigmoid acts, come from a
    3x3 depthwise convolution of the raw input followed by a linear layer.

    Args:
        width: Channels C, a multiple of ``group_width``.
        kernel: Side of the window, odd.
        group_width: Channels that share their offsets.
        backend: Which implementation of the operator runs; a choice of the run, not of the network.
    """

    def __init__(self, width: int, kernel: int, group_width: int, backend: str = "auto") -> None:
        super().__init__()
        self.kernel = kernel
        self.groups = width // group_width
        self.backend = backend
        scalars = math.ceil(3 * self.groups * kernel**2 / 8) * 8
        self.depthwise = nn.Conv2d(width, width, kernel_size=3, padding=1, groups=width)
        self.offset_mask = nn.Linear(width, scalars)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)

    @torch.no_grad()
    def start_as_average(self) -> None:
        """Let the operator begin as a plain average of its window.

        Offsets start at 0 and modulation scalars at 1 / K. Scalars that started at zero would make
        the output exactly zero, and the layer normalisation behind it would blow up the first
        gradients by more than two orders of magnitude.
        """
        taps = self.kernel**2
        nn.init.zeros_(self.offset_mask.weight)
        nn.init.zeros_(self.offset_mask.bias)
        used = self.offset_mask.bias[: 3 * taps * self.groups]
        used.view(self.groups, 3 * taps)[:, 2 * taps :] = 1 / taps

    def forward(self, features: Tensor) -> Tensor:
        """``(B, H, W, C)`` to ``(B, H, W, C)``."""
        offset_mask = self.offset_mask(through(self.depthwise, features))
        sampled = deform_conv2d(
            self.value_proj(features),
            offset_mask,
            kernel=self.kernel,
            groups=self.groups,
            backend=self.backend,
        )
        result: Tensor = self.output_proj(sampled)
        return result


class Block2d(nn.Module):
    """The 2-D DCN block: a deformable convolution, then an MLP, each with its skip (eqs. 1 to 4).

    ``X1 = LN(DCN(X)) + X`` and ``out = LN(MLP(GELU(MLP(X1)))) + X1``.

    Args:
        deformable: The deformable convolution, ``(B, H, W, C)`` to the same shape.
        width: Channels C.
        hidden: Hidden width of the MLP.
    """

    def __init__(self, deformable: nn.Module, width: int, hidden: int) -> None:
        super().__init__()
        self.deformable = deformable
        self.deformable_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.mlp_norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """``(..., H, W, C)`` to the same shape; axes before H are a batch of planes."""
        planes: Tensor = features.reshape(-1, *features.shape[-3:])
        planes = residual(self.deformable_norm(self.deformable(planes)), planes)
        planes = residual(self.mlp_norm(self.mlp(planes)), planes)
        return planes.reshape(features.shape)
