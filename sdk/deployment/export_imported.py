"""Export a network that was made elsewhere: a file, or a name of timm or torchvision."""

from collections.abc import Sequence
from pathlib import Path

from leansight.exporters.export import ExportImages
from leansight.exporters.verification.report import ExportReport
from leansight.runtime.bundle import Bundle, refuse_existing
from leansight.runtime.errors import DataError
from leansight.sdk.data.dataset import show
from leansight.sdk.data.layouts.detect import find_data, find_labels
from leansight.sdk.data.leakage import check_twins, check_videos, find_twins
from leansight.sdk.data.samples import Sample, Split, draw
from leansight.sdk.data.splits import split_samples
from leansight.sdk.deployment.export_run import (
    export_with_report,
    images_of,
    plan_report,
    prepare_report,
)
from leansight.sdk.deployment.file_comparison import require_same
from leansight.sdk.deployment.imported_network import ImportedNetwork, Origin, read_network
from leansight.sdk.deployment.options import DeploymentOptions
from leansight.sdk.deployment.reference import describe_photos
from leansight.sdk.deployment.travelling import read_golden, read_notes
from leansight.sdk.runs.images import read_part
from leansight.sdk.system.console import tell
from leansight.sdk.system.progress import step_bars
from leansight.sdk.system.text import first_five


def export_imported(
    path: Path,
    origin: Origin,
    data: Path,
    options: DeploymentOptions,
    *,
    out: Path,
    report: Path | None = None,
) -> dict[str, ExportReport]:
    """Export the network at `path` as a bundle at `out`; see `leansight.exporters.export_network`.

    The images at `data` are split by whole videos, as for a training; ranges are found on one
    side, the other says what was lost. It must hold images that the network has not learnt, or
    its accuracy flatters it; for the same reason a temperature is fitted only where the options
    ask for one. `report` is as for `leansight.sdk.deployment.export_run.export_run`.

    Raises:
        DataError: labels, images and network do not belong together; `report` is there already.
        ConversionError: the network cannot be read, or torch does not give what the file gives.

    """
    refuse_existing(out)
    prepare_report(report)
    given = read_network(path, origin, options.threshold)
    split = _split(data, given)
    drawn = draw(split.train, options.calibration_images)
    images = _images(data, split, drawn, given, options)
    with step_bars() as progress:
        difference = require_same(
            given.classifier,
            given.module,
            given.origin.normalisation,
            images.validation.pixels,
            progress,
        )
        draft = Bundle(
            path=out,
            name=given.recipe.name,
            task=given.recipe.task,
            labels=given.labels,
            preprocessing=given.recipe.preprocessing,
            decision=given.recipe.decision,
            precision=options.precision,
            provenance=given.provenance(split, len(drawn), difference) | read_notes(options.card),
            reference=describe_photos(data, split.validation),
        )
        return export_with_report(
            given.module,
            draft,
            images,
            plan_report(report, data, split.validation),
            options,
            progress,
        )


def _require_known(
    samples: Sequence[Sample], labels: Sequence[str], source: str, data: Path
) -> None:
    """Raise DataError for images of other classes; say which labels no image shows."""
    shown = find_labels(samples)
    if strange := [label for label in shown if label not in labels]:
        raise DataError(
            f"{data} has images of {first_five(strange)}, which {source} does not name: it names "
            f"{first_five(labels)}"
        )
    if absent := [label for label in labels if label not in shown]:
        tell(f"{data} has no image of {first_five(absent)}: nothing is verified of them")


def _split(data: Path, given: ImportedNetwork) -> Split:
    settings = given.recipe.split
    found = find_data(data, given.recipe.data)
    show(found)
    samples = found.samples
    _require_known(samples, given.labels, given.origin.labels_source, data)
    twins = find_twins(data, samples)
    split = split_samples(samples, settings, twins=twins)
    check_videos(split, by=settings.by)
    check_twins(split, [[samples[i] for i in group] for group in twins])
    return split


def _images(
    data: Path,
    split: Split,
    drawn: Sequence[Sample],
    given: ImportedNetwork,
    options: DeploymentOptions,
) -> ExportImages:
    return ExportImages(
        calibration=read_part(given, data, drawn, "calibration").pixels,
        validation=read_part(given, data, split.validation, "validation"),
        test=read_part(given, data, split.test, "test") if split.test else None,
        golden=read_golden(options.golden, data, split.validation),
        videos=[sample.group for sample in split.validation],
        scored=images_of(split.validation, options.temperature_country),
        scored_country=options.temperature_country or "",
        not_held_out="the network may have learnt these images",
    )
