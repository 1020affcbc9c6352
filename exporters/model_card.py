"""The README.md of a bundle: what the model is, what it scored, how to use it."""

from leansight.exporters.verification import ExportReport
from leansight.runtime.bundle import Bundle


def model_card(bundle: Bundle, report: ExportReport) -> str:
    """Return the model card as Markdown."""
    preprocessing = bundle.preprocessing
    clahe = preprocessing.clahe
    contrast = f"CLAHE {clahe.clip_limit:g}" if clahe else "no CLAHE"
    rows = "\n".join(
        f"| {f.name} | {f.size_bytes / 1000:,.0f} KB | {f.accuracy:.2%} | {f.coverage:.2%} "
        f"| {f.agreement:.2%} | {f.worst_class} ({-100 * f.worst_class_drop:+.1f} points) |"
        for f in report.formats
        if f.size_bytes
    )
    return f"""# {bundle.name}

An image classifier made with leansight, for {len(bundle.labels)} classes:
{", ".join(bundle.labels)}.

It takes a photo of any size, makes it {preprocessing.size}×{preprocessing.size}
{preprocessing.colour} ({preprocessing.fit}, {contrast}), and says a label, or "not sure"
below a probability of {bundle.decision.threshold:g}.

    leansight classify . photo.jpg

## What was verified

On {report.images} images that the network was not trained on. Coverage is the share of images
that get a label; agreement the share decided as torch decides them.

| file | size | accuracy | coverage | agreement | worst class against torch |
|---|---|---|---|---|---|
{rows}

{_agreement(report)}It knows only pictures like those it was trained and verified on: another
country, camera or light can make it wrong, and sure of it.
"""


def _agreement(report: ExportReport) -> str:
    if len(report.shipped) < 2:  # noqa: PLR2004 -- nothing to compare
        return ""
    return f"The formats decide alike on {report.agreement:.2%} of them.\n\n"
