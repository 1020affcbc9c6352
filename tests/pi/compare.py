"""Compare what `leansight classify --json` printed on several machines."""

import argparse
import json
import os.path
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# int8 kernels of two processors may round a logit's last bit differently.
SCORE_TOLERANCE = 0.02
NO_LABEL = "-"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one machine said of one image; `label` is None where it was not sure."""

    label: str | None
    score: float
    status: str

    def __str__(self) -> str:
        """Label and score as the table shows them."""
        return f"{self.label or NO_LABEL} {self.score:.3f}"


Answers = Mapping[str, Answer]


def read_answers(path: Path) -> dict[str, Answer]:
    """Read JSON lines into one answer per image path.

    Raises:
        ValueError: a line is not what `leansight classify --json` prints, a path occurs twice,
            or there is no line.

    """
    answers: dict[str, Answer] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            values = json.loads(line)
            image = values["path"]
            answer = Answer(
                label=values["label"], score=float(values["score"]), status=values["status"]
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: no answer of classify: {line!r}") from error
        if image in answers:
            raise ValueError(f"{path}, line {number}: {image} occurs twice")
        answers[image] = answer
    if not answers:
        raise ValueError(f"{path} holds no answers")
    return answers


def difference(expected: Answer | None, found: Answer | None, *, tolerance: float) -> str | None:
    """Say how `found` differs from `expected`, or return None."""
    if expected is None or found is None:
        return "has no answer" if found is None else "has an answer that the first lacks"
    if found.label != expected.label:
        return f"label {found.label or NO_LABEL}, not {expected.label or NO_LABEL}"
    if found.status != expected.status:
        return f"status {found.status!r}, not {expected.status!r}"
    # Written so that a score that is not a number differs too.
    if not abs(found.score - expected.score) <= tolerance:
        return f"score {found.score:.4f}, not {expected.score:.4f} ± {tolerance}"
    return None


def short_names(machines: Mapping[str, Answers]) -> dict[str, str]:
    """Return each image's path, in order, with its name without the folders common to all."""
    images = dict.fromkeys(image for answers in machines.values() for image in answers)
    common = os.path.commonpath([os.path.dirname(image) for image in images])  # noqa: PTH120 -- text only
    return {image: os.path.relpath(image, common or ".") for image in images}


def differences(machines: Mapping[str, Answers], *, tolerance: float) -> list[str]:
    """Compare every machine with the first; one line for each answer that differs."""
    (_, expected), *others = machines.items()
    lines = []
    for machine, answers in others:
        for image, name in short_names(machines).items():
            how = difference(expected.get(image), answers.get(image), tolerance=tolerance)
            if how is not None:
                lines.append(f"{name}: {machine} {how}")
    return lines


def table(machines: Mapping[str, Answers]) -> str:
    """Show a row for each image and a column for each machine."""
    rows = [["image", *machines]]
    for image, name in short_names(machines).items():
        found = [answers.get(image) for answers in machines.values()]
        rows.append([name, *("missing" if answer is None else str(answer) for answer in found)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def named_file(text: str) -> tuple[str, Path]:
    """Split NAME=FILE."""
    name, separator, file = text.partition("=")
    if not (name and separator and file):
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, not {text!r}")
    return name, Path(file)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="compare.py", description=__doc__)
    parser.add_argument(
        "files",
        nargs="+",
        type=named_file,
        metavar="NAME=FILE",
        help="a machine's name and its JSON lines; the first is what the others must say",
    )
    parser.add_argument("--tolerance", type=float, default=SCORE_TOLERANCE, metavar="SCORE")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 0 if all agree, 1 if an answer differs, 2 for a bad file."""
    arguments = parse(argv)
    try:
        machines = {name: read_answers(file) for name, file in arguments.files}
    except (OSError, ValueError) as error:
        sys.stderr.write(f"compare: {error}\n")
        return 2
    sys.stdout.write(table(machines))
    found = differences(machines, tolerance=arguments.tolerance)
    sys.stderr.writelines(f"compare: {line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
