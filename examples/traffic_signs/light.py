"""Record what networks score on the darkest and the brightest tenth of each class.

python light.py signs/ run/ with-clahe.bundle without-clahe.bundle

Every network is also compared with the first one, on the same images.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from records import update_record
from signs import Country, ask_about, load_countries, networks, parse, run_main

from leansight.runtime import read_image
from leansight.sdk import Answers, compare_models, mean_interval

LUMINANCE_BGR = np.array([0.114, 0.587, 0.299])  # ITU-R BT.601
SHARE = 0.1


def luminances(country: Country) -> NDArray[np.float64]:
    """Return the mean luminance of every crop, (N,), from 0 to 255."""
    crops = (read_image(country.root / sample.path) for sample in country.samples)
    return np.array([float(crop.mean(axis=(0, 1)) @ LUMINANCE_BGR) for crop in crops])


def parts(luminance: NDArray[np.float64], labels: NDArray[Any]) -> dict[str, NDArray[np.bool_]]:
    """Return which images (N,) are of the darkest and of the brightest tenth of their class."""
    chosen = {name: np.zeros(len(labels), bool) for name in ("darkest", "brightest")}
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        ranked = of_class[np.argsort(luminance[of_class], kind="stable")]
        tenth = math.ceil(SHARE * len(ranked))
        chosen["darkest"][ranked[:tenth]] = True
        chosen["brightest"][ranked[-tenth:]] = True
    return chosen


def compare(answers: Answers, first: Answers, chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the accuracy on the chosen images, and by how much it is above the first one's."""
    some, other = answers.only(chosen), first.only(chosen)
    above = compare_models(some.right, other.right, some.videos)
    accuracy = mean_interval(some.right, some.videos)
    return {
        "images": len(some.samples),
        "accuracy": vars(accuracy),
        "above_first": vars(above.difference),
    }


def main() -> None:
    """Measure each network in both countries."""
    args = parse(__doc__)
    rows = []
    for country in load_countries(args.signs, args.run):
        labels = np.array([sample.label for sample in country.samples])
        tenths = parts(luminances(country), labels)
        asked = [(n, ask_about(country, n)) for n in networks(args.models, both=False)]
        for network, answers in asked:
            about = {"network": network.name, "kind": network.kind, "country": country.name}
            for part, chosen in tenths.items():
                measured = compare(answers, asked[0][1], chosen)
                rows.append(about | {"part": part, "first": asked[0][0].name} | measured)
                mean = measured["accuracy"]["mean"]
                print(f"{network.name}, {country.name}, {part} tenth: {mean:.2%}")
    update_record("light", args.results, rows)


if __name__ == "__main__":
    run_main(main)
