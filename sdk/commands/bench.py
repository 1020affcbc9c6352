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
from leansight.sdk.commands.options.remote import on_option, remote_python_option


@click.command(epilog="Example: leansight bench float.bundle int8.bundle --on pi@raspberrypi.local")
@click.argument("models", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Number of measured runs of each model.",
)
@click.option(
    "--warmup",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    help="Number of unmeasured runs before each of four rounds.",
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
    "--json",
    "as_json",
    is_flag=True,
    help="Print a JSON list with an object for each model.",
)
def command(
    *,
    models: tuple[Path, ...],
    runs: int,
    warmup: int,
    threads: int,
    model_format: Format | None,
    image: Path | None,
    on: str | None,
    remote_python: str | None,
    as_json: bool,
) -> None:
    """Measure MODELS: bundles (each format they hold), or bare .tflite and .onnx files.

    Each model runs in a process of its own, and they take turns. Parameters and MACs are
    counted on the exported graph; RAM is the peak above a process that only imports numpy.
    Nothing is left behind on the machine of --on.
    """
    progress = require("rich.progress", package="rich", extra="bench")
    from rich.console import Console

    from leansight.benchmarks.measure import measure_models, steps
    from leansight.benchmarks.models import find_models
    from leansight.benchmarks.remote import machine_at
    from leansight.benchmarks.table import tables
    from leansight.sdk.system.console import console

    _refuse_runs(models)
    found = find_models(models, model_format)
    picture = synthetic_image() if image is None else read_image(image)
    bar = progress.Progress(
        console=console(),
        transient=True,
        disable=not console().is_terminal,
        auto_refresh=False,  # no thread that draws while a model is timed
    )
    with machine_at(on, remote_python) as machine, bar:
        task = bar.add_task("Measuring", total=steps(found, runs))
        results = measure_models(
            found,
            picture,
            runs=runs,
            warmup=warmup,
            threads=threads,
            on=machine,
            advanced=lambda: bar.update(task, advance=1, refresh=True),
        )
    if as_json:
        click.echo(json.dumps([result.to_dict() for result in results], indent=2))
    else:
        Console().print(tables(results))


def _refuse_runs(models: tuple[Path, ...]) -> None:
    """Raise BundleError for a run, which is what is trained and not what is deployed."""
    for path in models:
        if any((path / name).is_file() for name in ("run.json", "start.json")):
            out = f"{path.resolve().name}.bundle"
            export = shlex.join(["leansight", "export", str(path), "--out", out])
            raise BundleError(f"{path} is a run, not a bundle: export it first, `{export}`")
