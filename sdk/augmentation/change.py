"""What every random change of an image shares: its probability, its random numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np

if TYPE_CHECKING:  # listing recipes must not cost two seconds of importing torch
    from torch import Tensor
from numpy.typing import NDArray

Fill = Literal["edge", "black"]
Distribution = Literal["uniform", "normal"]
LEVELS: Final = 255


@dataclass(frozen=True, kw_only=True)
class Change:
    """What every change has: `probability` (0 to 1) of being made."""

    kind: ClassVar[str]
    probability: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float) and (value < 0 or not math.isfinite(value)):
                raise ValueError(f"augmentation {self.kind}: {name} must be 0 or more, not {value}")
        if self.probability > 1:
            raise ValueError(
                f"augmentation {self.kind}: probability must be from 0 to 1, not {self.probability}"
            )

    def __call__(self, image: "Tensor") -> "Tensor":
        """Return a changed copy, (3, H, W) uint8."""
        raise NotImplementedError

    def _at_most(self, name: str, limit: float) -> None:
        if getattr(self, name) > limit:
            value = getattr(self, name)
            raise ValueError(
                f"augmentation {self.kind}: {name} must be at most {limit:g}, not {value}"
            )


def to_pixels(image: "Tensor") -> NDArray[np.uint8]:
    """Return (H, W, 3) for OpenCV."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def from_pixels(pixels: NDArray[np.uint8]) -> "Tensor":
    """Return (3, H, W), what OpenCV gives as (H, W, 3)."""
    import torch

    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def to_levels(values: "Tensor") -> "Tensor":
    """Round to whole levels, cut off at black and white."""
    import torch

    return values.round().clamp(0, LEVELS).to(torch.uint8)


def between(low: float, high: float) -> float:
    """Draw from torch's generator, evenly between two numbers."""
    import torch

    return float(torch.empty(()).uniform_(low, high)) if high > low else low


def uniform(limit: float) -> float:
    """Draw evenly between -limit and limit."""
    return between(-limit, limit)


def normal(deviation: float) -> float:
    """Draw from a normal distribution about 0."""
    import torch

    return float(torch.randn(())) * deviation


def require_one_of(change: Change, name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise ValueError if a field of a change has another value than those allowed."""
    if value not in allowed:
        raise ValueError(
            f"augmentation {change.kind}: {name} must be one of {', '.join(allowed)}, not {value!r}"
        )
