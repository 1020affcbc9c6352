"""Record how runs compare where no Belgian sign is looked at: one question of the page a run.

python questions.py learn/ signs.toml plain/ gray/ without-clahe/

All runs have the same validation list. They are judged by three sets of images: the German signs
of that list, a copy of these that is changed as [[shift]] of the recipe says, and southland, a
country that leansight draws. Each is also compared with the first one, on the same images.
"""

import argparse
from pathlib import Path
from typing import Any

from records import RESULTS, update_record
from signs import run_main

from leansight.runtime import LeansightError
from leansight.sdk import (
    Answers,
    Run,
    ask,
    compare_models,
    find_samples,
    load_model,
    load_recipe,
    mean_interval,
)

TESTS = ("Germany", "shifted", "southland")


def answers(run: Path, signs: Path, recipe: str) -> dict[str, Answers]:
    """Return what a run says of the images of each test."""
    model, southland = load_model(run), signs / "southland"
    held_out = [s for s in Run.load(run).split().validation if s.country == "germany"]
    return {
        "Germany": ask(model, signs, held_out),
        "shifted": ask(model, signs, held_out, shift=load_recipe(recipe).shift),
        "southland": ask(model, southland, find_samples(southland)),
    }


def compare(answer: Answers, first: Answers) -> dict[str, Any]:
    """Return the accuracy, and by how much it is above the first run's; both of the same images."""
    if answer.samples != first.samples:
        raise LeansightError(f"{answer.name} and {first.name} hold other images out: use --lists")
    above = compare_models(answer.right, first.right, answer.videos)
    return {
        "videos": len(set(answer.videos)),
        "accuracy": vars(mean_interval(answer.right, answer.videos)),
        "above_first": vars(above.difference),
    }


def main() -> None:
    """Ask each run about the same images."""
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("signs", type=Path, help="folder that has germany/ and southland/")
    parser.add_argument("recipe", help="recipe whose [[shift]] makes the copy")
    parser.add_argument("runs", type=Path, nargs="+", help="runs; all are compared with the first")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    first: dict[str, Answers] = {}
    for run in args.runs:
        said = answers(run, args.signs, args.recipe)
        first = first or said
        row = {test: compare(said[test], first[test]) for test in TESTS}
        rows.append({"network": run.name, "first": args.runs[0].name, **row})
        shares = (f"{test} {row[test]['accuracy']['mean']:.2%}" for test in TESTS)
        print(f"{run.name}: {', '.join(shares)}", flush=True)
    update_record("questions", args.results, rows)


if __name__ == "__main__":
    run_main(main)
