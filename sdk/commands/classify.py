"""`leansight classify`: what a bundle says of image files."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import Prediction
from leansight.runtime.errors import DataError
from leansight.runtime.image_files import list_images
from leansight.runtime.interpreter import FORMATS, Format
from leansight.sdk.commands.options.flags import line_of
from leansight.sdk.commands.options.images import skip_bad_option
from leansight.sdk.commands.options.model import threads_option
from leansight.sdk.commands.options.trust import trust_option
from leansight.sdk.data.damage import damage_of
from leansight.sdk.system.text import echo, printable


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--format",
    "model_format",
    type=click.Choice(FORMATS),
    help="Which model to use where the bundle has both.",
)
@threads_option
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Least probability at which a label is given, instead of the bundle's.",
)
@trust_option
@skip_bad_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def command(
    *,
    bundle: Path,
    images: tuple[Path, ...],
    model_format: Format | None,
    threads: int,
    threshold: float | None,
    trust: Path | None,
    skip_bad: bool,
    as_json: bool,
) -> None:
    """Classify IMAGES (files, or folders of them) with BUNDLE.

    A file that cannot be read is named on standard error, and the others are classified; the exit
    code is then 1, with --skip-bad 0. One that can be read, though a strict decoder says that it is
    damaged, is named as well.

    \b
    leansight classify signs.bundle photo.jpg
    leansight classify signs.bundle photos/ --json --threshold 0.9
    """
    classifier = Classifier.load(
        bundle, model_format=model_format, threads=threads, threshold=threshold, trust=trust
    )
    bad = 0

    def name_bad(_: Path, error: DataError | OSError) -> None:
        nonlocal bad
        bad += 1
        echo(line_of(error), err=True)

    for path, prediction in _predictions(classifier, images, name_bad):
        if damage := damage_of(path):
            echo(printable(f"leansight: {path}: {damage}; classified all the same"), err=True)
        if as_json:
            echo(json.dumps({"path": str(path), **prediction.to_dict()}))
        else:
            echo(printable(f"{path}: {_sentence(prediction)}"))
    if bad and not skip_bad:
        sys.exit(1)


def _predictions(
    classifier: Classifier,
    images: Iterable[Path],
    on_error: Callable[[Path, DataError | OSError], None],
) -> Iterator[tuple[Path, Prediction]]:
    """Yield each file, also those in folders, with what it shows."""
    for image in images:
        try:
            files = list_images([image])
        except (DataError, OSError) as error:
            on_error(image, error)
            continue
        yield from classifier.classify_batch(files, on_error=on_error)


def _sentence(prediction: Prediction) -> str:
    """Return the labels given; where there is none, or one is undecided, the best classes."""
    best = ", ".join(f"{label} {score:.1%}" for label, score in prediction.top)
    given = ", ".join(prediction.labels)
    if prediction.status == "invalid output":
        return "invalid output: the network returned a value that is not a finite number"
    if prediction.status == "not sure":
        return f"{given}; not sure ({best})" if given else f"not sure ({best})"
    return f"{given} ({prediction.score:.1%})" if given else f"no label ({best})"
