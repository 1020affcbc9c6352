"""A bundle's threshold, certified on the very file that is deployed, and written into it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from leansight.exporters.packaging.metadata import describe
from leansight.runtime.bundle import Bundle, refuse_existing, write_bundle
from leansight.runtime.decision import NEVER, DecisionPolicy, probabilities_of
from leansight.runtime.errors import DataError
from leansight.runtime.stream.reference import describe_answers
from leansight.sdk.evaluation.answers import Answers
from leansight.sdk.evaluation.guarantee import Guarantee, certify, certify_classes

CARD: Final = "README.md"
ALL: Final = "all classes"
NOT_COVERED: Final = (
    "images drawn otherwise than those that certified it: another camera, place, season or "
    "light, classes that it does not know, and several frames of one video taken together"
)


def certify_bundle(
    path: Path,
    answers: Answers,
    *,
    out: Path,
    max_error: float,
    delta: float,
    seed: int,
    per_class: bool = False,
) -> tuple[DecisionPolicy, dict[str, Guarantee]]:
    """Write the bundle at `path` once more, with certified thresholds and temperature, to `out`.

    `answers` are those of one of its models to held-out images; see `guarantee.certify`. Returns
    what decides now, and what is guaranteed of `ALL`; `per_class`, of each label that can be
    certified. The others are never given then.

    Raises:
        NoGuaranteeError: nothing can be certified; nothing is written.
        DataError: the bundle is for many labels an image.
        BundleError: something is at `out` already.

    """
    refuse_existing(out)
    if answers.task == "multilabel":
        raise DataError(f"{path} gives many labels: a guarantee is for one label an image")
    logits, classes, videos = answers.logits, answers.classes, answers.videos
    promise = {"max_error": max_error, "delta": delta}
    written: dict[str, Any]
    if per_class:
        certified = certify_classes(
            logits, classes, videos, max_error=max_error, delta=delta, seed=seed
        )
        found = {answers.labels[index]: guarantee for index, guarantee in certified.items()}
        written = promise | {"classes": {label: g.to_dict() for label, g in found.items()}}
        policy = DecisionPolicy(
            threshold=1.0,  # every label has its own
            temperature=next(iter(found.values())).temperature,
            label_thresholds={
                label: found[label].threshold if label in found else NEVER
                for label in answers.labels
            },
        )
    else:
        whole = certify(logits, classes, videos, max_error=max_error, delta=delta, seed=seed)
        found, written = {ALL: whole}, whole.to_dict()
        policy = DecisionPolicy(threshold=whole.threshold, temperature=whole.temperature)
    bundle = Bundle.load(path)
    contents = {name: bundle.read(name) for name in bundle.files}
    contents[CARD] = contents.get(CARD, b"") + _card(found, answers.name, promise).encode()
    guarantee = written | {"judged": answers.name, "not_covered": NOT_COVERED}
    probabilities = probabilities_of(logits, bundle.task, policy.temperature)
    said = describe_answers(probabilities, answers.labels, policy, bundle.task)
    reference = bundle.reference and {**bundle.reference, **said}
    shipped = replace(bundle, path=out, decision=policy, guarantee=guarantee, reference=reference)
    models = {kind: contents[f"model.{kind}"] for kind in bundle.formats}
    described = describe(models, shipped)  # the new threshold
    write_bundle(shipped, contents | {f"model.{kind}": model for kind, model in described.items()})
    return policy, found


def _card(found: Mapping[str, Guarantee], judged: str, promise: Mapping[str, float]) -> str:
    rows = "\n".join(
        f"| {name} | {g.threshold:.4f} | {g.drawn} | {g.accepted} | {g.wrong} | {g.bound:.2%} |"
        for name, g in found.items()
    )
    (temperature,) = {g.temperature for g in found.values()}
    return f"""
## What its threshold guarantees

Of its answers at most {promise["max_error"]:.1%} are wrong{" in each class" * (ALL not in found)},
with {1 - promise["delta"]:.0%} confidence: it accepts a picture where the probability is at least
the threshold (temperature {temperature:.3f}), and no class that is not in the table. Judged by
{judged}, one frame of each video.

| | threshold | videos | accepted | wrong of these | error at most |
|---|---|---|---|---|---|
{rows}

The threshold and the temperature that are named above this part hold no longer.
Not covered: {NOT_COVERED}.
"""
