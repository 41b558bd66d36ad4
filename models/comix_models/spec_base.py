"""What the specs of all models have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Spec:
    """What a model takes and tells apart; every kind of model adds what it is made of.

    As it stands it speaks for a model that is yet to be fitted.

    Attributes:
        hsi_bands: Bands of the hyperspectral image (HSI).
        x_channels: Channels of the other sensors (X), 0 for the HSI alone.
        classes: Classes told apart; the model has one logit for each.

    Raises:
        ValueError: A value is out of range; the message begins with the name of its field.
    """

    # What the kind is called on the command line and in files.
    model: ClassVar[str] = "none"
    # True where a pixel's logits depend on that pixel alone.
    pixelwise: ClassVar[bool] = False

    hsi_bands: int
    x_channels: int
    classes: int

    def __post_init__(self) -> None:
        check_count(self, "hsi_bands", 1)
        check_count(self, "x_channels", 0)
        check_count(self, "classes", 2)

    @property
    def window(self) -> int | None:
        """Side in pixels of the only window that the model takes; None takes any."""
        return None

    @property
    def features(self) -> int:
        """Numbers of a pixel, HSI and X together."""
        return self.hsi_bands + self.x_channels

    def size(self, parameters: int) -> str:
        """How large the model is, in a few words; `parameters` are those that its network has."""
        return f"{parameters / 1e6:.2f} M parameters"

    def to_json(self) -> dict[str, Any]:
        """The spec as a plain dict of numbers, strings and lists, for a JSON header."""
        values = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }
        return {"model": self.model, **values}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The spec that ``to_json`` wrote; what kind of model it says may be left out.

        Raises:
            ValueError: A field is unknown, missing or out of range; the message names it.
        """
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in record.items()
        }
        if (kind := values.pop("model", cls.model)) != cls.model:
            raise ValueError(f"model: {kind!r} is not {cls.model!r}")
        if unknown := sorted(set(values) - {field.name for field in fields(cls)}):
            raise ValueError(f"{unknown[0]}: no such field in a {cls.model} spec")
        required = [field.name for field in fields(cls) if field.default is MISSING]
        if missing := [name for name in required if name not in values]:
            raise ValueError(f"incomplete {cls.model} spec: {', '.join(missing)} missing")
        return cls(**values)


def is_count(value: object, least: int) -> bool:
    """Whether a value is a whole number, and large enough."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_count(spec: Spec, name: str, least: int) -> None:
    """Refuse a field that is not a whole number of at least ``least``.

    Raises:
        ValueError: It is not.
    """
    value = getattr(spec, name)
    if not is_count(value, least):
        raise ValueError(f"{name}: {value!r} is not a whole number of at least {least}")


def check_counts(spec: Spec, name: str, least: int) -> None:
    """Refuse a field that is not a tuple of whole numbers of at least ``least``.

    Raises:
        ValueError: It is not.
    """
    values = getattr(spec, name)
    if not isinstance(values, tuple) or not all(is_count(value, least) for value in values):
        raise ValueError(f"{name}: {values!r} holds something else than numbers from {least} on")
