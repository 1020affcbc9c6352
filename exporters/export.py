"""From a trained network to a verified bundle, or to a refusal."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from leansight.exporters.conversion.convert import FloatGraphs, convert, example_image
from leansight.exporters.conversion.inference import predict
from leansight.exporters.errors import ConversionError
from leansight.exporters.importers.normalisation import NormalisedNetwork
from leansight.exporters.int8.efforts.attempts import attempts
from leansight.exporters.int8.efforts.cost import Stopwatch
from leansight.exporters.options import (
    Effort,
    ExportOptions,
    ExportRefusedError,
    ImportMistakeError,
    NextEffort,
    Promise,
    StepProgress,
)
from leansight.exporters.packaging.golden import golden_file
from leansight.exporters.packaging.metadata import describe
from leansight.exporters.packaging.model_card import model_card
from leansight.exporters.verification.float_layers import names_of_float_layers
from leansight.exporters.verification.import_mistakes import Trial, find_remedy, is_suspicious
from leansight.exporters.verification.refusal import find_refusal, find_warnings, least_max_drop
from leansight.exporters.verification.report import ExportReport, LabelledImages, Verification
from leansight.exporters.verification.score_calibration import ScoreCalibration, calibrate_scores
from leansight.exporters.verification.skill import Skill, measure_skill
from leansight.exporters.verification.verifier import Verifier
from leansight.runtime.bundle import Bundle, refuse_existing, write_bundle
from leansight.runtime.interpreter import Format
from leansight.runtime.preprocessing import Image


@dataclass(frozen=True, kw_only=True)
class ExportImages:
    """The images that an export needs.

    `calibration` (N, H, W, C) uint8 finds the ranges and comes from training; `validation`
    decides whether the bundle is written; `test` is only reported; `golden` are a few photos
    as a camera gives them, (H, W, 3) uint8 BGR, that travel with the bundle. `training` gives
    more images of training, for quantization-aware training.

    `videos` names the video of each validation image, where frames share one; `scored` (N,) chooses
    those of `scored_country`, on which alone the scores are calibrated, None all; `not_held_out`
    says why the network may have learnt the validation images: then no temperature is fitted on
    them.
    """

    calibration: Image
    validation: LabelledImages
    test: LabelledImages | None = None
    golden: Sequence[Image] = ()
    training: Callable[[], Image] | None = None
    videos: Sequence[str] = ()
    scored: NDArray[np.bool_] | None = None
    scored_country: str = ""
    not_held_out: str = ""


def export_network(
    network: nn.Module,
    draft: Bundle,
    images: ExportImages,
    options: ExportOptions,
    *,
    progress: StepProgress,
    watch: Callable[[Verification], None] = lambda _: None,
    announce: Callable[[NextEffort], None] = lambda _: None,
    watch_skill: Callable[[Skill], None] = lambda _: None,
    float_files: bool = False,
) -> dict[str, ExportReport]:
    """Write the bundle that `draft` describes; return what was verified, by set of images.

    int8 files are made with more and more effort, until they keep the promise. Before that, a
    network that seems to have learnt nothing is refused; for one that `normalised` returned, what
    people get wrong is tried, if its accuracy on the validation images is below 95 %.

    Args:
        network: takes (N, C, H, W) float32 of (pixel - 128) / 128, returns logits (N, K).
        draft: path, name, labels, task, preprocessing, decision, precision and provenance; of its
            reference what the photos tell, to which the answers are added; the temperature of its
            decision holds where none can be fitted.
        images: see `ExportImages`.
        options: what each file may lose, and how int8 files are made.
        progress: told of every step.
        watch: given what is verified on the validation images, of each try.
        announce: told of each dearer effort before it is made, with what it is expected to cost.
        watch_skill: given the network's accuracy beside chance, before anything is converted.
        float_files: whether float files are run on the images as well where int8 is shipped.
            They take as long as all the rest, and tell which conversion a difference came with.

    Raises:
        ExportRefusedError: the network has learnt nothing, or the promise is not kept; nothing is
            written.
        ImportMistakeError: with another normalisation or order of the labels it would be right.
        BundleError: something is at the bundle's path already.
        ConversionError: the network does not give logits (N, K) for K labels, or the two formats
            cannot be made one network.

    """
    refuse_existing(draft.path)
    _require_logits(network, draft)
    exact = _require_skill(network, draft, images.validation, options, progress, watch_skill)
    progress("converting to ONNX and TFLite", 0, 1)
    with (clock := Stopwatch()).time("converting"):
        floats = convert(network, draft.preprocessing)
    progress("converting to ONNX and TFLite", 1, 1)

    def verifier(shown: LabelledImages, exact: NDArray[np.float32] | None = None) -> Verifier:
        return Verifier(
            network, floats, draft, shown, progress, float_files=float_files, exact=exact
        )

    refusals: dict[str, str] = {}

    def expect(effort: Effort, seconds: float) -> None:
        *_, refusal = refusals.values()
        announce(NextEffort(effort=effort, refusal=refusal, expected_seconds=seconds))

    made = _int8_or_float(floats, draft, images, options, progress, clock, expect)
    bundle, files, report = _keep(
        options, made, draft, images, verifier(images.validation, exact), watch, refusals
    )
    reports = {"validation": report}
    if images.test is not None:
        test = verifier(images.test)
        tested = test.compare(files, test.run(files), bundle.decision).report
        reports["test"] = replace(_judge(tested, options.promise), float_layers=report.float_layers)
    _write(bundle, files, reports, images.golden)
    return reports


def _write(
    draft: Bundle,
    files: Mapping[Format, bytes],
    reports: Mapping[str, ExportReport],
    golden: Sequence[Image],
) -> None:
    """Write the bundle: both files, golden photos and the model card."""
    metrics = {what: report.to_dict() for what, report in reports.items()}
    float_layers = reports["validation"].float_layers
    reference = {"groups": reports["validation"].images} | dict(draft.reference)
    bundle = replace(
        draft,
        metrics=metrics,
        float_layers=float_layers,
        reference=reference | dict(reports["validation"].answers),
    )
    contents = {f"model.{kind}": model for kind, model in files.items()}
    contents["golden.npz"] = golden_file(bundle, files, golden)
    contents["README.md"] = model_card(bundle, reports["validation"]).encode()
    write_bundle(bundle, contents)


@torch.no_grad()
def _require_logits(network: nn.Module, draft: Bundle) -> None:
    logits: object = network.eval()(example_image(draft.preprocessing, 2))
    given = tuple(logits.shape) if isinstance(logits, torch.Tensor) else f"a {type(logits)}"
    if given != (wanted := (2, len(draft.labels))):
        raise ConversionError(
            f"the network gives {given} for 2 images: with {wanted[1]} labels logits of {wanted} "
            "are expected"
        )


def _require_skill(
    network: nn.Module,
    draft: Bundle,
    shown: LabelledImages,
    options: ExportOptions,
    progress: StepProgress,
    watch_skill: Callable[[Skill], None],
) -> NDArray[np.float32]:
    """Return torch's logits (N, K); refuse a network that is no better than guessing."""

    def step(done: int, total: int) -> None:
        progress("verifying torch float32", done, total)

    # A copy: what has predicted cannot be converted any more (its weights have changed their kind).
    logits = predict(copy.deepcopy(network), shown.pixels, step)
    skill = measure_skill(logits, shown.classes, draft.labels, draft.task)
    watch_skill(skill)
    if options.accept_untrained:
        return logits
    if isinstance(network, NormalisedNetwork) and is_suspicious(skill):
        trial = Trial(shown, logits, draft.labels, draft.task)
        if found := find_remedy(network, trial, progress):
            raise ImportMistakeError(f"{skill}. {found}", found.remedy.settings)
    if skill.doubt:
        raise ExportRefusedError(
            f"{skill.doubt}; {skill}. Nothing was written: train it longer, give more images, or "
            "accept it as it is",
            parameter="accept_untrained",
        )
    return logits


