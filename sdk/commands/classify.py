"""`leansight classify`: what a bundle says of image files."""

import json
from pathlib import Path

import click

from leansight.runtime.classifier import Classifier
from leansight.runtime.decision import Prediction
from leansight.runtime.image_files import list_images
from leansight.runtime.images import read_image
from leansight.runtime.interpreter import FORMATS, Format


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True)
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
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def command(
    *,
    bundle: Path,
    images: tuple[Path, ...],
    model_format: Format | None,
    threads: int,
    threshold: float | None,
    as_json: bool,
) -> None:
    """Classify IMAGES (files, or folders of them) with BUNDLE.

    \b
    leansight classify signs.bundle photo.jpg
    leansight classify signs.bundle photos/ --json --threshold 0.9
    """
    paths = list_images(images)
    classifier = Classifier.load(
        bundle, model_format=model_format, threads=threads, threshold=threshold
    )
    for path in paths:
        prediction = classifier(read_image(path))
        if as_json:
            click.echo(json.dumps({"path": str(path), **prediction.to_dict()}))
        else:
            click.echo(f"{path}: {_sentence(prediction)}")


def _sentence(prediction: Prediction) -> str:
    """Return the labels given; where there is none, or one is undecided, the best classes."""
    best = ", ".join(f"{label} {score:.1%}" for label, score in prediction.top)
    given = ", ".join(prediction.labels)
    if prediction.status == "not sure":
        return f"{given}; not sure ({best})" if given else f"not sure ({best})"
    return f"{given} ({prediction.score:.1%})" if given else f"no label ({best})"
