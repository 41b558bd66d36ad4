"""Plain NumPy versions of what the networks compute, as slow and as literal as can be.

Features are channels-last, as in the networks: ``(H, W, C)`` or ``(D, H, W, C)``, without a batch.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Array = npt.NDArray[np.float64]


def numbers(tensor: torch.Tensor) -> Array:
    """A tensor's values in double precision."""
    return np.asarray(tensor.detach().double().numpy(), dtype=np.float64)


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every parameter anew, in double precision, so that no zero or one hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator).double())
    return module


def linear(x: Array, layer: nn.Module) -> Array:
    """``x W^T + b`` over the last axis."""
    assert isinstance(layer, nn.Linear)
    result: Array = x @ numbers(layer.weight).T
    return result if layer.bias is None else result + numbers(layer.bias)


def layer_norm(x: Array, layer: nn.Module) -> Array:
    """Layer normalisation over the last axis."""
    assert isinstance(layer, nn.LayerNorm)
    centred = x - x.mean(-1, keepdims=True)
    scaled: Array = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps)
    return scaled * numbers(layer.weight) + numbers(layer.bias)


def batch_norm(x: Array, layer: nn.Module) -> Array:
    """Batch normalisation by the statistics of ``x`` itself, over all axes but the last."""
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.weight is not None
    assert layer.bias is not None
    axes = tuple(range(x.ndim - 1))
    scaled: Array = (x - x.mean(axes)) / np.sqrt(x.var(axes) + layer.eps)
    return scaled * numbers(layer.weight) + numbers(layer.bias)


def gelu(x: Array) -> Array:
    """``x Phi(x)`` with the exact normal distribution function."""
    phi: Array = (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
    return x * phi


def softmax(x: Array) -> Array:
    """Softmax over the last axis."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    shares: Array = powers / powers.sum(-1, keepdims=True)
    return shares


def depthwise3x3(x: Array, layer: nn.Module) -> Array:
    """3x3 depthwise convolution of ``(H, W, C)``, zero outside."""
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    weight, (H, W, _) = numbers(layer.weight), x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    result = np.zeros_like(x) + numbers(layer.bias)
    for i in range(3):
        for j in range(3):
            result += padded[i : i + H, j : j + W] * weight[:, 0, i, j]
    return result


def conv3x3x3(x: Array, weight: torch.Tensor) -> Array:
    """3x3x3 convolution of ``(D, H, W, C)``, zero outside, by all 27 taps."""
    taps, (D, H, W, _) = numbers(weight), x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (1, 1), (0, 0)))
    result = np.zeros((D, H, W, len(taps)))
    for k in range(3):
        for i in range(3):
            for j in range(3):
                result += padded[k : k + D, i : i + H, j : j + W] @ taps[:, :, k, i, j].T
    return result


def bilinear(x: Array, column: float, row: float) -> Array:
    """The value of ``(H, W, C)`` at a place between pixel centres, every corner outside being 0."""
    left, top = math.floor(column), math.floor(row)
    result = np.zeros(x.shape[2])
    for i, j in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= i < x.shape[0] and 0 <= j < x.shape[1]:
            result += (1 - abs(column - j)) * (1 - abs(row - i)) * x[i, j]
    return result


def deform(value: Array, offset_mask: Array, kernel: int, groups: int) -> Array:
    """DCNv4's operator: groups in order, (dx, dy) pairs, then scalars; taps run down columns."""
    H, W, C = value.shape
    taps, part, reach = kernel**2, C // groups, kernel // 2
    result = np.zeros_like(value)
    for row in range(H):
        for column in range(W):
            for g in range(groups):
                own = offset_mask[row, column, 3 * taps * g : 3 * taps * (g + 1)]
                channels = slice(part * g, part * (g + 1))
                for k in range(taps):
                    x = column + k // kernel - reach + own[2 * k]
                    y = row + k % kernel - reach + own[2 * k + 1]
                    sample = bilinear(value[:, :, channels], x, y)
                    result[row, column, channels] += own[2 * taps + k] * sample
    return result


def pool(x: Array, grid: tuple[int, int]) -> Array:
    """Means of ``(D, H, W, C)`` over the cells of a grid laid on each plane, ``(D cells, C)``."""
    _, H, W, _ = x.shape
    cells = []
    for plane in x:
        for i in range(grid[0]):
            for j in range(grid[1]):
                rows = slice(i * H // grid[0], -(-(i + 1) * H // grid[0]))
                columns = slice(j * W // grid[1], -(-(j + 1) * W // grid[1]))
                cells.append(plane[rows, columns].mean((0, 1)))
    return np.stack(cells)


def by_heads(x: Array, heads: int) -> list[Array]:
    """``(N, C)`` cut into heads of ``(N, d)``."""
    return np.split(x, heads, axis=1)


def spatial_map(query: Array, projected_keys: Array, heads: int) -> list[Array]:
    """``softmax(Q Kp^T / sqrt d)`` of each head, ``(N, p)``."""
    pairs = zip(by_heads(query, heads), by_heads(projected_keys, heads), strict=True)
    return [softmax(q @ k.T / math.sqrt(q.shape[1])) for q, k in pairs]


def spectral_map(query: Array, key: Array, temperature: Array) -> list[Array]:
    """``softmax(T Q^T K)`` of each head, ``(d, d)``, columns of Q and K of unit length."""
    query, key = (m / np.sqrt((m**2).sum(0)) for m in (query, key))
    heads = len(temperature)
    pairs = zip(by_heads(query, heads), by_heads(key, heads), temperature, strict=True)
    return [softmax(t * (q.T @ k)) for q, k, t in pairs]


def with_spatial(maps: list[Array], projected_values: Array) -> Array:
    """``SA Vp``, heads side by side, ``(N, C)``."""
    pairs = zip(maps, by_heads(projected_values, len(maps)), strict=True)
    return np.concatenate([sa @ v for sa, v in pairs], axis=1)


def with_spectral(maps: list[Array], values: Array) -> Array:
    """``V SE^T``, heads side by side, ``(N, C)``."""
    pairs = zip(maps, by_heads(values, len(maps)), strict=True)
    return np.concatenate([v @ se.T for se, v in pairs], axis=1)
