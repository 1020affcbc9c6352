"""`leansight study`: a grid of trainings, the best of them trained on everything and tested."""

import json
from pathlib import Path

import click

from leansight.runtime.errors import DataError
from leansight.runtime.extras import check_installed, require
from leansight.sdk.commands.interruption import AGAIN, stopped_in_one_line
from leansight.sdk.commands.options.images import skip_bad_option, videos_option, videos_override
from leansight.sdk.commands.options.modules import TRAINING_MODULES
from leansight.sdk.commands.options.training import (
    bank_option,
    bank_views_option,
    recipe_option,
    set_option,
    teachers_option,
    test_on_option,
    train_arguments,
    weights_option,
)
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.studies.executors import Executor, Outcome, ProcessExecutor, RayExecutor
from leansight.sdk.studies.grid import Axis, Study
from leansight.sdk.studies.results import StudyResults, table
from leansight.sdk.studies.runner import StudyRunner
from leansight.sdk.system.files import require_writable
from leansight.sdk.system.text import echo


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@recipe_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder to write the study to.",
)
@click.option(
    "--folds",
    type=click.IntRange(min=2),
    help="Validate on each of K parts of the training images in turn.  [default: the recipe's]",
)
@click.option(
    "--grid",
    multiple=True,
    metavar="KEY=V1,V2,...",
    help="Try these values of the recipe, in all combinations with those of other --grid.",
)
@click.option(
    "--seeds",
    metavar="S1,S2,...",
    help="Train every combination with each of these seeds.  [default: the recipe's]",
)
@test_on_option
@set_option
@weights_option
@teachers_option
@bank_option
@bank_views_option
@skip_bad_option
@videos_option
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Number of trainings at a time; they share the processor cores.  [default: 1, or with "
    "--ray one for each node]",
)
@click.option(
    "--ray",
    "address",
    metavar="ADDRESS",
    help='Run on the Ray cluster at HOST:PORT, or "auto" for the one that this machine is in.',
)
@click.option(
    "--skip-failed",
    is_flag=True,
    help="Choose among the candidates none of whose trainings has failed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the content of results.json.")
def command(
    *,
    data: Path,
    recipe_name: str,
    out: Path,
    folds: int | None,
    grid: tuple[str, ...],
    seeds: str | None,
    test_on: str,
    overrides: tuple[str, ...],
    jobs: int | None,
    address: str | None,
    weights: tuple[Path, ...],
    teachers: tuple[Path, ...],
    bank: Path | None,
    bank_views: int,
    skip_bad: bool,
    videos: str | None,
    skip_failed: bool,
    as_json: bool,
) -> None:
    """Train every combination of values on every fold of DATA, and the best one on everything.

    The best is the one with the highest mean over folds and seeds of the validation accuracy
    (or of the shifted accuracy, if the recipe chooses by that). It is trained on the whole
    training set in STUDY/winner, and only that run sees the test images.

    Finished trainings are kept. To go on after a kill, a failure or Ctrl-C, give the same command
    again. With --ray, all nodes must have leansight and see DATA, --out, --weights, --teacher and
    --bank under the same paths (shared storage); the trainings of a lost node go on elsewhere from
    their last checkpoint.

    With --bank, the trainings of each fold share a bank in a folder of it; values that a bank
    depends on cannot be in the grid.

    \b
    leansight study signs/ --test-on southland --folds 3 --out study/ \\
        --grid training.learning_rate=0.1,0.01,0.001 --grid model.width=8,16
    """
    check_installed(*TRAINING_MODULES, "matplotlib", extra="train")
    require_writable(out)
    if bank:
        require_writable(bank, "bank")
    if address:
        require("ray", package="Ray", extra="cluster")
    overrides += videos_override(videos)
    training = load_recipe(recipe_name, overrides)
    study = Study(
        data=data.resolve(),
        recipe=recipe_name,
        overrides=overrides,
        grid=tuple(Axis.parse(text) for text in grid),
        folds=training.split.folds if folds is None else folds,
        seeds=(training.training.seed,) if seeds is None else _numbers(seeds),
        test_on=test_on,
        weights=tuple(path.resolve() for path in weights),
        teachers=tuple(path.resolve() for path in teachers),
        bank=bank.resolve() if bank else None,
        bank_views=bank_views,
        skip_bad=skip_bad,
    )
    if not study.data.exists():
        raise DataError(
            f"{data} does not exist: expected a folder of labelled images, or a CSV file"
        )
    from leansight.sdk.data.dataset import show
    from leansight.sdk.data.layouts.detect import find_data

    show(find_data(study.data, training.data))
    executor: Executor = ProcessExecutor(jobs=jobs or 1)
    if address:
        executor = RayExecutor(address=address, log=out.absolute() / "ray.log", jobs=jobs)
    with stopped_in_one_line(lambda: AGAIN):
        results = _run_with_progress(study, out.absolute(), executor, skip_failed=skip_failed)
    _report(results, out, as_json=as_json)
    if results.metrics is None:
        raise click.exceptions.Exit(1)


def _run_with_progress(
    study: Study, out: Path, executor: Executor, *, skip_failed: bool
) -> StudyResults:
    from rich import progress

    from leansight.sdk.system.console import console

    names = [*(f"cells/{cell.name}" for cell in study.cells()), "winner"]
    done = sum((out / name / "run.json").is_file() for name in names)
    columns = (
        progress.TextColumn("Trainings"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[running]} running, {task.fields[failed]} failed"),
        progress.TimeElapsedColumn(),
    )
    hidden = not console().is_terminal
    with progress.Progress(*columns, console=console(), transient=True, disable=hidden) as bar:
        line = bar.add_task("", total=len(names), completed=done, running=0, failed=0)

        def report_outcome(outcome: Outcome) -> None:
            failed = bar.tasks[line].fields["failed"] + bool(outcome.error)
            bar.update(line, advance=not outcome.error, failed=failed)

        runner = StudyRunner(
            study=study,
            folder=out,
            executor=executor,
            arguments=train_arguments,
            skip_failed=skip_failed,
            report_outcome=report_outcome,
            report_running=lambda count: bar.update(line, running=count),
        )
        return runner.run()


def _report(results: StudyResults, out: Path, *, as_json: bool) -> None:
    """Print what was found to standard output, and what failed to standard error."""
    if as_json:
        echo(json.dumps(results.to_dict(), indent=2))
    else:
        from rich.console import Console

        Console().print(table(results))
        if results.winner and results.metrics is not None:
            echo(f"winner: {results.winner.name}, trained on everything")
            for name, score in results.metrics.items():
                echo(f"{name}: {score:.4f}")
            if not results.metrics:
                echo("no test: hold images out with --test-on, or --set split.test=0.1")
            echo(f"run: {out / 'winner'}")
    for name, reason in results.failed.items():
        log = out / ("winner.log" if name == "winner" else f"cells/{name}.log")
        echo(f"failed: {name}: {reason} ({log})", err=True)
    if results.failed:
        skip = "" if results.winner else ", or add --skip-failed to choose without its candidate"
        again = f"give the same command again to retry{skip}"
        echo(f"{len(results.failed)} failed: {again}", err=True)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise DataError(f"--seeds {text}: expected whole numbers, such as 0,1,2") from error
