"""`leansight bench`: size, MACs, memory and latency of models, side by side."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from leansight.runtime.extras import require
from leansight.runtime.interpreter import FORMATS, Format
from leansight.runtime.system.whole_files import scratch_folder
from leansight.sdk.commands.benchmark.compare import BenchCommand
from leansight.sdk.commands.benchmark.options import (
    MeasuringOptions,
    PictureOptions,
    ResultFiles,
    measuring_options,
    picture_options,
    result_files,
)
from leansight.sdk.commands.benchmark.results import require_files, write_results
from leansight.sdk.commands.options.images import PATH
from leansight.sdk.commands.options.remote import on_option, remote_python_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leansight.benchmarks.measure import Settings
    from leansight.benchmarks.models import Model
    from leansight.benchmarks.results.result import Benchmark
    from leansight.sdk.commands.benchmark.pictures import Pictures


@click.command(
    cls=BenchCommand,
    epilog="Example: leansight bench float.bundle int8.bundle --on pi@raspberrypi.local",
)
@click.argument("models", type=PATH, nargs=-1, required=True)
@measuring_options
@click.option(
    "--format",
    "model_format",
    type=click.Choice(FORMATS),
    help="Measure only this format where a bundle has both.",
)
@picture_options
@on_option
@remote_python_option
@result_files
def command(
    *,
    models: tuple[Path, ...],
    measuring: MeasuringOptions,
    model_format: Format | None,
    pictures: PictureOptions,
    on: str | None,
    remote_python: str | None,
    files: ResultFiles,
) -> None:
    """Measure MODELS: bundles (each format they hold), .tflite and .onnx files, or runs.

    Each model runs in processes of its own, on the same cores, and they take turns in blocks of
    ten frames. One is called faster than another only if the interval of their paired ratio says
    so. Parameters and MACs are counted on the exported graph; RAM is the peak above a process
    that only imports numpy. A model that crashes, hangs or gives no numbers is a row that says
    so. Nothing is left behind on the machine of --on.

    With --data, the files that are timed are judged as well, on this machine: accuracy, balanced
    accuracy, and what the bundle's threshold keeps, with intervals over videos.

    A bare file may take pictures of any size; of several outputs the logits are the first with as
    many numbers as there are --labels. A run is exported first, in int8, for this measurement only.

    Two files of --out are compared by `leansight bench compare OLD NEW`, whose exit code is 1 if
    a model has become slower, larger or less often right.
    """
    require("rich.progress", package="rich", extra="bench")
    from leansight.sdk.commands.benchmark.pictures import find_pictures, read_labels_of_bare
    from leansight.sdk.commands.benchmark.runs import models_of

    require_files(files)
    settings = measuring.settings()
    with scratch_folder() as scratch:
        found = models_of(models, model_format, read_labels_of_bare(pictures.labels), scratch)
        classified = find_pictures(pictures)
        measured = _measure(found, classified, settings, on, remote_python)
        if pictures.data is not None:
            from leansight.sdk.evaluation.timed_files import with_accuracy

            measured = with_accuracy(
                measured,
                found,
                pictures.data,
                classified.labelled,
                threads=settings.threads,
                hang_s=settings.hang_s,
            )
    write_results(measured, files)


def _measure(
    models: "Sequence[Model]",
    pictures: "Pictures",
    settings: "Settings",
    on: str | None,
    remote_python: str | None,
) -> "Benchmark":
    """Measure on one machine, with a bar."""
    from rich.progress import Progress

    from leansight.benchmarks.measure import benchmark
    from leansight.benchmarks.remote import machine_at
    from leansight.sdk.system.console import console

    bar = Progress(
        console=console(),
        transient=True,
        disable=not console().is_terminal,
        auto_refresh=False,  # no thread that draws while a model is timed
    )
    with machine_at(on, remote_python) as machine, bar:
        task = bar.add_task("Measuring")
        return benchmark(
            models,
            pictures.images,
            settings,
            frames=pictures.description,
            on=machine,
            advanced=lambda done, planned: bar.update(
                task, completed=done, total=planned, refresh=True
            ),
        )
