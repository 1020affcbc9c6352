"""The options of `leansight optimize` that say what there is to choose from, and what is made."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import click

from leansight.exporters.options import EFFORTS, Effort, Promise
from leansight.sdk.commands.options.export import (
    calibration_images_option,
    temperature_option,
    threshold_option,
)
from leansight.sdk.commands.options.grouping import Several, options_of
from leansight.sdk.commands.options.training import set_option
from leansight.sdk.deployment.options import DeploymentOptions

if TYPE_CHECKING:
    from leansight.runtime.bundle import Precision


@dataclass(frozen=True, kw_only=True)
class SearchChoices:
    """What the options say there is to choose from, None for what is usual (see `space_of`)."""

    widths: tuple[int, ...] | None
    sizes: tuple[int, ...] | None
    shares: tuple[float, ...] | None
    precisions: "tuple[Precision, ...] | None"
    threads: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True)
class BundleOptions:
    """What the options say of every bundle: see `Workshop`; `epochs` of each training."""

    epochs: int | None
    overrides: tuple[str, ...]
    max_drop: float
    max_class_drop: float
    effort: Effort
    threshold: float | None
    temperature: float | Literal["fit"] | None
    calibration_images: int

    @property
    def settings(self) -> tuple[str, ...]:
        """KEY=VALUE of every training's recipe."""
        return (*self.overrides, *((f"training.epochs={self.epochs}",) if self.epochs else ()))

    @property
    def export(self) -> DeploymentOptions:
        """How every bundle is exported; the precision is each point's own."""
        return DeploymentOptions(
            promise=Promise(max_drop=self.max_drop, max_class_drop=self.max_class_drop),
            effort=self.effort,
            calibration_images=self.calibration_images,
            threshold=self.threshold,
            temperature=self.temperature,
        )


choice_options = options_of(
    SearchChoices,
    "choices",
    (
        click.option(
            "--widths",
            type=Several(int, "8,16"),
            help="Numbers of filters in the stem to try; later stages in proportion.  "
            "[default: RUN's, half of it]",
        ),
        click.option(
            "--sizes",
            type=Several(int, "48,64"),
            help="Input sizes to try, in pixels (preprocessing.size).  "
            "[default: RUN's, three quarters of it]",
        ),
        click.option(
            "--shares",
            type=Several(float, "0,0.5"),
            help="Shares of the channels of every layer to prune.  [default: 0,0.25,0.5,0.75]",
        ),
        click.option(
            "--precisions",
            type=Several(str, "int8,float32"),
            metavar="int8,float32",
            help="Precisions of the exported files to try.  [default: all]",
        ),
        click.option(
            "--threads",
            type=Several(int, "1,4"),
            help="Numbers of threads of the interpreter to try.  "
            "[default: 1, 2, 4, as the machine has cores]",
        ),
    ),
)
bundle_options = options_of(
    BundleOptions,
    "bundles",
    (
        click.option(
            "--epochs",
            type=click.IntRange(min=1),
            help="Epochs of each training.  [default: RUN's; 0.4 of them after pruning]",
        ),
        set_option,
        click.option(
            "--max-drop",
            type=click.FloatRange(min=0),
            default=1.0,
            show_default=True,
            help="Largest loss of each file against its network, in percentage points of accuracy "
            "and of coverage.",
        ),
        click.option(
            "--max-class-drop",
            type=click.FloatRange(min=0),
            default=5.0,
            show_default=True,
            help="Largest loss of accuracy of a single class, in percentage points, where its "
            "images show that it is worse.",
        ),
        click.option(
            "--effort",
            type=click.Choice(EFFORTS),
            default="ranges",
            show_default=True,
            help="The most that is tried to keep int8 within these limits (see `leansight "
            "export`). The last two take minutes, and only where they are needed.",
        ),
        threshold_option,
        temperature_option,
        calibration_images_option,
    ),
)
