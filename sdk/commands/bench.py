"""`leansight bench`: size, MACs, memory and latency of models, side by side."""

import json
import shlex
import sys
from dataclasses import asdict
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
from leansight.sdk.commands.options.trust import trust_option
from leansight.sdk.system.files import require_writable, write_json, write_text
from leansight.sdk.system.text import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from leansight.benchmarks.results.result import Benchmark
    from leansight.sdk.data.samples import Sample


_PATH = click.Path(path_type=Path)


@click.command(
    "leansight bench compare", epilog="Example: leansight bench compare old.json new.json"
)
@click.argument("old", type=_PATH)
@click.argument("new", type=_PATH)
@click.option(
    "--allow",
    type=Percent(),
    default="5%",
    show_default=True,
    help="How much longer, larger or heavier a model may have become.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of all changes.")
def compare(*, old: Path, new: Path, allow: float, as_json: bool) -> None:
    """Compare two files of `leansight bench --out`; exit code 1 if a model has become worse.

    A time is worse if it is longer by more than --allow and the intervals do not overlap; a size
    or a count if it is larger by more; an accuracy if the intervals do not overlap.
    """
    from leansight.benchmarks.results.regression import compare_results, read_result_file

    changes = compare_results(read_result_file(old), read_result_file(new), allowed=allow)
    if as_json:
        echo(json.dumps([asdict(change) for change in changes], indent=2))
    else:
        for change in changes:
            echo(
                f"{change.verdict:<6} {change.model}: {change.figure} "
                f"{change.old:.6g} -> {change.new:.6g}"
            )
    if any(change.verdict == "worse" for change in changes):
        sys.exit(1)


class _BenchCommand(click.Command):
    """The command, or `compare` where that is the first word: a model may be called anything."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """Parse the words by the command that they are for."""
        if args[:1] == ["compare"]:
            return compare.make_context(f"{info_name} compare", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that the words were parsed by."""
        return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)


@click.command(
    cls=_BenchCommand,
    epilog="Example: leansight bench float.bundle int8.bundle --on pi@raspberrypi.local",
)
@click.argument("models", type=_PATH, nargs=-1, required=True)
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
    type=_PATH,
    help="The picture to classify.  [default: shades and noise, 640 x 480 pixels]",
)
@click.option(
    "--data",
    type=_PATH,
    help="Labelled images: time on them, and tell how often each file is right.",
)
@trust_option
@on_option
@remote_python_option
@click.option("--out", type=_PATH, help="Write all that was measured to this JSON file.")
@click.option("--html", type=_PATH, help="Write a page with pictures, in one file.")
@click.option("--csv", "csv_file", type=_PATH, help="Write a line for each model.")
@click.option("--markdown", type=_PATH, help="Write a table for a page or a pull request.")
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
    trust: Path | None,
    on: str | None,
    remote_python: str | None,
    out: Path | None,
    html: Path | None,
    csv_file: Path | None,
    markdown: Path | None,
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

    Two files of --out are compared by `leansight bench compare OLD NEW`, whose exit code is 1 if
    a model has become slower, larger or less often right.
    """
    progress = require("rich.progress", package="rich", extra="bench")
    from rich.console import Console

    from leansight.benchmarks.measure import Settings, benchmark
    from leansight.benchmarks.models import find_models
    from leansight.benchmarks.remote import machine_at
    from leansight.benchmarks.results.table import tables
    from leansight.sdk.system.console import console

    _refuse_runs(models)
    _check_outputs(out, html, csv_file, markdown)
    settings = Settings(
        frames=runs,
        precision=precision,
        most_s=most_seconds,
        threads=threads,
        hang_s=hang_seconds,
    )
    found = find_models(models, model_format, trust=trust)
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
    _write_files(measured, out=out, html=html, csv_file=csv_file, markdown=markdown)
    if as_json:
        echo(json.dumps([result.to_dict() for result in measured.results], indent=2))
    else:
        Console().print(tables(measured))


def _check_outputs(*files: Path | None) -> None:
    """Find out before anything is measured whether the files can be written."""
    for file in files:
        if file is not None:
            require_writable(file)
    if files[1] is not None:
        check_installed("matplotlib", "jinja2", extra="bench")


def _write_files(
    measured: "Benchmark",
    *,
    out: Path | None,
    html: Path | None,
    csv_file: Path | None,
    markdown: Path | None,
) -> None:
    from leansight.benchmarks.results.page import write_page
    from leansight.benchmarks.results.texts import csv_text, markdown_text

    if out is not None:
        write_json(out, measured.to_dict())
    if csv_file is not None:
        write_text(csv_file, csv_text(measured))
    if markdown is not None:
        write_text(markdown, markdown_text(measured))
    if html is not None:
        write_page(measured, html)


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
