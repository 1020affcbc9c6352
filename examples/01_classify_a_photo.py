"""Say what photos show: a label with its probability, or "not sure".

python 01_classify_a_photo.py signs.bundle photo.jpg other.jpg

Needs the extra `pi`, and a bundle, which `leansight export` writes.
"""

import argparse
import sys
from pathlib import Path

from leansight import runtime


def main() -> None:
    """Print one line for each photo, with the labels that are most probable."""
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path, nargs="+", metavar="photo")
    args = parser.parse_args()
    classifier = runtime.Classifier.load(args.bundle)
    for photo, prediction in classifier.classify_batch(args.photos):
        none = "no label" if prediction.status == "sure" else "not sure"
        answer = ", ".join(prediction.labels) or none
        top = ", ".join(f"{label} {probability:.1%}" for label, probability in prediction.top)
        print(f"{photo}: {answer} ({top})")


if __name__ == "__main__":
    try:
        main()
    except runtime.LeansightError as error:
        sys.exit(f"01_classify_a_photo: {error}")
