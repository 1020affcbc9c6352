"""`leansight bench`: size, MACs, memory and latency of models, side by side."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leansight.runtime.extras import require
from leansight.runtime.interpreter import FORMATS, Format
from leansight.runtime.system.kernel import core_count
from leansight.runtime.system.whole_files import scratch_folder
from leansight.sdk.commands.benchmark.compare import BenchCommand
from leansight.sdk.commands.benchmark.options import (
    MeasuringOptions,
    PictureOptions,
    PlaceOptions,
    ResultFiles,
    measuring_options,
    picture_options,
    place_options,
    result_files,
)
from leansight.sdk.commands.benchmark.results import require_files, write_results
from leansight.sdk.commands.options.images import PATH
from leansight.sdk.commands.options.trust import trust_option

if TYPE_CHECKING:
    from leansight.benchmarks.results.machines import MachineBenchmarks


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
@trust_option
@place_options
@result_files
def command(
    *,
    models: tuple[Path, ...],
    measuring: MeasuringOptions,
    model_format: Format | None,
    pictures: PictureOptions,
    trust: Path | None,
    places: PlaceOptions,
    files: ResultFiles,
) -> None:
    """Measure MODELS: bundles (each format they hold), .tflite and .onnx files, or runs.

    Each model runs in processes of its own, on the same cores, and they take turns in blocks of
    ten frames. One is called faster than another only if the interval of their paired ratio says
    so. Parameters and MACs are counted on the exported graph; RAM is the peak above a process
    that only imports numpy. A model that crashes, hangs or gives no numbers is a row that says
    so; the others are measured, and the exit code is 1. Nothing is left behind on a machine of
    --on; several are measured at the same time, and each is ranked by itself.

    With --data, the files that are timed are judged as well, on this machine: accuracy, balanced
    accuracy, and what the bundle's threshold keeps, with intervals over videos.

    A bare file may take pictures of any size; of several outputs the logits are the first with as
    many numbers as there are --labels. A run is exported first, in int8, for this measurement only.

    Two files of --out are compared by `leansight bench compare OLD NEW`, whose exit code is 1 if
    a model has become slower, larger or less often right.
    """
    require("rich.progress", package="rich", extra="bench")
    require_files(files)
    _require_places(places, pictures, measuring.threads)
    with scratch_folder() as scratch:
        measured = _measure(models, measuring, model_format, pictures, trust, places, scratch)
    write_results(measured, files)
    if not measured.is_complete:
        sys.exit(1)


def _require_places(places: PlaceOptions, pictures: PictureOptions, threads: int) -> None:
    """Refuse, before anything is measured, what this machine cannot do."""
    from leansight.benchmarks.emulation.tools import require_tools
    from leansight.benchmarks.probes.conditions import require_cores

    if not places.on:
        require_cores(threads, core_count())
    if places.emulate:
        require_tools(compiles=places.wheel is None)
    if places.peers and pictures.camera is not None:
        raise click.UsageError("--with and --camera: other runtimes have no camera here")


def _measure(
    models: tuple[Path, ...],
    measuring: MeasuringOptions,
    model_format: Format | None,
    pictures: PictureOptions,
    trust: Path | None,
    places: PlaceOptions,
    scratch: Path,
) -> "MachineBenchmarks":
    """Find the models and the pictures, and measure everything that was asked for."""
    from leansight.sdk.commands.benchmark.measuring import emulated, judged, measure, with_peers
    from leansight.sdk.commands.benchmark.pictures import find_pictures, read_labels_of_bare
    from leansight.sdk.commands.benchmark.runs import models_of, runnable_here

    settings = measuring.settings()
    labels = read_labels_of_bare(pictures.labels)
    found = models_of(models, model_format, labels, scratch, trust=trust)
    if model_format is None and not places.on:
        found = runnable_here(found)
    classified = find_pictures(pictures)
    chosen, failures = with_peers(found, places.peers)
    measured = measure(chosen, classified, settings, places, scratch).failing(failures)
    if pictures.data is not None:
        measured = judged(measured, chosen, pictures.data, classified.labelled, settings)
    return emulated(measured, found, places) if places.emulate else measured
