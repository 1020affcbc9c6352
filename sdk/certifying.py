"""A bundle's threshold, certified on the very file that is deployed, and written into it."""

from dataclasses import replace
from pathlib import Path

from leansight.runtime.bundle import Bundle, refuse_existing, write_bundle
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.errors import DataError
from leansight.sdk.evaluation import Answers
from leansight.sdk.guarantee import Guarantee, certify

CARD = "README.md"
NOT_COVERED = (
    "images drawn otherwise than those that certified it: another camera, place, season or "
    "light, classes that it does not know, and several frames of one video taken together"
)


def certify_bundle(
    path: Path, answers: Answers, *, out: Path, max_error: float, delta: float, seed: int
) -> Guarantee:
    """Write the bundle at `path` once more, with a certified threshold and temperature, to `out`.

    `answers` are those of one of its models to held-out images; see `guarantee.certify`.

    Raises:
        NoGuaranteeError: nothing can be certified; nothing is written.
        DataError: the bundle is for many labels an image.
        BundleError: something is at `out` already.

    """
    refuse_existing(out)
    if answers.task == "multilabel":
        raise DataError(f"{path} gives many labels: a guarantee is for one label an image")
    found = certify(
        answers.logits,
        answers.classes,
        answers.videos,
        max_error=max_error,
        delta=delta,
        seed=seed,
    )
    bundle = Bundle.load(path)
    contents = {name: bundle.read(name) for name in bundle.files}
    contents[CARD] = contents.get(CARD, b"") + _card(found, answers.name).encode()
    certified = replace(
        bundle,
        path=out,
        decision=DecisionPolicy(threshold=found.threshold, temperature=found.temperature),
        guarantee=found.to_dict() | {"judged": answers.name, "not_covered": NOT_COVERED},
    )
    write_bundle(certified, contents)
    return found


def _card(found: Guarantee, judged: str) -> str:
    return f"""
## What its threshold guarantees

From a probability of {found.threshold:.4f} on (temperature {found.temperature:.3f}) at most
{found.max_error:.1%} of its answers are wrong, with {1 - found.delta:.0%} confidence: of
{found.drawn} videos, one frame each, {found.accepted} were accepted by {judged}, and
{found.wrong} of these were wrong. Not covered: {NOT_COVERED}.
"""
