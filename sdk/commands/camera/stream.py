"""`leansight stream`: what a camera sees, until it is stopped."""

import sys
from pathlib import Path

import click

from leansight.runtime.interpreter import FORMATS, Format
from leansight.runtime.service.last_good import LastGoodBundle
from leansight.runtime.service.outputs import Output, Outputs
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.classified_stream import ClassifiedStream
from leansight.runtime.stream.isolated_classifier import IsolatedClassifier
from leansight.runtime.stream.sources.options import SourceOptions
from leansight.sdk.commands.camera.stopping import Stopping
from leansight.sdk.commands.options.camera import camera_options
from leansight.sdk.commands.options.outputs import OutputOptions, output_makers, output_options
from leansight.sdk.commands.options.pages import PageOptions, open_pages, page_options
from leansight.sdk.system.text import printable


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@camera_options
@click.option(
    "--format",
    "model_format",
    type=click.Choice(FORMATS),
    help="Which model to use where the bundle has both.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processor threads of the interpreter.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Least probability at which a label is given, instead of the bundle's.",
)
@click.option(
    "--last-good",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.zip",
    help="Copy BUNDLE here once it has run for ten minutes; where another BUNDLE crashes three "
    "times later, this copy takes its place.",
)
@output_options
@page_options
def command(
    *,
    bundle: Path,
    source: str,
    source_options: SourceOptions,
    every_frame: bool,
    model_format: Format | None,
    threads: int,
    threshold: float | None,
    last_good: Path | None,
    output_options: OutputOptions,
    pages: PageOptions,
) -> None:
    """Classify what a camera sees with BUNDLE, until it ends or is stopped.

    \b
    leansight stream signs.bundle --source 0
    leansight stream signs.bundle --source drive.mp4 --json --save labelled.mkv
    leansight stream signs.bundle --pin stop=17 --mqtt mqtt://pi@broker.local/garden
    leansight stream signs.bundle --source picamera2 --rotate 180 --roi 0.25,0,0.5,1
    """
    bundles = [bundle, *([last_good] if last_good and last_good.exists() else [])]
    outputs: dict[str, Output] = {}
    troubles: dict[str, str] = {}

    def on_trouble(output: str, trouble: str) -> None:
        troubles[output] = trouble
        tell_trouble(output, trouble)

    everywhere = Outputs(outputs, on_trouble)
    with (
        Stopping() as stopping,
        IsolatedClassifier(
            bundles, model_format=model_format, threads=threads, threshold=threshold
        ) as classifier,
        CameraStream(source, options=source_options, live=False if every_frame else None) as frames,
        everywhere,
    ):
        for name, make in output_makers(
            output_options,
            classifier.bundle.labels,
            waits=lambda: not frames.live and stopping.asked is None,
        ):
            outputs[name] = make()
        if last_good:
            outputs["last good bundle"] = LastGoodBundle(last_good, classifier)
        outputs |= open_pages(classifier.bundle, pages, troubles)
        for result in ClassifiedStream(frames, classifier):
            with stopping.uninterrupted():
                everywhere.write(result)


def tell_trouble(output: str, trouble: str) -> None:
    """Say on standard error what keeps an output from working, or that it works again."""
    begin = "\r\x1b[K" if sys.stderr.isatty() else ""  # over the line that says how it is
    click.echo(begin + printable(f"{output}: {trouble or 'works again'}"), err=True)
