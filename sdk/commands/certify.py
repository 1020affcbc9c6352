"""`leansight certify`: a threshold with a guarantee, written into a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from leansight.runtime.extras import check_installed
from leansight.runtime.interpreter import Format
from leansight.sdk.commands.options.images import PATH, choose_samples, image_options
from leansight.sdk.commands.options.modules import EVALUATION_MODULES
from leansight.sdk.system.files import require_new
from leansight.sdk.system.text import echo

if TYPE_CHECKING:
    from leansight.sdk.data.samples import Part

_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command()
@click.argument("bundle", type=PATH)
@click.argument("data", type=PATH)
@click.option("--out", type=PATH, required=True, help="Where to write the certified bundle.")
@click.option(
    "--max-error",
    type=_SHARE,
    default=0.05,
    show_default=True,
    help="Largest share of the accepted images that may be wrong.",
)
@click.option(
    "--delta",
    type=_SHARE,
    default=0.05,
    show_default=True,
    help="Largest probability that the guarantee does not hold, because the images given were "
    "exceptional.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help="Seed of the drawing of frames. Choose it once: trying several breaks the guarantee.",
)
@click.option(
    "--per-class",
    is_flag=True,
    help="Give each class a threshold and a guarantee of its own; it needs far more videos.",
)
@image_options
def command(
    *,
    bundle: Path,
    data: Path,
    out: Path,
    max_error: float,
    delta: float,
    seed: int,
    per_class: bool,
    lists: Path | None,
    part: "Part | None",
    country: str,
    videos: str | None,
    model_format: Format | None,
) -> None:
    """Find the lowest threshold whose error is guaranteed, and write it into a copy of BUNDLE.

    DATA holds labelled images from which nothing was learnt and by which nothing was chosen. One
    frame of each video counts. Where nothing can be certified, nothing is written: an error of 5,
    2 or 1 % needs at least 59, 149 or 299 accepted videos.

    \b
    leansight certify signs.bundle held-out/ --max-error 0.02 --out certified.bundle
    """
    check_installed(*EVALUATION_MODULES, extra="evaluate")
    require_new(out)
    from leansight.sdk.deployment.certify import certify_bundle
    from leansight.sdk.evaluation.answers import ask, load_model

    model = load_model(bundle, model_format=model_format)
    samples = choose_samples(data, lists=lists, part=part, country=country, videos=videos)
    answers = ask(model, data, samples)
    policy, found = certify_bundle(
        bundle,
        answers,
        out=out,
        max_error=max_error,
        delta=delta,
        seed=seed,
        per_class=per_class,
    )
    echo(f"temperature: {policy.temperature:.4f}")
    for name, guarantee in found.items():
        echo(
            f"{name}: threshold {guarantee.threshold:.6f}; {guarantee.wrong} of "
            f"{guarantee.accepted} accepted are wrong, of {guarantee.drawn} videos, one frame "
            f"each: an error of at most {guarantee.bound:.2%}"
        )
    if per_class and (never := sorted(set(answers.labels) - set(found))):
        echo(f"never given, for want of videos or of right answers: {', '.join(never)}")
    echo(
        f"certified: at most {max_error:.2%} of accepted images wrong"
        f"{' in each class' * per_class}, at {1 - delta:.0%} confidence"
    )
    kept = answers.with_policy(policy).sure.mean()
    echo(f"kept: {kept:.4f} of all {len(answers.samples)} images")
    echo(f"bundle: {out}")
