"""Say which of two bundles is more often right, by how much, and what each takes.

python 09_compare_two_models.py signs.bundle other.bundle held-out/

Needs the extras `evaluate` and `bench`, and images from which neither has learnt.
"""

import argparse
import sys
from pathlib import Path

from leansight.benchmarks import find_models, measure_models, synthetic_image
from leansight.runtime import LeansightError
from leansight.sdk import ask, compare_models, find_samples, load_model


def main() -> None:
    """Compare the two on the same images, then time them in turns on this machine."""
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("bundles", type=Path, nargs=2, metavar="bundle")
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=int, default=200, help="that are timed, of each model")
    args = parser.parse_args()
    samples = find_samples(args.data)
    first, second = (ask(load_model(path), args.data, samples) for path in args.bundles)
    for answers in (first, second):
        print(f"{answers.name}: {answers.right.mean():.1%} right")
    found = compare_models(first.right, second.right, first.videos)
    difference = found.difference
    verdict = {"first": args.bundles[0].name, "second": args.bundles[1].name}.get(found.better)
    print(
        f"difference: {100 * difference.mean:.1f} points ({100 * difference.low:.1f} to "
        f"{100 * difference.high:.1f}, over {difference.videos} videos): "
        + (f"{verdict} is better" if verdict else "neither is shown to be better")
    )
    for result in measure_models(find_models(args.bundles), synthetic_image(), runs=args.runs):
        print(
            f"{result.name} ({result.format}): {result.size_bytes / 1000:.1f} KB, "
            f"{result.macs / 1e6:.2f} M multiply-accumulates, "
            f"{result.latency_ms.total.p50:.2f} ms an image"
        )


if __name__ == "__main__":
    try:
        main()
    except LeansightError as error:
        sys.exit(f"09_compare_two_models: {error}")
