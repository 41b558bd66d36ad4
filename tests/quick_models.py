"""Every model of `comix train`, small and trained for a moment."""

from __future__ import annotations

MODELS = ("comix", "unet", "fusion-fcn", "random-forest", "svm")


def quick(model: str, *, steps: int, batch_size: int) -> tuple[str, ...]:
    """The options of a model that trains within a second."""
    network = ("--steps", str(steps), "--batch-size", str(batch_size), "--window", "16")
    small = {
        "comix": ("--preset", "nano", *network),
        "unet": ("--width", "4", *network),
        "fusion-fcn": ("--width", "4", *network),
        "random-forest": ("--trees", "5"),
        "svm": (),
    }
    return ("--model", model, *small[model])
