"""Export a run: its images, its network and its labels handed to the exporters."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from leansight.exporters.export import ExportImages, export_network
from leansight.exporters.options import ExportOptions, ExportRefusedError, NextEffort, StepProgress
from leansight.exporters.verification.report import ExportReport, Verification
from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import DataError
from leansight.sdk.data.samples import Sample, Split, draw
from leansight.sdk.deployment.options import DeploymentOptions
from leansight.sdk.deployment.reference import describe_photos
from leansight.sdk.deployment.travelling import read_golden, read_notes
from leansight.sdk.runs.images import find_images, read_part, show_lists
from leansight.sdk.runs.run import Run, RunConfig
from leansight.sdk.system.allocator import keep_freed_memory
from leansight.sdk.system.console import tell
from leansight.sdk.system.progress import step_bars

TRAINING_IMAGES = 4096  # for quantization-aware training, where calibration is not enough
VERSIONED_PACKAGES = (
    "leansight",
    "torch",
    "litert-torch",
    "ai-edge-quantizer",
    "onnx",
    "onnxruntime",
)


def export_run(
    path: Path,
    options: DeploymentOptions,
    *,
    out: Path,
    data: Path | None = None,
    report: Path | None = None,
) -> dict[str, ExportReport]:
    """Export the run at `path` as a bundle at `out`; see `leansight.exporters.export_network`.

    Calibration images are drawn from the training images; `data` replaces the folder that the
    run remembers. `report` is a folder for what the files, float ones
    as well, say beside torch, also of files that are refused.

    Raises:
        DataError: the run is not finished, its images have gone, `report` is there already, or a
            temperature is to be fitted on images that the run has learnt, or of a country without.

    """
    prepare_report(report)
    run = Run.load(path)
    learnt = RunConfig.load(path).options.everything
    if learnt and options.temperature == "fit":
        raise DataError(
            f"{path} has learnt its validation images: a temperature fitted on them would be "
            "wrong. Give a number",
            parameter="temperature",
        )
    root = find_images(run, data)
    split = run.split()
    show_lists(run, root, split)
    drawn = draw(split.train, options.calibration_images)
    images = ExportImages(
        calibration=read_part(run, root, drawn, "calibration").pixels,
        validation=read_part(run, root, split.validation, "validation"),
        test=read_part(run, root, split.test, "test") if split.test else None,
        golden=read_golden(options.golden, root, split.validation),
        training=lambda: (
            read_part(run, root, draw(split.train, TRAINING_IMAGES), "training").pixels
        ),
        videos=[sample.group for sample in split.validation],
        scored=images_of(split.validation, options.temperature_country),
        scored_country=options.temperature_country or "",
        not_held_out="the network has learnt its validation images" * learnt,
    )
    draft = replace(
        _draft(run, split, len(drawn), options, out),
        reference=describe_photos(root, split.validation),
    )
    with step_bars() as progress:
        return export_with_report(
            run.network(),
            draft,
            images,
            plan_report(report, root, split.validation),
            options,
            progress,
        )


@dataclass(frozen=True, kw_only=True)
class ReportPlan:
    """A folder for a report of parity, and the validation images in it, which are at `root`."""

    folder: Path
    root: Path
    samples: Sequence[Sample]


def prepare_report(folder: Path | None) -> None:
    """Raise DataError if a folder for a report is taken, before any work is done for it."""
    if folder is not None:
        from leansight.sdk.deployment.parity import refuse_folder

        refuse_folder(folder)


def images_of(samples: Sequence[Sample], country: str | None) -> NDArray[np.bool_] | None:
    """Return which validation images are of the country, (N,); None, for all, without one."""
    if country is None:
        return None
    chosen = np.array([sample.country == country for sample in samples], bool)
    if not chosen.any():
        known = ", ".join(sorted({sample.country for sample in samples} - {""})) or "none"
        raise DataError(
            f"no validation image is of {country}: the countries are {known}",
            parameter="temperature_country",
        )
    return chosen


def plan_report(folder: Path | None, root: Path, samples: Sequence[Sample]) -> ReportPlan | None:
    """Return the plan of a report, where one is wanted."""
    return None if folder is None else ReportPlan(folder=folder, root=root, samples=samples)


def export_with_report(
    network: nn.Module,
    draft: Bundle,
    images: ExportImages,
    plan: ReportPlan | None,
    options: ExportOptions,
    progress: StepProgress,
) -> dict[str, ExportReport]:
    """Export; write what the files that were tried last say beside torch, if that is planned.

    Of refused files as well: the message says where it is. A network that is refused before it
    is converted has none.
    """
    keep_freed_memory()
    tried = deque[Verification](maxlen=1)
    try:
        reports = export_network(
            network,
            draft,
            images,
            options,
            progress=progress,
            watch=tried.append,
            announce=announce,
            watch_skill=lambda skill: tell(f"validation: {skill}"),
            float_files=plan is not None,
        )
    except ExportRefusedError as error:
        if plan is None or not tried:  # refused before there were files
            raise
        page = _write_report(plan, draft, tried[-1], refusal=str(error))
        raise ExportRefusedError(f"{error} but {page}") from error
    if plan is not None:
        _write_report(plan, draft, tried[-1])
    return reports


def announce(effort: NextEffort) -> None:
    """Say on standard error what is tried next, why, and what it is expected to cost."""
    minutes = effort.expected_seconds / 60
    duration = f"{minutes:.1f} minutes" if minutes >= 1 else "less than a minute"
    tell(f"{effort.refusal}.")
    tell(f"Next effort: {effort.effort}, which is expected to take {duration}.")


def _write_report(
    plan: ReportPlan, draft: Bundle, verified: Verification, refusal: str = ""
) -> Path:
    """Write the report; return its page."""
    from leansight.sdk.deployment.parity import PAGE, Parity, write_parity

    parity = Parity(bundle=draft, verified=verified, samples=plan.samples, refusal=refusal)
    write_parity(parity, plan.root, plan.folder)
    return plan.folder / PAGE


def _draft(
    run: Run, split: Split, calibration: int, options: DeploymentOptions, out: Path
) -> Bundle:
    """Describe the bundle that is to be made, with so many `calibration` images."""
    decision = run.recipe.decision
    if options.threshold is not None:
        decision = replace(decision, threshold=options.threshold, label_thresholds={})
    return Bundle(
        path=out,
        name=run.recipe.name,
        task=run.recipe.task,
        labels=run.labels,
        preprocessing=run.recipe.preprocessing,
        decision=decision,
        precision=options.precision,
        provenance={
            "recipe": run.recipe.to_dict(),
            "images": {
                "train": len(split.train),
                "validation": len(split.validation),
                "test": len(split.test),
                "calibration": calibration,
            },
            "versions": package_versions(),
            **read_notes(options.card),
        },
    )


def package_versions() -> dict[str, str]:
    """Return the version of each package that has a part in what an export writes."""
    return {package: version(package) for package in VERSIONED_PACKAGES}
