"""The README.md of a bundle: what the model is, what it scored, how to use it."""

from leansight.exporters.verification.report import CONFIDENCE, ExportReport, FormatReport
from leansight.exporters.verification.score_calibration import ScoreCalibration
from leansight.runtime.bundle import Bundle

HALF = 0.5  # the threshold up to which no label can be undecided


def model_card(bundle: Bundle, report: ExportReport) -> str:
    """Return the model card as Markdown."""
    preprocessing = bundle.preprocessing
    clahe = preprocessing.clahe
    contrast = f"CLAHE {clahe.clip_limit:g}" if clahe else "no CLAHE"
    rows = "\n".join(
        f"| {f.name} | {f.size_bytes / 1000:,.0f} KB | {f.accuracy:.2%} | {f.coverage:.2%} "
        f"| {f.agreement:.2%} | {f.accuracy_drop} | {f.coverage_drop} | {_surest_loss(f)} |"
        for f in report.formats
        if f.size_bytes
    )
    return f"""# {bundle.name}

An image classifier made with leansight (task: {bundle.task}), for {len(bundle.labels)} classes:
{", ".join(bundle.labels)}.

It takes a photo of any size (with transparent pixels on white), makes it
{preprocessing.size_text}
{preprocessing.colour} ({preprocessing.fit}, {contrast}), and {_says(bundle)}.

It computes in {bundle.precision_text}{_named_layers(bundle)}.

    leansight classify . photo.jpg

## What was verified

On {report.images} images that the network was not {_trained(bundle)} on. {_figures(bundle)}

| file | size | accuracy | coverage | agreement | accuracy lost | coverage lost | surest loss |
|---|---|---|---|---|---|---|---|
{rows}

Lost: in points against torch, and the interval at {CONFIDENCE:.0%}. {report.tested}
{_warnings(report)}
{_agreement(report)}{_scores(report.scores)}It knows only pictures like those it was
trained and verified on: another country, camera or light can make it wrong, and sure of it.
{_notes(bundle)}"""


def _named_layers(bundle: Bundle) -> str:
    return f" ({', '.join(f'`{name}`' for name in bundle.float_layers)})" * bool(
        bundle.float_layers
    )


def _notes(bundle: Bundle) -> str:
    """Return what the maker of the bundle has to say, such as whose the images are."""
    notes = bundle.provenance.get("notes")
    return f"\n{notes}\n" if notes else ""


def _says(bundle: Bundle) -> str:
    threshold = bundle.decision.threshold
    if bundle.task == "classification":
        return f'says a label, or "not sure"\nbelow a probability of {threshold:g}{_others(bundle)}'
    return f"says any number of labels:\nthose with a probability of at least {threshold:g}" + (
        f'; "not sure" if one lies between {1 - threshold:g} and that' * (threshold > HALF)
        + _others(bundle)
    )


def _others(bundle: Bundle) -> str:
    own = bundle.decision.label_thresholds
    return "".join(f", {label}: {threshold:g}" for label, threshold in own.items())


def _trained(bundle: Bundle) -> str:
    """Say what is known: of a network from elsewhere not what it was trained on."""
    return "calibrated" if "origin" in bundle.provenance else "trained"


def _figures(bundle: Bundle) -> str:
    if bundle.task == "classification":
        return (
            "Coverage is the share of images\nthat get a label; agreement the share decided as "
            "torch decides them."
        )
    return (
        "Accuracy is the share of all labels\nof all images that is right; coverage the share "
        "of images with no label undecided; agreement\nthe share of labels given as torch gives "
        "them."
    )


def _surest_loss(found: FormatReport) -> str:
    """Name the class of which it is surest that it is worse than in torch."""
    if not found.class_losses:
        return "no class"
    loss = found.class_losses[0]
    return (
        f"{loss.label}: {100 * loss.drop:.1f} points, {loss.lost} lost and {loss.gained} gained "
        f"of {loss.images} (p = {loss.p_corrected:.2g})"
    )


def _warnings(report: ExportReport) -> str:
    """List what the images cannot tell, an item each."""
    return "".join(f"\n- {warning}." for warning in report.warnings) + "\n" * bool(report.warnings)


def _scores(scores: ScoreCalibration | None) -> str:
    """Say what the temperature is, and what thresholds keep; an empty text of other images."""
    if scores is None:
        return ""
    rows = "".join(
        f"| {report.threshold:g} | {' | '.join(report.shares)} |\n" for report in scores.thresholds
    )
    return f"""## What its scores are worth

Scores have {scores}.
{scores.scored}

| threshold | kept | right of these |
|---|---|---|
{rows}
In brackets the interval at {CONFIDENCE:.0%}, over videos where frames share one. These images also
chose the network among those that its training went through.

"""


def _agreement(report: ExportReport) -> str:
    if len(report.shipped) <= 1:
        return ""
    return f"The formats decide alike on {report.agreement:.2%} of the {report.decided}.\n\n"
