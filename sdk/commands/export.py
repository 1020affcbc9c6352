"""`leansight export`: from a run, or a network from elsewhere, to a bundle."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from leansight.exporters.options import EFFORTS, TARGETS, Effort, Promise, Target
from leansight.runtime.extras import check_installed
from leansight.runtime.system.collector import importing
from leansight.sdk.commands.exporting.origins import require_all, require_named, require_run
from leansight.sdk.commands.exporting.report_text import scores_text, table
from leansight.sdk.commands.interruption import stopped_in_one_line
from leansight.sdk.commands.options.export import (
    ImportOptions,
    calibration_images_option,
    import_options,
    temperature_country_option,
    temperature_option,
    threshold_option,
)
from leansight.sdk.commands.options.images import PATH, require_images
from leansight.sdk.commands.options.modules import EVALUATION_MODULES, EXPORT_MODULES
from leansight.sdk.system.files import require_new, require_writable
from leansight.sdk.system.text import echo

if TYPE_CHECKING:
    from leansight.runtime.bundle import Precision


@click.command()
@click.argument("model", metavar="RUN|MODEL", type=PATH)
@click.option("--out", type=PATH, required=True, help="Where to write the bundle.")
@click.option(
    "--report",
    type=PATH,
    metavar="FOLDER",
    help="Folder for a report that compares the files with the network, image by image, also "
    "where the export is refused.",
)
@click.option(
    "--precision",
    type=click.Choice(["int8", "float32"]),
    default="int8",
    show_default=True,
    help="Number format of the exported files.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Largest loss of each format against the network, in percentage points of accuracy and "
    "of coverage.",
)
@click.option(
    "--max-class-drop",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Largest loss of accuracy of a single class, in percentage points, where its images show "
    "that it is worse.",
)
@click.option(
    "--significance",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=0.05,
    show_default=True,
    help="Level of the test that shows it (exact, one-sided, corrected for the number of "
    "classes); with 1 every class is held to the loss as it is measured.",
)
@click.option(
    "--effort",
    type=click.Choice(EFFORTS),
    default=EFFORTS[-1],
    show_default=True,
    help="The most that is tried to keep int8 within these limits; each method is tried after "
    "the ones before it.",
)
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    default="x86",
    show_default=True,
    help="Processor for which the ONNX file is optimised; both files run everywhere.",
)
@click.option(
    "--all-int8",
    is_flag=True,
    help="Refuse a network of which any layer would stay in float.",
)
@click.option(
    "--data",
    type=PATH,
    help="Folder of the labelled images; needed for a run only if they have moved.",
)
@click.option(
    "--accept-untrained",
    is_flag=True,
    help="Export a network whatever its accuracy, also one that has learnt nothing.",
)
@click.option(
    "--golden",
    type=PATH,
    metavar="FOLDER",
    help="Take the photos that travel with the bundle, for `leansight check`, from here.  "
    "[default: eight validation images]",
)
@click.option(
    "--card",
    type=PATH,
    metavar="FILE",
    help="Add this Markdown to the model card, such as the names and terms of the data sets.",
)
@calibration_images_option
@threshold_option
@temperature_option
@temperature_country_option
@import_options
def command(
    *,
    model: Path,
    out: Path,
    report: Path | None,
    precision: "Precision",
    max_drop: float,
    max_class_drop: float,
    significance: float,
    effort: Effort,
    target: Target,
    all_int8: bool,
    data: Path | None,
    accept_untrained: bool,
    golden: Path | None,
    card: Path | None,
    calibration_images: int,
    threshold: float | None,
    temperature: "float | Literal['fit'] | None",
    temperature_country: str | None,
    imported: ImportOptions,
) -> None:
    """Export a run, or MODEL, as a bundle with a TFLite and an ONNX file.

    Both files hold the same network: the same integers, the same scales. If int8 lost more than
    --max-drop on the validation images, or more than --max-class-drop of a class and that is no
    chance, it is improved step by step: better ranges, quantization-aware training, the most
    sensitive layers in float. If that does not help, or if the formats decide differently on more
    than 0.5 % of the images, nothing is written and the
    exit code is 1. So it is, before any of this, for a network that is no better than guessing or
    says one class of nearly all validation images (--accept-untrained).

    The temperature of the scores is fitted on the validation images (cross-entropy), and what
    thresholds keep of them is said. It stays as the recipe has it (1) where they cannot tell it.

    MODEL is a float network that was trained elsewhere: an ONNX file, a program of torch.export
    (.pt2), a Keras model (.keras, .h5), a SavedModel folder or a .tflite file. It needs --data,
    --labels, --colour, --mean and --std. What is TensorFlow's needs a Python environment with
    TensorFlow (--keras-python). Or it is a name of timm or torchvision, such as timm:resnet18,
    with its state dict (--weights): the library knows size, colour, mean and std.
    If MODEL is right on less than 95 % of the validation images, it is tried with the labels in
    other orders, with red and blue swapped, and with the usual means and deviations; if one of
    these is clearly better, the export is refused and says which.

    \b
    leansight export run/ --out signs.bundle
    leansight export run/ --out signs-float.bundle --precision float32
    leansight export model.onnx --data photos/ --labels labels.txt --colour rgb \\
        --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375 --out x.bundle
    leansight export model.keras --data photos/ --labels labels.txt --colour rgb \\
        --mean 127.5 --std 127.5 --keras-python keras/bin/python --out y.bundle
    leansight export timm:mobilenetv4_conv_small --weights best.pth --data photos/ \\
        --labels labels.txt --out z.bundle
    \b
    The network takes pixels from 0 to 1: --mean 0 --std 255. It scales them itself:
    --mean 0 --std 1. torchvision, timm and Keras' mode "torch": as for model.onnx. Keras' mode
    "tf": as for model.keras; "caffe": --colour bgr --mean 103.939,116.779,123.68 --std 1.
    """
    check_installed(*EXPORT_MODULES, extra="export")
    if report is not None:
        check_installed(*EVALUATION_MODULES, extra="evaluate")
    require_new(out)
    if report is not None:
        require_writable(report, "report")
    require_images(data)
    with importing():
        from leansight.exporters.verification.report import CONFIDENCE
        from leansight.sdk.deployment.export_imported import export_imported
        from leansight.sdk.deployment.export_run import export_run
        from leansight.sdk.deployment.imported_network import is_foreign
        from leansight.sdk.deployment.options import DeploymentOptions
        from leansight.sdk.models.named import parse_name

    options = DeploymentOptions(
        precision=precision,
        promise=Promise(
            max_drop=max_drop, max_class_drop=max_class_drop, significance=significance
        ),
        effort=effort,
        target=target,
        all_int8=all_int8,
        accept_untrained=accept_untrained,
        calibration_images=calibration_images,
        threshold=threshold,
        temperature=temperature,
        temperature_country=temperature_country,
        golden=golden,
        card=card,
    )
    if (name := parse_name(str(model))) is not None:
        origin, images = require_named(name, imported, data)
        export = partial(export_imported, model, origin, images, options)
    elif is_foreign(model):
        origin, images = require_all(model, imported, data)
        export = partial(export_imported, model, origin, images, options)
    else:
        require_run(model, imported)
        export = partial(export_run, model, options, data=data)
    with stopped_in_one_line(lambda: f"{out if out.exists() else 'nothing'} was written"):
        reports = export(out=out, report=report)
    for what, found in reports.items():
        echo(table(what, found))
    echo("coverage: share of images it is sure of; largest difference: of a probability")
    echo(f"points lost: against torch, with the interval at {CONFIDENCE:.0%}")
    echo(click.wrap_text(reports["validation"].tested, 80))
    if (scores := reports["validation"].scores) is not None:
        echo(scores_text(scores))
    if report is not None:
        echo(f"report: {report / 'parity.html'}")
    echo(f"bundle: {out}")
