"""Draw the page's two pictures from the records: the recall of each class, and the Pareto front.

python pictures.py --radar signs resnet-custom

The records come from accuracy.py, `leansight bench` and `scripts/check-pi`.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from records import RESULTS, read_record

from leansight.sdk import Objective, PlotPoint, write_pareto_picture

IMAGES = Path(__file__).parents[2] / "docs" / "images"
COUNTRIES = ("Germany", "Belgium")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe and Ito's
OBJECTIVES = (
    *(
        Objective(
            name=country,
            field=country,
            direction="maximize",
            what=f"right, {country}",
            unit="%",
            scale=100,
        )
        for country in COUNTRIES
    ),
    Objective(
        name="Pi 5",
        field="instructions",
        direction="minimize",
        what="instructions of an inference, Pi 5 core",
        unit="M",
        scale=1e-6,
    ),
    Objective(
        name="size", field="size", direction="minimize", what="TFLite file", unit="KB", scale=1e-3
    ),
)


def draw_radar(rows: Sequence[dict[str, Any]], names: Sequence[str], file: Path) -> None:
    """Draw the recall of every class as a radar picture, a panel for each country.

    Where a country has no sign of a class there is a gap.
    """
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "leansight"})
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    recalls = {
        country: {name: first_row(rows, name, country)["recall"] for name in names}
        for country in COUNTRIES
    }
    shown = [
        share for drawn in recalls.values() for one in drawn.values() for share in one.values()
    ]
    lowest = min(share for share in shown if share is not None)
    for place, (country, drawn) in enumerate(recalls.items(), start=1):
        axes: Any = figure.add_subplot(1, 2, place, projection="polar")
        for (name, recall), colour in zip(drawn.items(), COLOURS, strict=False):
            around = np.linspace(0, 2 * np.pi, len(recall) + 1)
            shares = [np.nan if share is None else 100 * share for share in recall.values()]
            label = name if place == 1 else ""
            axes.plot(around, [*shares, shares[0]], ".-", color=colour, label=label)
            axes.set_xticks(around[:-1], list(recall), fontsize=7)
        axes.set_ylim(max(0, 100 * lowest - 5), 100)
        axes.set_title(f"{country}: recall, %", fontsize=10)
        axes.tick_params(axis="x", pad=11)
        axes.tick_params(axis="y", labelsize=6)
    figure.legend(loc="outside lower center", ncols=len(names), frameon=False)
    figure.savefig(file, metadata={"Date": None})


def first_row(rows: Sequence[dict[str, Any]], name: str, country: str) -> dict[str, Any]:
    """Return what was recorded of a network's first file in a country."""
    for row in rows:
        if (row["network"], row["country"]) == (name, country):
            return row
    raise SystemExit(f"pictures: accuracy.json has no {name} in {country}: run accuracy.py")


def pareto_points(results: Path) -> list[PlotPoint]:
    """Return the networks of which accuracy, size and instructions are all recorded."""
    rows = read_record("accuracy", results)
    counted = json.loads((results / "instructions.json").read_text())
    points = list[PlotPoint]()
    for bench in read_record("bench", results):
        name = bench["name"].removesuffix(".bundle")
        if bench["format"] != "tflite" or f"{name}, Pi 5" not in counted:
            continue
        values = {c: first_row(rows, name, c)["accuracy"]["mean"] for c in COUNTRIES}
        values["size"] = bench["size_bytes"]
        values["instructions"] = counted[f"{name}, Pi 5"]["steps"]["inference"]
        number = len(points) + 1
        points.append(PlotPoint(values=values, group=bench["precision"], text=name, number=number))
    return points


def main() -> None:
    """Draw both into docs/images."""
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("--radar", nargs="+", required=True, help="networks in the radar picture")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures")
    args = parser.parse_args()
    draw_radar(
        read_record("accuracy", args.results), args.radar, args.out / "traffic-signs-radar.svg"
    )
    write_pareto_picture(
        pareto_points(args.results),
        OBJECTIVES,
        args.out / "traffic-signs-pareto.png",
        title="Traffic signs: what accuracy takes",
        note="Held-out German videos, and Belgian signs that nothing was learnt or chosen by. "
        "Instructions are counted on an emulated core: work, not time.",
    )


if __name__ == "__main__":
    main()