def _keep(
    options: ExportOptions,
    made: Iterator[tuple[Effort, Mapping[Format, bytes]]],
    draft: Bundle,
    images: ExportImages,
    verifier: Verifier,
    watch: Callable[[Verification], None],
    refusals: dict[str, str],
) -> tuple[Bundle, Mapping[Format, bytes], ExportReport]:
    """Return the first files that keep the promise, with their report; `refusals` are noted.

    The bundle is `draft` with the temperature that was fitted on what these files say.
    """
    least: tuple[float, str] = (math.inf, "")
    for tried, plain in made:
        logits = verifier.run(describe(plain, draft))
        first, *_ = plain  # TFLite, where the formats differ: what a Pi runs
        scores = _calibrate(logits[verifier.name_of(first)], draft, images, options)
        decision = replace(draft.decision, temperature=scores.temperature)
        bundle = replace(draft, decision=decision)
        files = describe(plain, bundle)
        verified = verifier.compare(files, logits, decision)
        judged = _judge(verified.report, options.promise)
        left = names_of_float_layers(files) if draft.precision == "int8" else ()
        report = replace(
            judged, effort=tried, refusals=dict(refusals), float_layers=left, scores=scores
        )
        watch(replace(verified, report=report))
        refusal = find_refusal(report, options.promise)
        if refusal is None:
            return bundle, files, report
        refusals[tried] = refusal
        least = min(least, (least_max_drop(report, options.promise), tried))
    points, effort = least
    known = f", of which {effort} keeps a max_drop of {points:g}" if math.isfinite(points) else ""
    raise ExportRefusedError(
        f"{refusal}. Tried: {', '.join(refusals)}{known}. A longer training or more images may "
        "help. Nothing was written"
    )


def _calibrate(
    logits: NDArray[np.float32], draft: Bundle, images: ExportImages, options: ExportOptions
) -> ScoreCalibration:
    """Fit the temperature, unless another is wanted or the images are not held out."""
    temperature, reason = draft.decision.temperature, ""
    match options.temperature:
        case None:
            reason = images.not_held_out
        case float() | int() as number:
            temperature, reason = number, "it was given"
    videos = np.array(images.videos or [str(i) for i in range(len(logits))])
    scored = slice(None) if images.scored is None else images.scored
    return calibrate_scores(
        logits[scored],
        images.validation.classes[scored],
        videos[scored].tolist(),
        draft.task,
        temperature=temperature,
        unfitted=reason,
        country=images.scored_country,
    )


def _judge(report: ExportReport, promise: Promise) -> ExportReport:
    """Return a report with the promise that it is held to, and what its images cannot tell."""
    return replace(report, promise=promise, warnings=find_warnings(report, promise))


def _int8_or_float(
    floats: FloatGraphs,
    draft: Bundle,
    images: ExportImages,
    options: ExportOptions,
    progress: StepProgress,
    clock: Stopwatch,
    expect: Callable[[Effort, float], None],
) -> Iterator[tuple[Effort, Mapping[Format, bytes]]]:
    if draft.precision == "float32":
        yield "calibration", floats.files
        return
    training = images.training or (lambda: images.calibration)
    yield from attempts(
        floats,
        draft.preprocessing,
        images.calibration,
        training,
        options,
        progress,
        watch=clock,
        expect=expect,
    )
