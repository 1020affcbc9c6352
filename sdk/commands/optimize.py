"""`leansight optimize`: a search for bundles that are right, sure, fast and small."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from leansight.runtime.errors import DataError, LeansightError
from leansight.runtime.extras import check_installed
from leansight.sdk.commands.interruption import AGAIN, stopped_in_one_line
from leansight.sdk.commands.options.grouping import Several
from leansight.sdk.commands.options.images import PATH, require_images
from leansight.sdk.commands.options.modules import EXPORT_MODULES, TRAINING_MODULES
from leansight.sdk.commands.options.search import (
    BundleOptions,
    SearchChoices,
    bundle_options,
    choice_options,
)
from leansight.sdk.commands.options.training import bank_option, bank_views_option, workers_option
from leansight.sdk.system.files import require_writable
from leansight.sdk.system.text import echo

if TYPE_CHECKING:
    from leansight.sdk.runs.run import Run
    from leansight.sdk.search.bundles import Workshop
    from leansight.sdk.search.optimizer import Optimizer, Search
    from leansight.sdk.search.results import Result
    from leansight.sdk.search.space import Point

_TRIALS: Final = 20  # where neither --trials nor --hours is given
# Tables of a recipe that --set may not touch: a search changes them itself, or compares by them.
_FIXED: Final = ("model", "preprocessing", "data", "split", "decision", "task")


@click.command()
@click.argument("run", type=PATH)
@click.option(
    "--data",
    type=PATH,
    help="Folder of the labelled images, if they have moved since the training.",
)
@click.option("--out", type=PATH, required=True, help="Folder to write the search to.")
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    help="End after this many trials, those of earlier calls included.  "
    f"[default: {_TRIALS}, or with --hours no limit]",
)
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    help="Begin no further trial after this many hours.",
)
@click.option(
    "--objectives",
    type=Several(str, "accuracy,size"),
    metavar="accuracy,size",
    default="accuracy,coverage,latency,size",
    show_default=True,
    help="What to optimise: one or more of these.",
)
@choice_options
@bundle_options
@bank_option
@bank_views_option
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the random choice of trials.",
)
@click.option(
    "--storage",
    metavar="FILE|URL",
    help="Where the trials are kept: the file of a journal, or a database such as "
    "sqlite:///trials.db.  [default: a journal in --out]",
)
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print the front as a JSON list.")
def command(
    *,
    run: Path,
    data: Path | None,
    out: Path,
    trials: int | None,
    hours: float | None,
    objectives: tuple[str, ...],
    choices: SearchChoices,
    bundles: BundleOptions,
    bank: Path | None,
    bank_views: int,
    seed: int,
    storage: str | None,
    workers: int,
    as_json: bool,
) -> None:
    """Search for smaller and faster bundles of what RUN has learnt, and draw the Pareto front.

    Each trial chooses a width, an input size, a pruned share, a precision and a number of threads.
    It trains that network with RUN as its teacher, unless it is trained already, exports it as a
    bundle, and checks and measures the bundle. Trials are compared on the validation images; the
    test images are not used.

    To go on after a kill or Ctrl-C, give the same command again. To share the work, give it in
    several processes, or on several machines of the same kind, at the same time; all of them must
    see RUN, the images and --out under the same paths.

    \b
    leansight optimize run/ --out search/ --trials 30
    leansight optimize run/ --out search/ --widths 8,12,16 --sizes 48,64 --shares 0,0.5 \\
        --objectives accuracy,latency,size --hours 8
    """
    check_installed(
        *TRAINING_MODULES, *EXPORT_MODULES, "torch_pruning", "matplotlib", "optuna",
        extra="optimize",
    )  # fmt: skip
    require_images(data)
    from leansight.sdk.runs.images import find_images
    from leansight.sdk.runs.run import Run
    from leansight.sdk.search.bundles import Workshop
    from leansight.sdk.search.optimizer import Search
    from leansight.sdk.search.space import space_of

    of, timed = Run.load(run), "latency" in objectives
    root = find_images(of, data).resolve()
    _refuse_unusable(of, bundles, objectives)
    if choices.threads and not timed:
        raise DataError("--threads change the latency alone: add it to --objectives")
    space = space_of(of.recipe, **vars(choices), timed=timed)
    workshop = Workshop(
        folder=out.resolve(),
        data=root,
        overrides=bundles.settings,
        bank=bank.resolve() if bank else None,
        bank_views=bank_views,
        export=bundles.export,
        timed=timed,
        workers=workers,
    )
    require_writable(out)
    if bank:
        require_writable(bank, "bank")
    search = Search(
        space=space,
        objectives=objectives,
        first=space.nearest(of.recipe),
        seed=seed,
        made_of=_made_of(of, workshop),
    )
    trials = _TRIALS if trials is None and hours is None else trials
    with stopped_in_one_line(lambda: AGAIN):
        optimizer = _optimizer(of, workshop, search, storage)
        results = optimizer.run(trials=trials, hours=hours)
    _report(results, search, workshop.folder, as_json=as_json)


def _refuse_unusable(run: "Run", bundles: BundleOptions, objectives: tuple[str, ...]) -> None:
    """Raise DataError for what would fail in every trial."""
    from leansight.sdk.recipes.load import override
    from leansight.sdk.runs.run import RunConfig

    if RunConfig.load(run.path).options.everything:
        raise DataError(
            f"{run.path} has learnt its validation images (--everything): none are left to "
            "choose by. Begin with a run that has not"
        )
    policy = run.recipe.decision
    threshold = bundles.threshold or policy.threshold or policy.label_thresholds
    if "coverage" in objectives and not threshold:
        raise DataError("everything is kept without a threshold: give one, or leave coverage out "
                        "of --objectives")  # fmt: skip
    changed = override(run.recipe, bundles.settings)
    for name in _FIXED:
        if getattr(changed, name) != getattr(run.recipe, name):
            raise DataError(
                f"--set {name}: all trials have the same {name}, but for --widths and --sizes; "
                "training, augmentation, distillation and shift can be set"
            )


def _made_of(run: "Run", workshop: "Workshop") -> dict[str, Any]:
    """Return what decides, beside a point, what its bundle becomes: plain JSON values."""
    from leansight.benchmarks.probes.conditions import machine
    from leansight.sdk.runs.run import weights_digest

    export = workshop.export
    return {
        "weights": weights_digest(run.path),
        "data": str(workshop.data),
        "settings": workshop.overrides,
        "bank": str(workshop.bank) if workshop.bank else None,
        "bank_views": workshop.bank_views if workshop.bank else None,
        **vars(export.promise),
        "effort": export.effort,
        "calibration_images": export.calibration_images,
        "threshold": export.threshold,
        "temperature": export.temperature or "fit",
        # Times of different machines cannot be compared.
        "machine": machine() if workshop.timed else None,
    }


def _optimizer(
    run: "Run", workshop: "Workshop", search: "Search", storage: str | None
) -> "Optimizer":
    from leansight.sdk.search.bundles import copy_start, evaluate
    from leansight.sdk.search.optimizer import Optimizer
    from leansight.sdk.system.console import console

    return Optimizer(
        search=search,
        name=run.recipe.name,
        folder=workshop.folder,
        evaluate=lambda point: evaluate(workshop, point),
        command=lambda point, trial: _again(run.path, workshop, search, point, trial),
        storage=storage,
        prepare=lambda: copy_start(run, workshop.data, workshop.folder),
        report_line=lambda text: console().print(text, markup=False, highlight=False),
        note=_note(run, workshop, search),
    )


def _again(run: Path, workshop: "Workshop", search: "Search", point: "Point", trial: int) -> str:
    """Return the command that makes one point's bundle again, in a folder of its own."""
    choices = {"widths": point.width, "sizes": point.size, "shares": f"{point.share:g}"}
    options: dict[str, Any] = choices | {"precisions": point.precision}
    options |= {"threads": point.threads if workshop.timed else None}
    if workshop.bank:
        options |= {"bank": workshop.bank, "bank-views": workshop.bank_views}
    options |= {"objectives": ",".join(search.objectives)}
    export = workshop.export
    options |= {
        "max-drop": f"{export.promise.max_drop:g}",
        "max-class-drop": f"{export.promise.max_class_drop:g}",
        "effort": export.effort,
        "threshold": export.threshold,
        "temperature": export.temperature,
        "calibration-images": export.calibration_images,
        "trials": 1,
        "data": workshop.data,
        "out": f"{workshop.folder}-trial-{trial}",
    }
    words = ["leansight", "optimize", str(run.resolve())]
    words += [w for key, v in options.items() if v is not None for w in (f"--{key}", str(v))]
    words += [word for setting in workshop.overrides for word in ("--set", setting)]
    return shlex.join(words)


