"""`leansight bench`: size, MACs, memory and latency of models, side by side."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leansight.benchmarks.picture import synthetic_image
from leansight.runtime.errors import BundleError
from leansight.runtime.extras import check_installed, require
from leansight.runtime.images import read_image
from leansight.runtime.interpreter import FORMATS, Format
from leansight.runtime.preprocessing import Image
from leansight.sdk.commands.options.images import choose_samples, require_images
from leansight.sdk.commands.options.modules import EVALUATION_MODULES
from leansight.sdk.commands.options.percent import Percent
from leansight.sdk.commands.options.remote import on_option, remote_python_option
from leansight.sdk.system.files import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leansight.sdk.data.samples import Sample


@click.command(epilog="Example: leansight bench float.bundle int8.bundle --on pi@raspberrypi.local")
@click.argument("models", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Timed frames of each model, at least.",
)
@click.option(
    "--precision",
    type=Percent(),
    default="2%",
    show_default=True,
    help="Add frames until undisturbed times and ratios are known to this, either way.",
)
@click.option(
    "--most-seconds",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="Add no more frames after so many seconds.",
)
@click.option(
    "--hang-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60,
    show_default=True,
    help="Give a model up that is silent for so long.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processor threads of the interpreter.",
)
@click.option(
    "--format",
    "model_format",
    type=click.Choice(FORMATS),
    help="Measure only this format where a bundle has both.",
)
@click.option(
    "--image",
    type=click.Path(path_type=Path),
    help="The picture to classify.  [default: shades and noise, 640 x 480 pixels]",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Labelled images: time on them, and tell how often each file is right.",
)
@on_option
@remote_python_option
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write all that was measured to this JSON file."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print a JSON list with an object for each model.",
)
def command(
    *,
    models: tuple[Path, ...],
    runs: int,
    precision: float,
    most_seconds: float,
    hang_seconds: float,
    threads: int,
    model_format: Format | None,
    image: Path | None,
    data: Path | None,
    on: str | None,
    remote_python: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure MODELS: bundles (each format they hold), or bare .tflite and .onnx files.

    Each model runs in processes of its own, on the same cores, and they take turns in blocks of
    ten frames. One is called faster than another only if the interval of their paired ratio says
    so. Parameters and MACs are counted on the exported graph; RAM is the peak above a process
    that only imports numpy. A model that crashes, hangs or gives no numbers is a row that says
    so. Nothing is left behind on the machine of --on.

    With --data, the files that are timed are judged as well, on this machine: accuracy, balanced
    accuracy, and what the bundle's threshold keeps, with intervals over videos. The classes of a
    bare file are those of the images, in alphabetical order.
    """
    progress = require("rich.progress", package="rich", extra="bench")
    from rich.console import Console

    from leansight.benchmarks.measure import Settings, benchmark
    from leansight.benchmarks.models import find_models
    from leansight.benchmarks.remote import machine_at
    from leansight.benchmarks.results.table import tables
    from leansight.sdk.system.console import console

    _refuse_runs(models)
    settings = Settings(
        frames=runs,
        precision=precision,
        most_s=most_seconds,
        threads=threads,
        hang_s=hang_seconds,
    )
    found = find_models(models, model_format)
    samples = _labelled(data)
    pictures, frames = _pictures(image, data, samples)
    bar = progress.Progress(
        console=console(),
        transient=True,
        disable=not console().is_terminal,
        auto_refresh=False,  # no thread that draws while a model is timed
    )
    with machine_at(on, remote_python) as machine, bar:
        task = bar.add_task("Measuring")
        measured = benchmark(
            found,
            pictures,
            settings,
            frames=frames,
            on=machine,
            advanced=lambda done, planned: bar.update(
                task, completed=done, total=planned, refresh=True
            ),
        )
    if data is not None:
        from leansight.sdk.evaluation.timed_files import with_accuracy

        measured = with_accuracy(
            measured, found, data, samples, threads=threads, hang_s=hang_seconds
        )
    if out is not None:
        write_json(out, measured.to_dict())
    if as_json:
        click.echo(json.dumps([result.to_dict() for result in measured.results], indent=2))
    else:
        Console().print(tables(measured))


def _labelled(data: Path | None) -> "Sequence[Sample]":
    """Return the images of --data with their labels; none without it."""
    if data is None:
        return []
    check_installed(*EVALUATION_MODULES, extra="evaluate")
    require_images(data)
    return choose_samples(data, lists=None, part=None, country="", videos=None)


def _pictures(
    image: Path | None, data: Path | None, samples: "Sequence[Sample]"
) -> tuple[list[Image], str]:
    """Return the pictures that models are timed on, and what to say of them."""
    if image is not None:
        return [read_image(image)], f"of {image.name}"
    if data is None:
        return [synthetic_image()], "of a generated picture"
    from leansight.sdk.evaluation.timed_files import some_images

    pictures = some_images(data, samples)
    return pictures, f"of {len(pictures)} of the {len(samples):,} images in {data.name}"


def _refuse_runs(models: tuple[Path, ...]) -> None:
    """Raise BundleError for a run, which is what is trained and not what is deployed."""
    for path in models:
        if any((path / name).is_file() for name in ("run.json", "start.json")):
            out = f"{path.resolve().name}.bundle"
            export = shlex.join(["leansight", "export", str(path), "--out", out])
            raise BundleError(f"{path} is a run, not a bundle: export it first, `{export}`")
