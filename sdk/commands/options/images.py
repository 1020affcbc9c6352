"""Options that choose images."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from leansight.runtime.errors import DataError
from leansight.runtime.interpreter import FORMATS

if TYPE_CHECKING:
    from leansight.sdk.data.samples import Sample

PATH: Final = click.Path(path_type=Path)
skip_bad_option = click.option(
    "--skip-bad", is_flag=True, help="Leave out images that cannot be read."
)


def image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose among the labelled images, and a bundle's format."""
    for option in (
        click.option(
            "--format",
            "model_format",
            type=click.Choice(FORMATS),
            help="Which model of a bundle to evaluate.  [default: the first that it has]",
        ),
        click.option("--country", default="", help="Use only the images of this country."),
        click.option(
            "--part",
            type=click.Choice(["train", "validation", "test"]),
            default="validation",
            show_default=True,
            help="Which list of --lists to use.",
        ),
        click.option(
            "--lists",
            type=PATH,
            metavar="RUN",
            help="Use only the images in a list of this run (see --part).",
        ),
    ):
        command = option(command)
    return command


def choose_samples(
    data: Path, *, lists: Path | None, part: str, country: str
) -> "Sequence[Sample]":
    """Return the images of DATA, or those of one list of a run, of one country or of all.

    Raises:
        DataError: there is none.

    """
    from leansight.sdk.data.layouts.detect import find_samples
    from leansight.sdk.runs.run import read_split

    samples = getattr(read_split(lists), part) if lists else find_samples(data)
    chosen = [s for s in samples if not country or s.country == country]
    if not chosen:
        known = ", ".join(sorted({s.country for s in samples} - {""})) or "none"
        raise DataError(f"no image is left to judge by (countries there: {known})")
    return chosen


def require_images(data: Path | None) -> None:
    """Raise DataError if --data names something that is not there, or an empty folder."""
    if data is None:
        return
    if not data.exists():
        raise DataError(f"--data {data} does not exist: name the folder of labelled images")
    if data.is_dir() and not any(data.iterdir()):
        raise DataError(f"--data {data} is empty: name the folder of labelled images")
