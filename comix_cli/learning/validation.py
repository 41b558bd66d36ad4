"""How good a network is on labels that it does not train on, while it trains."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from comix_cli.learning.samples import IGNORE_INDEX, Chip, ChipSampler
from comix_cli.scene.grid import Grid
from comix_cli.scene.windows import Window, tile_windows

# Chips that are looked at each time; more would hardly change the figure.
MOST_CHIPS = 100


def validation_windows(
    sampler: ChipSampler, grid: Grid, window: int, tiles: Sequence[Window], seed: int
) -> list[Window]:
    """Windows side by side that hold labels to judge by, some of them where there are many.

    Args:
        sampler: Reads chips with those labels alone.
        grid: The scene's grid.
        window: Side of the windows in pixels.
        tiles: What holds such labels.
        seed: Draws among many.
    """
    everything = tile_windows(grid.shape, window)
    across = -(-grid.width // window)
    wanted = {
        row * across + col
        for tile in tiles
        for row in range(tile.row // window, (tile.row + tile.height - 1) // window + 1)
        for col in range(tile.col // window, (tile.col + tile.width - 1) // window + 1)
    }
    drawn = np.random.default_rng(seed).permutation(sorted(wanted))
    found: list[Window] = []
    for number in drawn.tolist():
        if (sampler.read(everything[number]).labels != IGNORE_INDEX).any():
            found.append(everything[number])
        if len(found) == MOST_CHIPS:
            break
    return sorted(found)


class Validator:
    """Predicts the same chips again and again.

    Args:
        network: What is trained; a copy of it takes the weights that are judged.
        sampler: Reads chips with the labels to judge by.
        windows: Where the chips are.
        classes: Classes of the network.
    """

    def __init__(
        self, network: nn.Module, sampler: ChipSampler, windows: Sequence[Window], classes: int
    ) -> None:
        self._network = copy.deepcopy(network).eval()
        self._sampler, self._windows, self._classes = sampler, windows, classes

    @torch.no_grad()
    def matrix(self, weights: Mapping[str, Tensor]) -> NDArray[np.int64]:
        """Pixels `(classes, classes)` by `[reference, predicted]`, with these weights."""
        self._network.load_state_dict(dict(weights))
        # The copy was made before the network came to its device.
        self._network.to(next(iter(weights.values())).device)
        counts = np.zeros(self._classes**2, np.int64)
        for window in self._windows:
            chip = self._sampler.read(window)
            labelled = chip.labels != IGNORE_INDEX
            cells = chip.labels[labelled] * self._classes + self._predicted(chip)[labelled]
            counts += np.bincount(cells, minlength=len(counts))
        return counts.reshape(self._classes, self._classes)

    def _predicted(self, chip: Chip) -> NDArray[np.int64]:
        device = next(chain(self._network.parameters(), self._network.buffers())).device
        hsi, x = (torch.from_numpy(a[np.newaxis]).to(device) for a in (chip.hsi, chip.x))
        logits = self._network(hsi, x if x.shape[1] else None)
        predicted: NDArray[np.int64] = logits[0].argmax(dim=0).cpu().numpy()
        return predicted
