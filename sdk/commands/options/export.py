"""Options of every command that exports, and those that describe a network from elsewhere."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import click

from leansight.runtime.preprocessing import Fit, Interpolation, Preprocessing
from leansight.sdk.commands.options.grouping import options_of
from leansight.sdk.commands.options.images import PATH, videos_option


def _numbers(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    """Return numbers parted by commas, such as 123.7,116.3,103.5."""
    if value is None:
        return None
    try:
        return tuple(float(number) for number in value.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is not a number, or numbers parted by commas", ctx, param
        ) from error


class _Temperature(click.ParamType["float | Literal['fit']"]):
    """The word fit, or a number above 0."""

    name = "fit|NUMBER"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | Literal["fit"]:
        """Return the word or the number."""
        if value == "fit":
            return "fit"
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            self.fail(f"{value!r} is neither fit nor a number above 0", param, ctx)
        return number


class _Size(click.ParamType["int | tuple[int, int]"]):
    """The side of a square, or height x width."""

    name = "HxW"

    def convert(
        self,
        value: "str | int | tuple[int, int]",
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> "int | tuple[int, int]":
        """Return the side, or both."""
        if not isinstance(value, str):
            return value
        match [int(side) if side.isdecimal() else 0 for side in value.lower().split("x")]:
            case [side]:
                size: int | tuple[int, int] = side
            case [height, width]:
                size = height, width
            case _:
                size = 0
        try:
            return Preprocessing(size=size).size
        except ValueError as error:
            reason = str(error).replace("preprocessing.size", "a size")
            self.fail(f"{value!r} is no size such as 96x128 (height x width): {reason}", param, ctx)


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What the options say of a network from elsewhere, None where they say nothing."""

    labels: Path | None
    weights: Path | None
    colour: Literal["rgb", "bgr", "gray"] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    size: int | tuple[int, int] | None
    output: str | None
    fit: Fit | None
    interpolation: Interpolation | None
    overrides: tuple[str, ...]
    videos: str | None
    keras_python: Path | None

    @property
    def options(self) -> list[str]:
        """The options that were given, as they are typed."""
        names = [name for name, value in vars(self).items() if value not in (None, ())]
        return [f"--{_TYPED.get(name, name)}" for name in names]


threshold_option = click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Least probability at which a label is given.  [default: the recipe's, or 0]",
)
temperature_option = click.option(
    "--temperature",
    type=_Temperature(),
    help="Temperature of the scores: a number, or fit, for the one that makes them true of the "
    "validation images.  [default: fit, but 1 where the network may have learnt these images]",
)
temperature_country_option = click.option(
    "--temperature-country",
    metavar="COUNTRY",
    help="Fit the temperature on the validation images of this country alone: where drawn signs or "
    "another camera's were learnt as well, on those that are like the ones to come.",
)
calibration_images_option = click.option(
    "--calibration-images",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Images that set the ranges of the int8 network.",
)
_TYPED = {"overrides": "set", "keras_python": "keras-python"}
_IMPORT_OPTIONS = (
    click.option(
        "--labels",
        type=PATH,
        help="File of MODEL's labels, one a line, in the order of its outputs.",
    ),
    click.option(
        "--weights",
        type=PATH,
        help="State dict of a network that MODEL names: .pth, .pt, .ckpt or .safetensors.  "
        "[default: timm's or torchvision's own, downloaded]",
    ),
    click.option(
        "--colour",
        type=click.Choice(["rgb", "bgr", "gray"]),
        help="Order of the channels that MODEL takes; Keras's older networks take bgr.",
    ),
    click.option(
        "--mean",
        callback=_numbers,
        metavar="NUMBERS",
        help="MODEL takes (pixel - mean) / std, of pixels from 0 to 255.",
    ),
    click.option(
        "--std",
        callback=_numbers,
        metavar="NUMBERS",
        help="Like --mean one number, or one for each channel: 58.395,57.12,57.375.",
    ),
    click.option(
        "--size",
        type=_Size(),
        help="Size of the images in pixels, where MODEL takes any: 96x128 (height x width), or 96 "
        "for a square.",
    ),
    click.option(
        "--output",
        metavar="NAME",
        help="Output of MODEL that gives a number for each class, where an ONNX file has several.",
    ),
    click.option(
        "--fit",
        type=click.Choice(get_args(Fit)),
        help="How images are fitted into MODEL's input.  [default: stretch]",
    ),
    click.option(
        "--interpolation",
        type=click.Choice(get_args(Interpolation)),
        help="How images are resized.  [default: area]",
    ),
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change how MODEL's images are read and split, such as split.by=image.",
    ),
    videos_option,
    click.option(
        "--keras-python",
        type=PATH,
        metavar="PYTHON",
        help="The Python that has TensorFlow and tf2onnx, to read Keras models and .tflite files.",
    ),
)
import_options = options_of(ImportOptions, "imported", _IMPORT_OPTIONS)
