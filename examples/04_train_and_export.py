"""Train a recipe on labelled images, and export what was learnt as an int8 bundle.

python 04_train_and_export.py photos/ --out work/
python 04_train_and_export.py signs/ --recipe traffic-signs-small --out work/

Needs the extra `all`, and `weights` for the recipe `photos`. Photos lie in one folder a class.
"""

import argparse
import sys
from pathlib import Path

from leansight.exporters import Promise
from leansight.runtime import LeansightError
from leansight.sdk import DeploymentOptions, export_run, load_recipe, train


def main() -> None:
    """Write OUT/run and OUT/model.bundle; print what was learnt, and what int8 left of it."""
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="photos", help="a name, or a path that ends in .toml")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    # An unfinished run goes on: the same line again, after a power cut.
    run = train(args.data, load_recipe(args.recipe, args.changes), out=args.out / "run")
    for name, share in run.metrics.items():
        print(f"{name}: {share:.1%}")
    bundle = args.out / "model.bundle"
    # Nothing is written where int8 loses more points of accuracy.
    options = DeploymentOptions(promise=Promise(max_drop=1.0))
    reports = export_run(run.path, options, out=bundle)
    for report in reports["validation"].formats:
        print(f"{report.name}: {report.accuracy:.1%}, decides as torch on {report.agreement:.1%}")
    print(f"bundle: {bundle}")


if __name__ == "__main__":
    try:
        main()
    except LeansightError as error:
        sys.exit(f"04_train_and_export: {error}")
