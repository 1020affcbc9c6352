"""Make an int8 bundle of a float ONNX file that was trained elsewhere.

python 06_bring_an_onnx_file.py model.onnx photos/ labels.txt --out mine.bundle \\
    --mean 123.675 116.28 103.53 --std 58.395 57.12 57.375

Needs the extra `all`, photos that the network has not learnt, in one folder a class, and its
labels, one a line, in the order of its outputs. `leansight export model.onnx` does the same.
"""

import argparse
import sys
from pathlib import Path

from leansight.exporters import Promise
from leansight.runtime import Bundle, LeansightError
from leansight.sdk import DeploymentOptions, Origin, export_imported


def main() -> None:
    """Print how far torch is from the file as it came, and what int8 left of it."""
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--colour", choices=["gray", "rgb", "bgr"], default="rgb")
    parser.add_argument("--mean", type=float, nargs="+", default=[0.0], help="of pixels, 0 to 255")
    parser.add_argument("--std", type=float, nargs="+", default=[255.0], help="of pixels")
    args = parser.parse_args()
    origin = Origin(
        labels=args.labels,
        colour=args.colour,
        mean=tuple(args.mean),
        std=tuple(args.std),
        python=Path(sys.executable),  # for Keras models alone: a Python that has TensorFlow
    )
    reports = export_imported(
        args.model,
        origin,
        args.data,
        DeploymentOptions(promise=Promise(max_drop=1.0), threshold=0.5),
        out=args.out,
    )
    difference = Bundle.load(args.out).provenance["origin"]["difference"]
    print(f"torch computes what {args.model.name} computes, to {difference:.1g}")
    for report in reports["validation"].formats:
        print(f"{report.name}: {report.accuracy:.1%}, decides as torch on {report.agreement:.1%}")


if __name__ == "__main__":
    try:
        main()
    except LeansightError as error:
        sys.exit(f"06_bring_an_onnx_file: {error}")
