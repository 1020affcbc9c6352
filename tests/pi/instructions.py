"""Hold the instructions of a frame, counted on an emulated Pi, against those recorded.

    instructions.py [--record] NAME=LINES...

LINES is what count-instructions printed, NAME what it was run with, such as "tiny int8, Pi 4". The
record is instructions.json beside this file. More than 2 % more of a step is a failure; less is to
be recorded anew.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from leansight.benchmarks.emulation.marks import read_marks

RECORD = Path(__file__).with_suffix(".json")
TOLERANCE = 0.02

Steps = Mapping[str, int]
"""Instructions by step: preprocessing, inference, and the rest, which is mostly the decision."""


def verdicts(recorded: Steps, counted: Steps) -> dict[str, str]:
    """Return for each step "same", "less" or "MORE" than what is recorded, or "new"."""
    found = {}
    for step, count in counted.items():
        before = recorded.get(step)
        if before is None:
            found[step] = "new"
        elif count > before * (1 + TOLERANCE):
            found[step] = "MORE"
        else:
            found[step] = "less" if count < before * (1 - TOLERANCE) else "same"
    return found


def named_file(text: str) -> tuple[str, Path]:
    """Split NAME=FILE."""
    name, separator, file = text.partition("=")
    if not (name and separator and file):
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, not {text!r}")
    return name, Path(file)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each step; return 1 if one has more instructions, 2 for bad lines."""
    parser = argparse.ArgumentParser(prog="instructions.py", description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=named_file, metavar="NAME=LINES")
    parser.add_argument("--record", action="store_true", help="write what was counted")
    parser.add_argument("--recorded", type=Path, default=RECORD, metavar="JSON")
    arguments = parser.parse_args(argv)
    try:
        recorded = json.loads(arguments.recorded.read_text()) if arguments.recorded.exists() else {}
        counted = {name: read_marks(file.read_text()) for name, file in arguments.files}
    except (OSError, ValueError) as error:
        sys.stderr.write(f"instructions: {error}\n")
        return 2
    if arguments.record:
        recorded |= {name: {"packages": p, "steps": steps} for name, (p, steps) in counted.items()}
        arguments.recorded.write_text(json.dumps(recorded, indent=2) + "\n")
    return max(_tell(name, recorded.get(name, {}), *found) for name, found in counted.items())


def _tell(
    name: str, recorded: Mapping[str, Mapping[str, str]], packages: Mapping[str, str], steps: Steps
) -> int:
    """Print one run's steps; return 1 if one has more instructions than recorded."""
    before: Mapping[str, int] = {k: int(v) for k, v in recorded.get("steps", {}).items()}
    found = verdicts(before, steps)
    for step, count in steps.items():
        was = f" ({before[step] / 1e6:.3f} recorded)" if step in before else ""
        sys.stdout.write(f"{name}: {step} {count / 1e6:.3f} million{was}: {found[step]}\n")
    if packages != (then := recorded.get("packages", packages)):
        sys.stderr.write(f"instructions: {name} was recorded with {then}, not {packages}\n")
    if {"less", "new"} & set(found.values()):
        sys.stderr.write(f"instructions: {name}: record it (--record), to hold what was gained\n")
    return 1 if "MORE" in found.values() else 0


if __name__ == "__main__":
    sys.exit(main())
