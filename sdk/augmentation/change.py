"""What every random change of an image shares: its probability, its checked amounts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from numpy.random import Generator

from leansight.sdk.augmentation.lazy_image import LazyImage


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

    def __call__(self, image: LazyImage, rng: Generator) -> None:
        """Change the image by amounts that `rng` draws."""
        raise NotImplementedError

    def _at_most(self, name: str, limit: float) -> None:
        if getattr(self, name) > limit:
            value = getattr(self, name)
            raise ValueError(
                f"augmentation {self.kind}: {name} must be at most {limit:g}, not {value}"
            )


def require_one_of(change: Change, name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise ValueError if a field of a change has another value than those allowed."""
    if value not in allowed:
        raise ValueError(
            f"augmentation {change.kind}: {name} must be one of {', '.join(allowed)}, not {value!r}"
        )
