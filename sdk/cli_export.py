"""`leansight export`: from a run, or a network from elsewhere, to a bundle."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from leansight.exporters.verification import Effort, ExportReport, Promise, Target
from leansight.runtime.errors import DataError
from leansight.runtime.extras import check_installed
from leansight.runtime.preprocessing import Fit, Interpolation

if TYPE_CHECKING:
    from leansight.runtime.bundle import Precision


PACKAGES = ("torch", "litert_torch", "onnx", "onnxscript", "onnxruntime", "rich")
_PATH = click.Path(path_type=Path)
# What no network from elsewhere says of itself, and nobody can guess.
_NEEDED = ("data", "labels", "colour", "mean", "std")
_TORCH_FILES = frozenset({".pt", ".pth", ".ckpt", ".safetensors"})


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


@click.command()
@click.argument("model", metavar="RUN|MODEL", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="Where to write the bundle.")
@click.option(
    "--precision", type=click.Choice(["int8", "float32"]), default="int8", show_default=True
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Points that each format may lose of accuracy and of coverage against the network.",
)
@click.option(
    "--max-class-drop",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="The same, of the accuracy of a single class; one image of it may always be lost.",
)
@click.option(
    "--effort",
    type=click.Choice(get_args(Effort)),
    default="float layers",
    show_default=True,
    help="The most that is tried to keep that promise in int8, in this order.",
)
@click.option(
    "--target",
    type=click.Choice(get_args(Target)),
    default="x86",
    show_default=True,
    help="Where ONNX Runtime is to run it fastest; both files run everywhere.",
)
@click.option("--data", type=_PATH, help="Labelled images; of a run: where they are now.")
@click.option("--calibration-images", type=click.IntRange(min=1), default=500, show_default=True)
@click.option(
    "--threshold", type=click.FloatRange(0, 1), help="Instead of the recipe's (a MODEL's: 0)."
)
@click.option("--labels", type=_PATH, help="MODEL's labels, one a line, in its order.")
@click.option(
    "--colour",
    type=click.Choice(["rgb", "bgr", "gray"]),
    help="The channels that MODEL wants; bgr is of Keras's older networks.",
)
@click.option(
    "--mean",
    callback=_numbers,
    metavar="NUMBERS",
    help="MODEL wants (pixel - mean) / std, of pixels from 0 to 255.",
)
@click.option(
    "--std",
    callback=_numbers,
    metavar="NUMBERS",
    help="As --mean one number, or one for each channel: 58.395,57.12,57.375.",
)
@click.option("--size", type=click.IntRange(min=1), help="Pixels, where MODEL takes any size.")
@click.option("--fit", type=click.Choice(get_args(Fit)), help="Of MODEL's images.  [stretch]")
@click.option(
    "--interpolation", type=click.Choice(get_args(Interpolation)), help="Of MODEL's.  [area]"
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="How MODEL's images are read and split, such as split.by=image.",
)
@click.option(
    "--keras-python", type=_PATH, metavar="PYTHON", help="The one that has TensorFlow and tf2onnx."
)
def command(
    *,
    model: Path,
    out: Path,
    precision: "Precision",
    max_drop: float,
    max_class_drop: float,
    effort: Effort,
    target: Target,
    data: Path | None,
    calibration_images: int,
    threshold: float | None,
    labels: Path | None,
    colour: Literal["rgb", "bgr", "gray"] | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    size: int | None,
    fit: Fit | None,
    interpolation: Interpolation | None,
    overrides: tuple[str, ...],
    keras_python: Path | None,
) -> None:
    """Export a run, or MODEL, as a bundle with a TFLite and an ONNX file.

    Both files hold the same network: same integers, same scales. Writes nothing and exits
    with 1 if int8 lost more than --max-drop on the validation images, or if the formats decide
    differently on more than 0.5 % of them. Before that, more and more is tried: better ranges,
    training under rounding, the most sensitive layers in float.

    MODEL is a float network that was trained elsewhere: an ONNX file, a Keras model (.keras,
    .h5) or a SavedModel folder. What it does not say of itself must be given: --data, --labels,
    --colour, --mean and --std. TensorFlow has to be in an environment of its own.

    \b
    leansight export run/ --out signs.bundle
    leansight export run/ --out signs-float.bundle --precision float32
    leansight export model.onnx --data photos/ --labels labels.txt --colour rgb \\
        --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375 --out x.bundle
    leansight export model.keras --data photos/ --labels labels.txt --colour rgb \\
        --mean 127.5 --std 127.5 --keras-python keras/bin/python --out y.bundle
    \b
    Pixels from 0 to 1: --mean 0 --std 255. As they are, because the network scales them
    itself: --mean 0 --std 1. torchvision, timm and Keras' mode "torch": as for model.onnx.
    Keras' mode "tf": as for model.keras; "caffe": --colour bgr --mean 103.939,116.779,123.68
    --std 1.
    """
    check_installed(*PACKAGES, extra="export")
    from leansight.sdk.exporting import export_run
    from leansight.sdk.foreign import Origin, export_foreign, is_foreign

    of_model: dict[str, object] = {
        "labels": labels,
        "colour": colour,
        "mean": mean,
        "std": std,
        "size": size,
        "fit": fit,
        "interpolation": interpolation,
        "set": overrides or None,
        "keras-python": keras_python,
    }
    promise = Promise(max_drop=max_drop, max_class_drop=max_class_drop)
    foreign = is_foreign(model)
    _check_options(model, {"data": data, **of_model}, foreign=foreign)
    if foreign:
        assert data is not None  # by _check_options, as what follows
        assert labels is not None
        assert colour is not None
        assert mean is not None
        assert std is not None
        reports = export_foreign(
            model,
            Origin(
                labels=labels,
                colour=colour,
                mean=mean,
                std=std,
                size=size,
                fit=fit or "stretch",
                interpolation=interpolation or "area",
                overrides=overrides,
                python=keras_python or Path(sys.executable),
            ),
            data,
            out=out,
            precision=precision,
            promise=promise,
            calibration_images=calibration_images,
            threshold=threshold,
            effort=effort,
            target=target,
        )
    else:
        reports = export_run(
            model,
            out=out,
            precision=precision,
            promise=promise,
            data=data,
            calibration_images=calibration_images,
            threshold=threshold,
            effort=effort,
            target=target,
        )
    for what, report in reports.items():
        click.echo(_table(what, report))
    click.echo(f"bundle: {out}")


def _check_options(model: Path, options: Mapping[str, object], *, foreign: bool) -> None:
    """Raise DataError where options are missing, or are of a model where there is a run."""
    given = [name for name, value in options.items() if value is not None]
    if foreign:
        if missing := [f"--{name}" for name in _NEEDED if name not in given]:
            raise DataError(f"{model} does not say of itself {', '.join(missing)}: give them")
        return
    if model.is_file():
        hint = (
            "of torch weights the network is missing: hand it to leansight.exporters.export"
            if model.suffix.lower() in _TORCH_FILES
            else "those are .onnx, .keras, .h5 and SavedModel folders"
        )
        raise DataError(f"{model} is no network that can be read: {hint}")
    if strange := [f"--{name}" for name in given if name != "data"]:
        raise DataError(f"{', '.join(strange)}: of a run that is known already. Leave it out")


def _table(what: str, report: ExportReport) -> str:
    lines = [
        *(f"{effort}: {refusal}" for effort, refusal in report.refusals.items()),
        f"{report.images} {what} images" + f", int8 by {report.effort}" * bool(report.refusals),
        f"  {'':16} {'accuracy':>9} {'coverage':>9} {'as torch':>9} {'largest difference':>19}",
    ]
    lines += [
        f"  {f.name:16} {f.accuracy:9.2%} {f.coverage:9.2%} {f.agreement:9.2%} "
        f"{f.largest_difference:19.4f}"
        for f in report.formats
    ]
    formats = " and ".join(report.shipped)
    lines.append(f"  {formats} decide alike on {report.agreement:.2%}")
    return "\n".join(lines)
