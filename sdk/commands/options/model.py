"""Options of `leansight stream` for the model: its format, threads, threshold, and its stand-in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError
from leansight.runtime.interpreter import FORMATS, Format
from leansight.runtime.service.last_good import LastGoodBundle
from leansight.runtime.service.outputs import Output
from leansight.runtime.stream.drift import DriftMonitor
from leansight.runtime.stream.isolated_classifier import IsolatedClassifier
from leansight.runtime.stream.reference import Reference
from leansight.sdk.commands.options.grouping import options_of
from leansight.sdk.commands.options.outputs import WrittenPath
from leansight.sdk.commands.options.trust import trust_option
from leansight.sdk.system.text import echo, printable


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How a bundle is loaded, and what takes its place when it fails."""

    model_format: Format | None
    threads: int
    threshold: float | None
    last_good: Path | None
    trust: Path | None


threads_option: Final = click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processor threads of the interpreter.",
)

model_options: Final = options_of(
    ModelOptions,
    "model",
    (
        click.option(
            "--format",
            "model_format",
            type=click.Choice(FORMATS),
            help="Which model to use where the bundle has both.",
        ),
        threads_option,
        click.option(
            "--threshold",
            type=click.FloatRange(0, 1),
            help="Least probability at which a label is given, instead of the bundle's.",
        ),
        click.option(
            "--last-good",
            type=WrittenPath(path_type=Path, dir_okay=False),
            metavar="FILE.zip",
            help="Copy BUNDLE here once it has run for ten minutes. A BUNDLE that cannot be read, "
            "or crashes three times, is replaced by this copy.",
        ),
        trust_option,
    ),
)


def open_classifier(
    bundle: Path, options: ModelOptions, *, on_trial: bool = False
) -> IsolatedClassifier:
    """Return the bundle's classifier, in a process of its own; see there for what is raised.

    Nothing stands in for a version on trial, which would seem to be healthy.
    """
    stand_in = None if on_trial else options.last_good
    return IsolatedClassifier(
        [bundle, stand_in] if stand_in and stand_in.exists() else [bundle],
        model_format=options.model_format,
        threads=options.threads,
        threshold=options.threshold,
        trust=options.trust,
    )


def open_last_good(classifier: IsolatedClassifier, options: ModelOptions) -> dict[str, Output]:
    """Return the output that copies the bundle, if there is to be one."""
    if options.last_good is None:
        return {}
    return {"last good bundle": LastGoodBundle(options.last_good, classifier)}


def open_drift(bundle: Bundle, options: ModelOptions) -> DriftMonitor | None:
    """Return what warns of drift; None, and a line on standard error, where that cannot be told."""
    if not bundle.reference:
        echo(
            f"{printable(bundle.path)} does not describe its validation images, so drift is not "
            "told: export it again",
            err=True,
        )
        return None
    try:
        reference = Reference.from_dict(bundle.reference)
    except ValueError as error:
        raise BundleError(f"{bundle.path}: its reference is damaged: {error}") from error
    return DriftMonitor(reference, compares_not_sure=options.threshold is None)
