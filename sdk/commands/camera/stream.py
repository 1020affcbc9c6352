"""`leansight stream`: what a camera sees, until it is stopped."""

import signal
from pathlib import Path

import click

from leansight.runtime.classifier import Classifier
from leansight.runtime.interpreter import FORMATS, Format
from leansight.runtime.service.json_lines import JsonLines
from leansight.runtime.service.outputs import Output, Outputs
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.classified_stream import ClassifiedStream
from leansight.sdk.commands.options.pages import PageOptions, open_pages, page_options
from leansight.sdk.system.text import printable


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--source",
    default="0",
    show_default=True,
    help="A camera's number or path, a video file, or the URL of a stream.",
)
@click.option(
    "--format",
    "model_format",
    type=click.Choice(FORMATS),
    help="Which model to use where the bundle has both.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@page_options
def command(
    *,
    bundle: Path,
    source: str,
    model_format: Format | None,
    as_json: bool,
    pages: PageOptions,
) -> None:
    """Classify what a camera sees with BUNDLE, until it ends or is stopped.

    \b
    leansight stream signs.bundle --source 0
    leansight stream signs.bundle --source drive.mp4 --json
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as systemd ends it
    classifier = Classifier.load(bundle, model_format=model_format)
    classifier.warm_up()
    outputs: dict[str, Output] = {}
    if as_json:
        outputs["json"] = JsonLines()
    troubles: dict[str, str] = {}
    outputs |= open_pages(classifier, pages, troubles)

    def on_trouble(output: str, trouble: str) -> None:
        troubles[output] = trouble
        tell_trouble(output, trouble)

    everywhere = Outputs(outputs, on_trouble)
    try:
        with CameraStream(source) as frames:
            for result in ClassifiedStream(frames, classifier):
                everywhere.write(result)
    finally:
        everywhere.close()


def tell_trouble(output: str, trouble: str) -> None:
    """Say on standard error what keeps an output from working, or that it works again."""
    click.echo(printable(f"{output}: {trouble or 'works again'}"), err=True)
