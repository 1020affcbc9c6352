"""Find the threshold that guarantees how many of the accepted answers may be wrong.

python 08_certify_a_threshold.py signs.bundle held-out/ --max-error 0.05 --out certified.bundle

Needs the extra `evaluate`, and images by which nothing was learnt or chosen: for 0.05 of 79
videos or more, for 0.2 of 19 (photos without a video count as one each). `leansight certify`
does the same.
"""

import argparse
import sys
from pathlib import Path

from leansight.runtime import LeansightError
from leansight.sdk import ask, certify_bundle, find_samples, load_model


def main() -> None:
    """Write the bundle with its new threshold; print the guarantee, and what it costs."""
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--max-error", type=float, default=0.05, help="of what is accepted")
    parser.add_argument("--delta", type=float, default=0.05, help="chance that it does not hold")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    answers = ask(load_model(args.bundle), args.data, find_samples(args.data))
    policy, guarantees = certify_bundle(
        args.bundle,
        answers,
        out=args.out,
        max_error=args.max_error,
        delta=args.delta,
        seed=0,
    )
    for guarantee in guarantees.values():
        print(
            f"threshold {guarantee.threshold:.4f}: wrong in {guarantee.wrong} of "
            f"{guarantee.accepted} accepted videos, so in at most {guarantee.bound:.1%} of all, "
            f"at {1 - args.delta:.0%} confidence"
        )
    before, after = answers.sure.mean(), answers.with_policy(policy).sure.mean()
    print(f"kept: {after:.1%} of the images ({before:.1%} with the threshold that it had)")


if __name__ == "__main__":
    try:
        main()
    except LeansightError as error:
        sys.exit(f"08_certify_a_threshold: {error}")
