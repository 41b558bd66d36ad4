"""What EPA and CMFeX share: queries, keys and two values of one modality, and the two maps.

Spatial map ``SA = softmax(Q Kp^T / sqrt d)``, ``(N, p)`` per head; spectral map
``SE = softmax(T Q^T K)``, ``(C, C)``, block-diagonal over the heads. Over many thousand tokens the
printed scale ``1 / sqrt d`` saturates the spectral softmax, so the columns of Q and K have unit
length over the tokens and each head learns its temperature T.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from comix_models.layout import as_tokens

# Least squared length of a column of Q or K, as a mean over the tokens.
_EPSILON = 1e-12


class SpatialSide(NamedTuple):
    """One modality's part in spatial attention: what makes its map SA, and its projected values.

    Attributes:
        query: ``(B, heads, N, d)``.
        keys: ``(B, heads, p, d)``.
        values: ``(B, heads, p, d)``.
    """

    query: Tensor
    keys: Tensor
    values: Tensor


class SpectralSide(NamedTuple):
    """One modality's part in spectral attention.

    Attributes:
        map: SE, ``(B, C, C)``, block-diagonal over the heads; rows of a block sum to one.
        tokens: X, ``(B, N, C)``.
        value: Weight of the values, ``(C, C)``: V = X value^T.
    """

    map: Tensor
    tokens: Tensor
    value: Tensor


def spatial_attention(map_of: SpatialSide, values_of: SpatialSide) -> Tensor:
    """``SA Vp``: the spatial map of one modality on the projected values of another, or the same.

    Returns:
        ``(B, N, C)``, N being the tokens of the map's modality.
    """
    mixed = functional.scaled_dot_product_attention(map_of.query, map_of.keys, values_of.values)
    return mixed.transpose(1, 2).flatten(2)


def spectral_attention(map_of: SpectralSide, values_of: SpectralSide, merge: nn.Linear) -> Tensor:
    """``V SE^T``, merged by a linear layer.

    Every channel of ``V SE^T`` is a convex mix of the channels of V in its head. Values, map and
    ``merge`` are linear in the tokens, so their small matrices are multiplied first, and the N
    tokens are touched once: ``X (merge SE value)^T``.

    Args:
        map_of: Whose map SE.
        values_of: Whose values V.
        merge: Linear layer ``C -> C'``.

    Returns:
        ``(B, N, C')``, N being the tokens of the values' modality.
    """
    weight = merge.weight @ map_of.map @ values_of.value
    return torch.baddbmm(merge.bias, values_of.tokens, weight.transpose(1, 2))


def spectral_map(moment: Tensor, query: Tensor, key: Tensor, temperature: Tensor) -> Tensor:
    """SE: the softmax, head by head, of how alike the channels of Q and K are over all tokens.

    With Q = X query^T and K = X key^T, their products and the lengths of their columns all follow
    from ``X^T X``, so neither is needed token by token: ``Q^T K = query (X^T X) key^T``.

    Args:
        moment: ``X^T X``, ``(B, C, C)``.
        query: Weight of the queries, ``(C, C)``.
        key: Weight of the keys, ``(C, C)``.
        temperature: ``(heads,)``, factors of the cosines.

    Returns:
        ``(B, C, C)``, block-diagonal over the heads.
    """
    B, C, _ = moment.shape
    heads = len(temperature)
    half = query @ moment
    query_length = (half * query).sum(dim=2, keepdim=True).clamp_min(_EPSILON).sqrt()
    key_length = (key @ moment * key).sum(dim=2).clamp_min(_EPSILON).sqrt().unsqueeze(1)
    cosines = half @ key.T / (query_length * key_length)
    blocks = cosines.view(B, heads, C // heads, heads, C // heads).diagonal(dim1=1, dim2=3)
    weights = (blocks * temperature).softmax(dim=2)
    return torch.diag_embed(weights, dim1=1, dim2=3).reshape(B, C, C)


class PairedAttention(nn.Module):
    """Queries and keys shared by both attentions, and a value for each.

    Args:
        width: Channels C.
        heads: Attention heads; d = C / heads.
        tokens: Projection from N tokens to p, ``(B, D, H, W, C)`` to two of ``(B, p, C)``.
        spatial: Whether the spatial attention is used.
        spectral: Whether the spectral attention is used.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        tokens: nn.Module,
        *,
        spatial: bool = True,
        spectral: bool = True,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        if spatial:
            self.tokens = tokens
            self.spatial_value = nn.Linear(width, width, bias=False)
        if spectral:
            self.spectral_value = nn.Linear(width, width, bias=False)
            self.temperature = nn.Parameter(torch.ones(heads))

    def spatial(self, volume: Tensor) -> SpatialSide:
        """The spatial side of a volume ``(B, D, H, W, C)``."""
        for_keys, for_values = self.tokens(volume)
        return SpatialSide(
            self._by_heads(self.query(as_tokens(volume))),
            self._by_heads(self.key(for_keys)),
            self._by_heads(self.spatial_value(for_values)),
        )

    def spectral(self, volume: Tensor) -> SpectralSide:
        """The spectral side of a volume ``(B, D, H, W, C)``; its map has single precision at least.

        Lengths and products of whole columns are differences of large sums: half precision, which
        autocasting would choose for them, is too coarse.
        """
        tokens = as_tokens(volume)
        with torch.autocast(tokens.device.type, enabled=False):
            wide = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
            # The mean over the tokens: the same cosines as the sum, at a size free of the window's.
            moment = wide.transpose(1, 2) @ wide / wide.shape[1]
            attention_map = spectral_map(
                moment, self.query.weight, self.key.weight, self.temperature
            )
        return SpectralSide(attention_map, tokens, self.spectral_value.weight)

    def _by_heads(self, tokens: Tensor) -> Tensor:
        B, N, C = tokens.shape
        return tokens.view(B, N, self.heads, C // self.heads).transpose(1, 2)
