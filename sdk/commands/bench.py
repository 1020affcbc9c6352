"""`leansight bench`: size, MACs, memory and latency of models, side by side."""

import json
import shlex
from pathlib import Path

import click

from leansight.benchmarks.picture import synthetic_image
from leansight.runtime.errors import BundleError
from leansight.runtime.extras import require
from leansight.runtime.images import read_image
from leansight.runtime.interpreter import FORMATS, Format
from leansight.sdk.commands.options.percent import Percent
from leansight.sdk.commands.options.remote import on_option, remote_python_option
from leansight.sdk.system.files import write_json


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
    picture = synthetic_image() if image is None else read_image(image)
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
            [picture],
            settings,
            frames="of a generated picture" if image is None else f"of {image.name}",
            on=machine,
            advanced=lambda done, planned: bar.update(
                task, completed=done, total=planned, refresh=True
            ),
        )
    if out is not None:
        write_json(out, measured.to_dict())
    if as_json:
        click.echo(json.dumps([result.to_dict() for result in measured.results], indent=2))
    else:
        Console().print(tables(measured))


def _refuse_runs(models: tuple[Path, ...]) -> None:
    """Raise BundleError for a run, which is what is trained and not what is deployed."""
    for path in models:
        if any((path / name).is_file() for name in ("run.json", "start.json")):
            out = f"{path.resolve().name}.bundle"
            export = shlex.join(["leansight", "export", str(path), "--out", out])
            raise BundleError(f"{path} is a run, not a bundle: export it first, `{export}`")
