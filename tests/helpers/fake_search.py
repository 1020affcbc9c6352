"""Stands in for training, exporting and measuring: what comes out follows from the point."""

import random
from collections.abc import Callable
from pathlib import Path

from leansight.sdk.search.optimizer import Optimizer, Search
from leansight.sdk.search.space import BundleMeasurement, Point, Space

OBJECTIVES = ("accuracy", "latency", "size")
SPACE = Space(
    widths=(8, 16), sizes=(32, 48), shares=(0.0, 0.5), precisions=("int8", "float32"), threads=(1,)
)
OWN = Point(width=16, size=48, share=0.0, precision="int8", threads=1)


def measure(point: Point) -> BundleMeasurement:
    """Return figures as they might be: what costs more is a little better, but for luck."""
    cost = (point.width or 1) ** 2 * point.size**2 * (1 - point.share) ** 2 / 1e6
    luck = random.Random(str(point)).random()  # noqa: S311 -- not a secret
    return BundleMeasurement(
        accuracy=1 - 0.1 / (1 + 10 * cost) - 0.02 * luck,
        coverage=0.9 - 0.1 * luck,
        size_bytes=int(1e5 * cost * (4 if point.precision == "float32" else 1)) + 5000,
        parameters=1,
        macs=1,
        bundle=point.bundle_name,
        digest="0",
        latency_ms=0.1 + cost / point.threads,
    )


def optimizer(
    folder: Path,
    evaluate: Callable[[Point], BundleMeasurement] = measure,
    space: Space = SPACE,
    *,
    objectives: tuple[str, ...] = OBJECTIVES,
    seed: int = 0,
    storage: str | None = None,
    report_line: Callable[[str], None] = lambda _: None,
) -> Optimizer:
    return Optimizer(
        search=Search(space=space, objectives=objectives, first=OWN, seed=seed, made_of={}),
        name="fake",
        folder=folder,
        evaluate=evaluate,
        command=lambda point, trial: f"again {point.bundle_name} {trial}",
        storage=storage,
        report_line=report_line,
    )
