"""`leansight stream`: what a camera sees, until it is stopped."""

import signal
from pathlib import Path

import click

from leansight.runtime.interpreter import FORMATS, Format
from leansight.runtime.service.json_lines import JsonLines
from leansight.runtime.service.last_good import LastGoodBundle
from leansight.runtime.service.outputs import Output, Outputs
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.classified_stream import ClassifiedStream
from leansight.runtime.stream.isolated_classifier import IsolatedClassifier
from leansight.runtime.stream.sources.options import SourceOptions
from leansight.sdk.commands.options.camera import camera_options
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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
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
    as_json: bool,
    pages: PageOptions,
) -> None:
    """Classify what a camera sees with BUNDLE, until it ends or is stopped.

    \b
    leansight stream signs.bundle --source 0
    leansight stream signs.bundle --source drive.mp4 --json
    leansight stream signs.bundle --source picamera2 --rotate 180 --roi 0.25,0,0.5,1
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as systemd ends it
    bundles = [bundle, *([last_good] if last_good and last_good.exists() else [])]
    outputs: dict[str, Output] = {}
    troubles: dict[str, str] = {}

    def on_trouble(output: str, trouble: str) -> None:
        troubles[output] = trouble
        tell_trouble(output, trouble)

    with (
        IsolatedClassifier(
            bundles, model_format=model_format, threads=threads, threshold=threshold
        ) as classifier,
        CameraStream(source, options=source_options, live=False if every_frame else None) as frames,
    ):
        if as_json:
            outputs["json"] = JsonLines()
        if last_good:
            outputs["last good bundle"] = LastGoodBundle(last_good, classifier)
        outputs |= open_pages(classifier.bundle, pages, troubles)
        everywhere = Outputs(outputs, on_trouble)
        try:
            for result in ClassifiedStream(frames, classifier):
                everywhere.write(result)
        finally:
            everywhere.close()


def tell_trouble(output: str, trouble: str) -> None:
    """Say on standard error what keeps an output from working, or that it works again."""
    click.echo(printable(f"{output}: {trouble or 'works again'}"), err=True)
