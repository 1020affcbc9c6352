"""Options that choose images."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from leansight.runtime.errors import DataError
from leansight.runtime.interpreter import FORMATS

if TYPE_CHECKING:
    from leansight.sdk.data.samples import Part, Sample

PATH: Final = click.Path(path_type=Path)
videos_option = click.option(
    "--videos",
    metavar="PATTERN|none",
    help="How file names tell frames of one video: a regular expression for the name without its "
    r"suffix, with the video in parentheses, such as '(.+)_\d+', or none.  [default: guessed]",
)
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
            help="Which list of --lists to use, or which of DATA's own splits.  [default: "
            "validation of a list; of splits test, or else validation]",
        ),
        click.option(
            "--lists",
            type=PATH,
            metavar="RUN",
            help="Use only the images in a list of this run (see --part).",
        ),
        videos_option,
    ):
        command = option(command)
    return command


def videos_override(videos: str | None) -> tuple[str, ...]:
    """Return what --videos changes in a recipe, as --set takes it."""
    return () if videos is None else (f"data.videos={json.dumps(videos)}",)


def choose_samples(
    data: Path, *, lists: Path | None, part: "Part | None", country: str, videos: str | None
) -> "Sequence[Sample]":
    """Return the images of DATA, or those of one list of a run, of one country or of all.

    Of data with splits of its own those of the test part, or else of the validation part. What
    was found, and which part is used, is printed to standard error.

    Raises:
        DataError: there is none; `part` without a list or splits.

    """
    from leansight.sdk.data.dataset import describe_samples, show, show_lines
    from leansight.sdk.data.layouts.detect import find_data
    from leansight.sdk.data.layouts.videos import with_videos
    from leansight.sdk.recipes.schema import DataRecipe
    from leansight.sdk.runs.run import read_split

    samples: Sequence[Sample]
    if lists:
        listed = part or "validation"
        samples = with_videos(getattr(read_split(lists), listed), videos or "auto")
        block = [f"layout: the list {listed}.csv of {lists}", *describe_samples(samples)]
        show_lines([f"{data}:", *(f"  {line}" for line in block)])
    else:
        found = find_data(data, DataRecipe(videos=videos or "auto"))
        show(found)
        samples, used = _held_out(data, found.samples, part)
        show_lines([f"  used: {used}"])
    chosen = [s for s in samples if not country or s.country == country]
    if not chosen:
        known = ", ".join(sorted({s.country for s in samples} - {""})) or "none"
        raise DataError(f"no image is left to judge by (countries there: {known})")
    return chosen


def _held_out(
    data: Path, samples: "Sequence[Sample]", part: "Part | None"
) -> "tuple[Sequence[Sample], str]":
    """Return the images of a part of the data's own splits, and what they are; all without any."""
    given = {s.part for s in samples} - {""}
    if not given and part is None:
        return samples, f"all {len(samples):,} images"
    chosen = part or next(p for p in ("test", "validation", "train") if p in given)
    if chosen not in given:
        has = ", ".join(sorted(given)) or "none"
        raise DataError(
            f"{data} has no {chosen} images of its own (splits: {has})", parameter="part"
        )
    within = [s for s in samples if s.part == chosen]
    return within, f"the {len(within):,} {chosen} images, by the splits of the data"


def require_images(data: Path | None) -> None:
    """Raise DataError if --data names something that is not there, or an empty folder."""
    if data is None:
        return
    if not data.exists():
        raise DataError(f"--data {data} does not exist: name the folder of labelled images")
    if data.is_dir() and not any(data.iterdir()):
        raise DataError(f"--data {data} is empty: name the folder of labelled images")
