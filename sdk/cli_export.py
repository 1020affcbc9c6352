"""`leansight export`: from a run to a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from leansight.runtime.extras import check_installed

if TYPE_CHECKING:
    from leansight.exporters.verification import ExportReport
    from leansight.runtime.bundle import Precision


PACKAGES = ("torch", "litert_torch", "onnx", "onnxscript", "onnxruntime", "rich")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Where to write the bundle."
)
@click.option(
    "--precision", type=click.Choice(["int8", "float32"]), default="int8", show_default=True
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Accuracy, in points, that each format may lose against the trained network.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Where the images are now, if they have moved."
)
@click.option("--calibration-images", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--threshold", type=click.FloatRange(0, 1), help="Instead of the recipe's.")
def command(
    run: Path,
    out: Path,
    precision: "Precision",
    max_drop: float,
    data: Path | None,
    calibration_images: int,
    threshold: float | None,
) -> None:
    """Export RUN as a bundle with a TFLite and an ONNX file, verified on its validation images.

    Both files hold the same network: same integers, same scales. Writes nothing and exits
    with 1 if int8 lost more than --max-drop, or if the formats decide differently on more than
    0.5 % of the images.

    \b
    leansight export run/ --out signs.bundle
    leansight export run/ --out signs-float.bundle --precision float32
    """
    check_installed(*PACKAGES, extra="export")
    from leansight.sdk.exporting import export_run

    reports = export_run(
        run,
        out=out,
        precision=precision,
        max_drop=max_drop,
        data=data,
        calibration_images=calibration_images,
        threshold=threshold,
    )
    for what, report in reports.items():
        click.echo(_table(what, report))
    click.echo(f"bundle: {out}")


def _table(what: str, report: "ExportReport") -> str:
    lines = [
        f"{report.images} {what} images",
        f"  {'':16} {'accuracy':>9} {'coverage':>9} {'as torch':>9} {'largest difference':>19}",
    ]
    lines += [
        f"  {f.name:16} {f.accuracy:9.2%} {f.coverage:9.2%} {f.agreement:9.2%} "
        f"{f.largest_difference:19.4f}"
        for f in report.formats
    ]
    formats = " and ".join(report.shipped)
    lines.append(f"  {formats} decide alike on {report.agreement:.2%}")
    return "\n".join(lines)
