"""`leansight check`: whether a bundle gives here what it gave where it was made."""

import json
import sys
from pathlib import Path

import click

from leansight.runtime.golden import check_golden
from leansight.runtime.interpreter import FORMATS, Format


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "model_format",
    type=click.Choice(FORMATS),
    help="Which model to check where the bundle has both.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processor threads of the interpreter.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    bundle: Path,
    model_format: Format | None,
    threads: int,
    as_json: bool,
) -> None:
    """Classify the golden photos of BUNDLE on this machine, and compare with the known answers.

    The exit code is 1 if a pixel, a label or a probability differs from that on the machine where
    the bundle was made.

    \b
    leansight check signs.bundle
    """
    report = check_golden(bundle, model_format=model_format, threads=threads)
    if as_json:
        click.echo(json.dumps({**vars(report), "holds": report.holds}))
    else:
        verdict = "as it was made" if report.holds else "NOT as it was made"
        click.echo(
            f"{report.format} {report.precision}: {verdict} "
            f"({report.photos} photos, {report.different_pixels} different pixels, "
            f"{report.different_labels} different labels, probabilities within "
            f"{report.largest_difference:.4f})"
        )
    if not report.holds:
        sys.exit(1)
