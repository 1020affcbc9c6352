"""The search space: the points of a grid, each a bundle run with a number of threads."""

import itertools
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self, get_args

from leansight.runtime.bundle import Precision
from leansight.runtime.errors import DataError
from leansight.sdk.recipes.model import ModelRecipe
from leansight.sdk.recipes.schema import Recipe

WITH_WIDTH: Final = ("resnet-custom", "plain-cnn", "masks-cnn", "mixed-blocks")
_SHARES: Final = (0.0, 0.25, 0.5, 0.75)
_MOST_THREADS: Final = 4  # a Pi's cores


@dataclass(frozen=True, kw_only=True)
class Point:
    """One choice of everything.

    `width`: filters in the stem, None for networks that have no such setting; `size`: side of the
    input, in pixels; `share`: of the channels of every layer that is pruned (0: none);
    `threads`: of the interpreter.
    """

    width: int | None
    size: int
    share: float
    precision: Precision
    threads: int

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Build from what `params` returns."""
        return cls(**{"width": None} | dict(params))

    @property
    def params(self) -> dict[str, Any]:
        """Return the choices by name, as a trial keeps them."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def run_name(self) -> str:
        """Name the training that this needs: neither precision nor threads change it."""
        width = () if self.width is None else (f"width-{self.width}",)
        return "-".join((*width, f"size-{self.size}", f"share-{self.share:g}"))

    @property
    def bundle_name(self) -> str:
        """Name the bundle; only threads do not change it."""
        return f"{self.run_name}-{self.precision}"

    def describe(self, names: Collection[str]) -> str:
        """Say the choices that are named, as people read them."""
        said = {
            "width": f"width {self.width}",
            "size": f"{self.size} px",
            "share": f"{self.share:.0%} pruned" if self.share else "unpruned",
            "precision": self.precision,
            "threads": f"{self.threads} thread{'s' if self.threads > 1 else ''}",
        }
        return ", ".join(text for name, text in said.items() if name in names)


@dataclass(frozen=True, kw_only=True)
class BundleMeasurement:
    """What a bundle's first model (TFLite) is: shares from 0 to 1 of the validation images.

    `latency_ms` and `latency_p90_ms` are of inference on `machine`, `total_ms` (median) with
    preprocessing and decision; None where it was not timed. `bundle` is a folder in `bundles/`.
    """

    accuracy: float
    coverage: float
    size_bytes: int
    parameters: int
    macs: int
    bundle: str
    digest: str
    latency_ms: float | None = None
    latency_p90_ms: float | None = None
    total_ms: float | None = None
    machine: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Space:
    """The values to choose from; their order has no meaning. `widths` may be empty: no width."""

    widths: tuple[int, ...]
    sizes: tuple[int, ...]
    shares: tuple[float, ...]
    precisions: tuple[Precision, ...]
    threads: tuple[int, ...]

    def __post_init__(self) -> None:
        for name, values in asdict(self).items():
            if len(set(values)) < len(values) or not (values or name == "widths"):
                raise ValueError(f"{name} must be different values, at least one, not {values}")
        for name in ("widths", "sizes", "threads"):
            if any(value < 1 for value in getattr(self, name)):
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if any(not 0 <= share < 1 for share in self.shares):
            raise ValueError(f"shares must be from 0 to below 1, not {self.shares}")
        if unknown := set(self.precisions) - set(get_args(Precision)):
            allowed = ", ".join(get_args(Precision))
            raise ValueError(f"precisions must be of {allowed}, not {', '.join(sorted(unknown))}")

    @property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """Return the values by the name that they have in a point."""
        widths = {"width": self.widths} if self.widths else {}
        return widths | {
            "size": self.sizes,
            "share": self.shares,
            "precision": self.precisions,
            "threads": self.threads,
        }

    @property
    def varied(self) -> tuple[str, ...]:
        """Name what there is a choice of; all, where there is none of anything."""
        varied = tuple(name for name, values in self.choices.items() if len(values) > 1)
        return varied or tuple(self.choices)

    def points(self) -> list[Point]:
        """Return all combinations."""
        names = list(self.choices)
        return [
            Point.from_params(dict(zip(names, values, strict=True)))
            for values in itertools.product(*self.choices.values())
        ]

    def nearest(self, recipe: Recipe) -> Point:
        """Return what is nearest to a run itself: its width and size, unpruned."""
        width, size = recipe.model.stage_widths[0], _side(recipe)
        return min(
            self.points(),
            key=lambda p: (abs((p.width or width) - width), abs(p.size - size), p.share),
        )


def _side(recipe: Recipe) -> int:
    """Return the side of a run's images; DataError where they are no squares."""
    size = recipe.preprocessing.size
    if isinstance(size, int):
        return size
    raise DataError(
        f"the images of this run are {recipe.preprocessing.size_text}: the search tries squares, "
        "and needs a run that was trained with one, such as preprocessing.size=64"
    )


def width_setting(model: ModelRecipe, width: int) -> str:
    """Return the setting that gives the stem `width` filters, and later stages in proportion."""
    if not model.widths:
        return f"model.width={width}"
    return f"model.widths={[max(1, round(n * width / model.widths[0])) for n in model.widths]}"


def space_of(
    recipe: Recipe,
    *,
    widths: tuple[int, ...] | None,
    sizes: tuple[int, ...] | None,
    shares: tuple[float, ...] | None,
    precisions: tuple[Precision, ...] | None,
    threads: tuple[int, ...] | None,
    timed: bool,
) -> Space:
    """Return the space around a run's recipe; None stands for what is usual.

    That is its own width and half of it, its own size and three quarters of it (a multiple of
    eight), no pruning up to three quarters, every precision, and threads up to the cores of this
    machine or a Pi (one, if nothing is `timed`).

    Raises:
        DataError: a value is out of range, the network has no width, or no square images.

    """
    model, size = recipe.model, _side(recipe)
    has_width = model.name in WITH_WIDTH
    if widths and not has_width:
        raise DataError(f"{model.name} has no width: leave them out", parameter="widths")
    stem = model.stage_widths[0]
    usual_widths = (stem, max(1, stem // 2)) if has_width else ()
    smaller = max(8, 8 * round(0.75 * size / 8))
    cores = min(os.cpu_count() or 1, _MOST_THREADS) if timed else 1
    try:
        return Space(
            widths=widths or tuple(dict.fromkeys(usual_widths)),
            sizes=sizes or tuple(dict.fromkeys((size, smaller))),
            shares=shares or _SHARES,
            precisions=precisions or get_args(Precision),
            threads=threads or tuple(n for n in (1, 2, 4) if n <= cores),
        )
    except ValueError as error:
        raise DataError(str(error)) from error
