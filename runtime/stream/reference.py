"""What a bundle said of its validation images, and how bright these are: drift is told by it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from leansight.runtime.decision import DecisionPolicy, Task, are_sure

# A range holds all but so much of the validation images, half of it on each side.
_OUTSIDE_PERCENT = 2.0


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Figures of the validation images; `groups` of them are independent (videos, or images).

    `not_sure` is the share of images of which the bundle was not sure; `given` the share of each
    label among the labels that it gave. `brightness` and `contrast` are the ranges of 98 % of the
    images before preprocessing, in levels of 0 to 255 (see `measure_exposure`); None where
    that is not known.
    """

    groups: int
    not_sure: float
    given: Mapping[str, float] = field(default_factory=dict)
    brightness: tuple[float, float] | None = None
    contrast: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        shares = (self.not_sure, *self.given.values())
        ends = (*(self.brightness or ()), *(self.contrast or ()))
        are_numbers = all(
            isinstance(number, int | float) and not isinstance(number, bool)
            for number in (*shares, *ends)
        )
        if type(self.groups) is not int or self.groups < 1 or not are_numbers:
            raise ValueError(f"a reference has groups and numbers, not {self}")
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"a reference has shares from 0 to 1, not {self}")
        for name in ("brightness", "contrast"):
            if (ends := getattr(self, name)) is not None:
                low, high = ends
                object.__setattr__(self, name, (float(low), float(high)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from the section `reference` of a bundle; ValueError if it is none."""
        try:
            return cls(**values)
        except (TypeError, AttributeError, OverflowError) as error:  # fields, or their kinds
            raise ValueError(error) from error

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def describe_answers(
    probabilities: NDArray[np.float64], labels: Sequence[str], policy: DecisionPolicy, task: Task
) -> dict[str, Any]:
    """Return `not_sure` and `given` of a `Reference`, of probabilities (N, K) of N images."""
    thresholds = policy.thresholds_of(labels)
    sure = are_sure(probabilities, task, thresholds)
    if task == "classification":
        counts = np.bincount(probabilities.argmax(axis=1)[sure], minlength=len(labels))
    else:
        counts = (probabilities >= thresholds).sum(axis=0)
    shares = counts / max(1, counts.sum())
    return {
        "not_sure": round(1 - float(sure.mean()), 6),
        "given": {o: round(float(s), 6) for o, s in zip(labels, shares, strict=True) if s},
    }


def range_of(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of 98 % of the values."""
    half = _OUTSIDE_PERCENT / 2
    low, high = np.percentile(values, [half, 100 - half])
    return round(float(low), 2), round(float(high), 2)
