"""`leansight stream`: what a camera sees, until it is stopped."""

import sys
from pathlib import Path

import click

from leansight.runtime.classifier import Classifier
from leansight.runtime.interpreter import FORMATS, Format
from leansight.runtime.service.outputs import Outputs
from leansight.runtime.stream.camera_stream import CameraStream
from leansight.runtime.stream.classified_stream import ClassifiedStream
from leansight.sdk.commands.camera.stopping import Stopping
from leansight.sdk.commands.options.outputs import OutputOptions, open_outputs, output_options
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
@output_options
def command(
    *,
    bundle: Path,
    source: str,
    model_format: Format | None,
    outputs: OutputOptions,
) -> None:
    """Classify what a camera sees with BUNDLE, until it ends or is stopped.

    \b
    leansight stream signs.bundle --source 0
    leansight stream signs.bundle --source drive.mp4 --save labelled.mkv
    leansight stream signs.bundle --pin stop=17 --mqtt mqtt://pi@broker.local/garden
    """
    with Stopping() as stopping:
        classifier = Classifier.load(bundle, model_format=model_format)
        classifier.warm_up()
        with CameraStream(source) as frames:
            opened = open_outputs(
                outputs,
                classifier.labels,
                waits=lambda: not frames.live and stopping.asked is None,
            )
            everywhere = Outputs(opened, tell_trouble)
            try:
                for result in ClassifiedStream(frames, classifier):
                    with stopping.uninterrupted():
                        everywhere.write(result)
            finally:
                everywhere.close()


def tell_trouble(output: str, trouble: str) -> None:
    """Say on standard error what keeps an output from working, or that it works again."""
    begin = "\r\x1b[K" if sys.stderr.isatty() else ""  # over the line that says how it is
    click.echo(begin + printable(f"{output}: {trouble or 'works again'}"), err=True)