def _note(run: "Run", workshop: "Workshop", search: "Search") -> str:
    """Return the small print of the picture: what was measured, on what."""
    from leansight.benchmarks.probes.conditions import machine

    held_out = run.split().validation
    videos = {s.video for s in held_out if s.video}
    of = f" of {len(videos):,} videos" if videos else ""
    said = ["With a number: no other bundle is as good in everything, and better in something"]
    said.append(f"Held out: {len(held_out):,} validation images{of}")
    if "coverage" in search.objectives:
        threshold = run.recipe.decision.threshold
        given = workshop.export.threshold
        threshold = threshold if given is None else given
        said[-1] += f"; kept from a probability of {threshold:g} on"
    if workshop.timed:
        said.append(f"Latency: the TFLite file on {machine()}")
    said.append(f"Every point is a verified bundle in {workshop.folder.name}/bundles")
    return ". ".join(said) + "."


def _report(results: "list[Result]", search: "Search", out: Path, *, as_json: bool) -> None:
    """Print the front to standard output, and what has no bundle to standard error."""
    from leansight.sdk.search.objectives import OBJECTIVES
    from leansight.sdk.search.results import FRONT, PICTURE, front_of, table

    for result in results:
        if result.measured is None:
            echo(f"{result.state}: trial {result.trial} ({result.point.bundle_name}): "
                       f"{result.reason}", err=True)  # fmt: skip
    front = front_of(results)
    if not front:
        raise LeansightError(f"no trial of {out} has a bundle yet")
    if as_json:
        echo(json.dumps([result.to_dict() for result in front], indent=2))
        return
    from rich.console import Console

    Console().print(table(results, [OBJECTIVES[name] for name in search.objectives]))
    echo(f"bundles: {out / 'bundles'}")
    echo(f"table, with the command that makes each again: {out / FRONT}")
    echo(f"picture: {out / PICTURE}")
