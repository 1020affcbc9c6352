"""`leansight check`: whether a bundle gives here what it gave where it was made."""

import json
import sys
from pathlib import Path

import click

from leansight.runtime.bundle import Bundle
from leansight.runtime.golden import check_golden
from leansight.runtime.interpreter import FORMATS, Format
from leansight.sdk.commands.options.model import threads_option
from leansight.sdk.commands.options.trust import trust_option
from leansight.sdk.system.text import echo


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "model_format",
    type=click.Choice(FORMATS),
    help="Which model to check where the bundle has both.",
)
@threads_option
@trust_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    bundle: Path,
    model_format: Format | None,
    threads: int,
    trust: Path | None,
    as_json: bool,
) -> None:
    """Classify the golden photos of BUNDLE on this machine, and compare with the known answers.

    The exit code is 1 if a pixel, a label or a probability differs from that on the machine where
    the bundle was made.

    \b
    leansight check signs.bundle
    """
    report = check_golden(bundle, model_format=model_format, threads=threads, trust=trust)
    checked = Bundle.load(bundle, trust=trust)
    temperature = checked.decision.temperature
    if as_json:
        values = {**vars(report), "holds": report.holds, "temperature": temperature}
        echo(json.dumps(values))
    else:
        verdict = "as it was made" if report.holds else "NOT as it was made"
        echo(
            f"{report.format} {report.precision}: {verdict} "
            f"({report.photos} photos, {report.different_pixels} different pixels, "
            f"{report.different_labels} different labels, probabilities within "
            f"{report.largest_difference:.4f})"
        )
        if report.invalid_photos:
            echo(f"{report.invalid_photos} photos gave no finite numbers")
        if report.is_constant:
            echo("all photos gave the same numbers")
        if temperature != 1:
            echo(f"temperature of the scores: {temperature:.4g}, {_origin(checked)}")
    if not report.holds:
        sys.exit(1)


def _origin(bundle: Bundle) -> str:
    """Say where the temperature comes from, as far as the manifest tells; metrics are free JSON."""
    match bundle.guarantee, bundle.metrics:
        case {"judged": str(judged)}, _:
            return f"certified with the threshold by {judged}"
        case _, {"validation": {"scores": {"interval": [_, _], "images": images, **scores}}}:
            videos = scores.get("videos", images)
            of = f" of {videos} videos" if videos != images else ""
            whose = f" of {scores['country']}" if scores.get("country") else ""
            return f"fitted on {images} validation images{of}{whose}"
        case _, {"validation": {"scores": {"reason": str(reason)}}}:
            return f"not fitted: {reason}"
    return "not fitted"
