"""Where the results of a stream go: options, and the outputs that they ask for."""

import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click

from leansight.runtime.errors import DataError
from leansight.runtime.service.files.json_file import JsonFile
from leansight.runtime.service.files.video_file import VideoFile
from leansight.runtime.service.json_lines import JsonLines
from leansight.runtime.service.mqtt.broker import MqttBroker
from leansight.runtime.service.mqtt.client import MqttPublisher
from leansight.runtime.service.outputs import Output
from leansight.runtime.service.pin import Pin
from leansight.runtime.service.screen.status_line import StatusLine
from leansight.runtime.service.screen.window import Window
from leansight.runtime.service.stuck import StuckTimer
from leansight.runtime.service.systemd import SystemdNotifier
from leansight.runtime.service.unit import STUCK_EXIT_CODE
from leansight.sdk.commands.options.grouping import options_of
from leansight.sdk.system.text import echo, first_five

PASSWORD_VARIABLE: Final = "LEANSIGHT_MQTT_PASSWORD"  # noqa: S105 -- the name of a variable
_MEGABYTE: Final = 1_000_000


class WrittenPath(click.Path):
    """A path that the program writes; in a service systemd has to allow it."""


class LabelledPin(click.ParamType[tuple[str, int]]):
    """A label and a GPIO pin: stop=17."""

    name = "LABEL=PIN"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Return the label, which may hold "=", and the number of the pin."""
        label, _, number = str(value).rpartition("=")
        if not label or not number.isdecimal():
            self.fail(f"{value!r} is not a label and a pin such as stop=17", param, ctx)
        return label, int(number)


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where the results of a stream go."""

    as_json: bool
    json_file: Path | None
    json_file_mb: float
    json_files: int
    save: Path | None
    window: bool
    pin: tuple[tuple[str, int], ...]
    mqtt: str | None
    mqtt_password_file: Path | None
    end_when_stuck: bool


output_options = options_of(
    OutputOptions,
    "outputs",
    [
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line."),
        click.option(
            "--json-file",
            type=WrittenPath(path_type=Path),
            help="Append the JSON lines to this file, too.",
        ),
        click.option(
            "--json-file-mb",
            type=click.FloatRange(min=0, min_open=True),
            default=10.0,
            show_default=True,
            help="Begin another file after so many megabytes: FILE.1 is the one before.",
        ),
        click.option(
            "--json-files",
            type=click.IntRange(min=1),
            default=5,
            show_default=True,
            help="How many of these files there are at most.",
        ),
        click.option(
            "--save",
            type=WrittenPath(path_type=Path),
            help="Write the pictures with their labels into this Matroska video (.mkv).",
        ),
        click.option("--window", is_flag=True, help="Show the pictures in a window; q ends."),
        click.option(
            "--pin",
            type=LabelledPin(),
            multiple=True,
            help="Switch a GPIO pin on while a label is seen: stop=17. More than once if need be.",
        ),
        click.option(
            "--mqtt",
            metavar="URL",
            help="Publish labels, events and state: mqtt://user@host:1883/prefix, or mqtts://. "
            f"The password is in the variable {PASSWORD_VARIABLE} or --mqtt-password-file.",
        ),
        click.option(
            "--mqtt-password-file",
            type=click.Path(path_type=Path),
            envvar=f"{PASSWORD_VARIABLE}_FILE",
            help="A file that holds the password of the broker.",
        ),
        click.option(
            "--end-when-stuck",
            is_flag=True,
            help=f"End with exit code {STUCK_EXIT_CODE} when the camera has hung in the kernel for "
            "a minute: only a restart of the machine helps then.",
        ),
    ],
)


def open_outputs(
    options: OutputOptions,
    labels: Sequence[str],
    *,
    waits: Callable[[], bool],
    end: Callable[[int], None],
) -> dict[str, Output]:
    """Return the outputs that are asked for, by what people call them.

    `waits()`: whether a slow reader of standard output is waited for now; `end`: ends the program
    with an exit code, from any thread. Where one cannot be opened, those before it are closed.
    """
    outputs: dict[str, Output] = {}
    try:
        for name, make in _makers(options, labels, waits):
            outputs[name] = make()
        if options.end_when_stuck:
            outputs["stuck"] = StuckTimer(partial(end, STUCK_EXIT_CODE))
    except BaseException:
        for output in outputs.values():
            output.close()
        raise
    return outputs


def _makers(
    options: OutputOptions, labels: Sequence[str], waits: Callable[[], bool]
) -> Iterator[tuple[str, Callable[[], Output]]]:
    for label, number in options.pin:  # first: a pin that is on must go off before all else
        yield f"pin {number}", partial(_pin, label, number, labels)
    if options.as_json:
        yield "JSON lines", partial(JsonLines, waits)
    else:
        yield "status", partial(StatusLine, sys.stdout)
    if options.json_file:
        limits = {"max_bytes": round(options.json_file_mb * _MEGABYTE), "files": options.json_files}
        yield "JSON file", partial(JsonFile, options.json_file, **limits)
    if options.save:
        yield "video", partial(_video, options.save)
    if options.window:
        yield "window", Window
    if options.mqtt:
        broker = MqttBroker.from_url(
            options.mqtt,
            prefix=f"leansight/{socket.gethostname()}",
            password=_password(options.mqtt_password_file),
        )
        yield "MQTT", partial(MqttPublisher, broker, labels)
    if (notifier := SystemdNotifier.from_environment()) is not None:
        yield "systemd", lambda: notifier


def _pin(label: str, number: int, labels: Sequence[str]) -> Pin:
    if label not in labels:
        known = first_five(labels)
        raise DataError(f"the bundle has no label {label!r}, but {known}", parameter="pin")
    return Pin(label, number)


def _video(file: Path) -> VideoFile:
    video = VideoFile(file)
    if video.file != file:
        echo(f"{file} is there already: the video goes to {video.file}", err=True)
    return video


def _password(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(PASSWORD_VARIABLE)
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DataError(
            f"{file} cannot be read: {reason}", parameter="mqtt_password_file"
        ) from error
