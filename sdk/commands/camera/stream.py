"""`leansight stream`: what a camera sees, until it is stopped."""

from contextlib import closing
from pathlib import Path

import click

from leansight.runtime.service.outputs import Outputs
from leansight.runtime.service.stream_trial import StreamTrial
from leansight.runtime.stream.classified_stream import ClassifiedStream
from leansight.runtime.stream.events import Smoothing
from leansight.runtime.stream.sources.options import SourceOptions
from leansight.sdk.commands.camera.stopping import Stopping
from leansight.sdk.commands.options.camera import camera_options, open_source
from leansight.sdk.commands.options.model import (
    ModelOptions,
    model_options,
    open_classifier,
    open_drift,
    open_last_good,
)
from leansight.sdk.commands.options.outputs import OutputOptions, open_outputs, output_options
from leansight.sdk.commands.options.pages import PageOptions, open_pages, page_options
from leansight.sdk.commands.options.smoothing import smoothing_options
from leansight.sdk.system.text import echo, printable


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@camera_options
@model_options
@smoothing_options
@output_options
@page_options
def command(
    *,
    bundle: Path,
    source: str,
    source_options: SourceOptions,
    every_frame: bool,
    model: ModelOptions,
    smoothing: Smoothing,
    outputs: OutputOptions,
    pages: PageOptions,
) -> None:
    """Classify what a camera sees with BUNDLE, until it ends or is stopped.

    \b
    leansight stream signs.bundle --source 0
    leansight stream signs.bundle --source drive.mp4 --save labelled.mkv
    leansight stream signs.bundle --source picamera2 --rotate 180 --roi 0.25,0,0.5,1
    leansight stream signs.bundle --pin stop=17 --mqtt mqtt://pi@broker.local/garden --web
    """
    troubles: dict[str, str] = {}

    def on_trouble(output: str, trouble: str) -> None:
        troubles[output] = trouble
        _tell(f"{output}: {trouble or 'works again'}")

    with Stopping() as stopping:
        trial = StreamTrial.of(bundle, end=stopping.end, tell=_tell)
        with (
            open_classifier(bundle, model, on_trial=trial is not None) as classifier,
            open_source(source, source_options, every_frame=every_frame) as frames,
            closing(Outputs(on_trouble)) as everywhere,
        ):
            everywhere.add({} if trial is None else {"trial": trial})
            everywhere.add(open_pages(classifier.bundle, pages, troubles))
            everywhere.add(open_last_good(classifier, model))
            everywhere.add(
                open_outputs(
                    outputs,
                    classifier.bundle.labels,
                    waits=lambda: not frames.live and stopping.asked is None,
                    end=stopping.end,
                )
            )
            drift = open_drift(classifier.bundle, model)
            for result in ClassifiedStream(frames, classifier, smoothing=smoothing, drift=drift):
                with stopping.uninterrupted():
                    everywhere.write(result)


def _tell(line: str) -> None:
    echo(printable(line), err=True)
