"""Read what a bundle or a run scores on labelled images, figure by figure.

python 07_read_an_evaluation.py signs.bundle held-out/

Needs the extra `evaluate` and images that were not learnt from. `leansight evaluate` writes
the same figures as report.json, with a page that shows them.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from leansight.runtime import LeansightError
from leansight.sdk import ask, find_samples, load_model, measure_report


def main() -> None:
    """Print accuracy, the weakest class, what is confused, and what thresholds keep."""
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("model", type=Path, help="a bundle or a run")
    parser.add_argument("data", type=Path)
    args = parser.parse_args()
    answers = ask(load_model(args.model), args.data, find_samples(args.data))
    report = measure_report(answers)
    accuracy = report["accuracy_interval"]["all"]
    print(
        f"{report['model']}: {accuracy['mean']:.1%} right (95 % interval {accuracy['low']:.1%} to "
        f"{accuracy['high']:.1%}, {report['images']} images of {report['videos']} videos)"
    )
    shown = [c for c in report["metrics"]["classes"] if c["images"]]
    weakest = min(shown, key=lambda c: c["recall"])
    print(f"weakest: {weakest['label']}, found in {weakest['recall']:.1%} of its images")
    mistaken = np.array(report["confusion"])  # (true, predicted)
    np.fill_diagonal(mistaken, 0)
    if mistaken.any():
        true, said = np.unravel_index(mistaken.argmax(), mistaken.shape)
        count = mistaken[true, said]
        print(f"confused most: {answers.labels[true]} as {answers.labels[said]}, {count} times")
    for mistake in report["mistakes"][:3]:
        print(f"sure and wrong: {mistake['path']} as {mistake['predicted'][0]}")
    for kept in report["selective"]["all"]:
        right = "" if kept["accuracy"] is None else f", {kept['accuracy']:.1%} of them right"
        print(f"threshold {kept['threshold']}: {kept['share']:.1%} kept{right}")


if __name__ == "__main__":
    try:
        main()
    except LeansightError as error:
        sys.exit(f"07_read_an_evaluation: {error}")
