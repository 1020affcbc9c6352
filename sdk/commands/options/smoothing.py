"""Options for events: when the labels of frames make one, and when it is over."""

from typing import Final

import click

from leansight.runtime.stream.events import Smoothing
from leansight.sdk.commands.options.grouping import options_of

_SHARE: Final = click.FloatRange(0, 1, min_open=True)
_SECONDS: Final = click.FloatRange(0, min_open=True)
_DEFAULT: Final = Smoothing()

smoothing_options: Final = options_of(
    Smoothing,
    "smoothing",
    (
        click.option(
            "--event-window",
            "window_s",
            type=_SECONDS,
            metavar="SECONDS",
            default=_DEFAULT.window_s,
            show_default=True,
            help="An event is told by the frames of so many seconds.",
        ),
        click.option(
            "--event-begin-share",
            "begin_share",
            type=_SHARE,
            default=_DEFAULT.begin_share,
            show_default=True,
            help="Share of them that must have the label for its event to begin.",
        ),
        click.option(
            "--event-end-share",
            "end_share",
            type=_SHARE,
            default=_DEFAULT.end_share,
            show_default=True,
            help="Share below which it ends.",
        ),
        click.option(
            "--event-frames",
            "least_frames",
            type=click.IntRange(min=1),
            default=_DEFAULT.least_frames,
            show_default=True,
            help="Fewest frames that it is told by.",
        ),
        click.option(
            "--event-gap",
            "gap_s",
            type=_SECONDS,
            metavar="SECONDS",
            default=_DEFAULT.gap_s,
            show_default=True,
            help="It ends when no frame was classified for so long.",
        ),
    ),
)
