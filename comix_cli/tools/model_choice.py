"""Which model is trained: its spec, and what does not go with it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comix_cli.errors import UsageError
from comix_cli.learning.baselines import KINDS
from comix_models.build import SPECS
from comix_models.fusion_fcn import FusionFCNSpec
from comix_models.spec import PRESETS, CoMiXSpec, preset
from comix_models.spec_base import Spec
from comix_models.unet import MULTIPLE, UNetSpec

DEFAULT_WINDOW = 128
# A batch normalisation needs more than one pixel where a U-Net is smallest.
SMALLEST_UNET = 2 * MULTIPLE


@dataclass(frozen=True)
class ModelChoice:
    """Which model is asked for.

    Attributes:
        model: Its kind: `comix`, `unet`, `fusion-fcn`, `random-forest` or `svm`.
        preset: The size of CoMiX, by name.
        changes: Fields of a network's spec that differ from the preset, or from the defaults.
        window: Side in pixels of the windows that a scene is mapped in, and the most that training
            chips have; None for 128, less on a smaller scene.
    """

    model: str = CoMiXSpec.model
    preset: str = "small"
    changes: Mapping[str, Any] = field(default_factory=dict)
    window: int | None = None

    @property
    def at_once(self) -> bool:
        """Whether it is fitted at once to single pixels, and not step by step to chips."""
        return self.model in KINDS

    def check(self, x: Sequence[str]) -> None:
        """Refuse what cannot be, before anything is read.

        Args:
            x: The rasters of X.

        Raises:
            UsageError: There is no such model, or not with this window, X, or number of processes.
        """
        if self.model not in SPECS:
            raise UsageError(f"--model {self.model}: not known", remedy=f"use {', '.join(SPECS)}")
        if self.model == FusionFCNSpec.model and not x:
            raise UsageError(
                f"--model {self.model}: fuses the HSI with X, and no X is given",
                remedy="give a raster of X, or take another model",
            )
        if self.at_once and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UsageError(
                f"--model {self.model}: is fitted by one process, and not by several",
                remedy="start it without torchrun",
            )
        self._check_window()

    def _check_window(self) -> None:
        if self.window is None:
            return
        fixed = None
        if self.model == CoMiXSpec.model:
            fixed = self.changes.get("window", PRESETS.get(self.preset, {}).get("window"))
        if fixed not in (None, self.window):
            raise UsageError(
                f"--window {self.window}: this preset is fixed to windows of {fixed} pixels",
                remedy="leave --window out, or use another preset",
            )
        if self.model == UNetSpec.model and self.window < SMALLEST_UNET:
            raise UsageError(
                f"--window {self.window}: a U-Net needs windows of at least {SMALLEST_UNET} pixels"
            )

    def spec(self, hsi_bands: int, x_groups: tuple[int, ...], classes: int) -> Spec:
        """What the model takes, tells apart and, where that is known by now, is made of.

        Args:
            hsi_bands: Bands of the HSI.
            x_groups: Channels of each raster of X.
            classes: Classes to tell apart.

        Raises:
            UsageError: There is no such network.
        """
        data: dict[str, Any] = {
            "hsi_bands": hsi_bands,
            "x_channels": sum(x_groups),
            "classes": classes,
        }
        if self.at_once:
            return Spec(**data)
        try:
            if self.model == CoMiXSpec.model:
                return preset(self.preset, **data, **self.changes)
            if self.model == FusionFCNSpec.model:
                data["x_groups"] = x_groups
            return SPECS[self.model].from_json({**data, **self.changes})
        except ValueError as error:
            raise UsageError(f"this network cannot be built: {error}") from error

    def window_for(self, spec: Spec, shape: tuple[int, int]) -> int:
        """The windows of maps: what the network is fixed to, what is asked for, or what suits.

        Args:
            spec: The model.
            shape: Rows and columns of the scene.
        """
        if spec.window is not None:
            return spec.window
        if self.window is not None:
            return self.window
        return min(DEFAULT_WINDOW, -(-max(shape) // 16) * 16)


def chip_side(spec: Spec, wanted: int, window: int) -> int:
    """The side of training chips in pixels: what is wanted, as far as the network allows it.

    Args:
        spec: The network.
        wanted: The side that the recipe asks for.
        window: The side of the windows of maps, which chips do not exceed.
    """
    if spec.window is not None:
        return spec.window
    side = min(wanted, window)
    return max(side, SMALLEST_UNET) if spec.model == UNetSpec.model else side
