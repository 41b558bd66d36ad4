"""The block that deformable convolutions take the place of: attention as in vision transformers."""

from __future__ import annotations

from torch import Tensor, nn

from comix_models.attention import PairedAttention, spatial_attention
from comix_models.layout import residual


class AttentionBlock(nn.Module):
    """Attention, then an MLP, each with its skip: a 2-D DCN block without its convolution.

    ``X1 = LN(softmax(Q Kp^T / sqrt d) Vp W) + X`` and ``out = LN(MLP(GELU(MLP(X1)))) + X1``: only
    what mixes the pixels differs from the 2-D DCN block. Keys and values are projected to p tokens,
    as everywhere in CoMiX: among all pixels of a window attention would cost more than the network.

    Args:
        attention: Makes queries, keys and values; only its spatial side is used.
        width: Channels C.
        hidden: Hidden width of the MLP.
    """

    def __init__(self, attention: PairedAttention, width: int, hidden: int) -> None:
        super().__init__()
        self.attention = attention
        self.merge = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.mlp_norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> Tensor:
        """``(..., H, W, C)`` to the same shape; axes before H are a batch of planes."""
        planes: Tensor = features.reshape(-1, *features.shape[-3:])
        side = self.attention.spatial(planes.unsqueeze(1))
        mixed = self.merge(spatial_attention(side, side)).view_as(planes)
        planes = residual(self.attention_norm(mixed), planes)
        planes = residual(self.mlp_norm(self.mlp(planes)), planes)
        return planes.reshape(features.shape)
