"""The objectives of a search, and the Pareto front: the points that no other dominates."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Something to be had as much, or as little, of as can be.

    `field` is its name in what was measured; people read it times `scale`, in `unit`.
    """

    name: str
    field: str
    direction: Literal["maximize", "minimize"]
    what: str
    unit: str
    scale: float

    def cost(self, value: float) -> float:
        """Return what is less the better the value is."""
        return -value if self.direction == "maximize" else value

    def say(self, value: float) -> str:
        """Write a value with its unit: one decimal of a share, else three digits that count."""
        shown = value * self.scale
        digits = 1 if self.unit == "%" else max(0, 2 - math.floor(math.log10(max(shown, 1e-3))))
        return f"{shown:.{digits}f} {self.unit}"


OBJECTIVES: Final[Mapping[str, Objective]] = {
    objective.name: objective
    for objective in (
        Objective(
            name="accuracy",
            field="accuracy",
            direction="maximize",
            what="right, of held-out images",
            unit="%",
            scale=100,
        ),
        Objective(
            name="coverage",
            field="coverage",
            direction="maximize",
            what="kept, of held-out images",
            unit="%",
            scale=100,
        ),
        Objective(
            name="latency",
            field="latency_ms",
            direction="minimize",
            what="inference of one image, median",
            unit="ms",
            scale=1,
        ),
        Objective(
            name="size",
            field="size_bytes",
            direction="minimize",
            what="model file",
            unit="KB",
            scale=1e-3,
        ),
    )
}


def pareto_front(costs: Sequence[Sequence[float]]) -> list[int]:
    """Return the positions of those that no other beats: less in one cost, in none more.

    `costs` (N, M); of equals all are on the front, or none.
    """
    rows = np.asarray(costs, np.float64)
    front = []
    for position, row in enumerate(rows):
        beats = (rows <= row).all(axis=1) & (rows < row).any(axis=1)
        if not beats.any():
            front.append(position)
    return front
