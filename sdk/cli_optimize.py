"""`leansight optimize`: a search for bundles that are right, sure, fast and small."""

import hashlib
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from leansight.exporters.verification import Effort
from leansight.runtime.errors import DataError, LeansightError
from leansight.runtime.extras import check_installed
from leansight.sdk.cli_export import PACKAGES as EXPORT_PACKAGES
from leansight.sdk.cli_train import PACKAGES as TRAIN_PACKAGES
from leansight.sdk.cli_train import set_option

if TYPE_CHECKING:
    from leansight.sdk.optimizing_bundles import Workshop
    from leansight.sdk.optimizing_results import Result
    from leansight.sdk.pareto import Objective
    from leansight.sdk.run import Run
    from leansight.sdk.search_space import Point

_PATH = click.Path(path_type=Path)
_INTERRUPTED: Final = 130  # what shells expect after Ctrl-C
_TRIALS: Final = 20  # where neither --trials nor --hours is given
# Tables of a recipe that --set may not touch: a search changes them itself, or compares by them.
_FIXED: Final = ("model", "preprocessing", "data", "split", "decision", "task")


class _Several(click.ParamType[tuple[Any, ...]]):
    """Values between commas: 8,16."""

    def __init__(self, kind: type[int] | type[float] | type[str], name: str) -> None:
        self.name = name
        self._kind = kind

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Return the values."""
        try:
            return tuple(self._kind(part.strip()) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list such as {self.name}", param, ctx)


@click.command()
@click.argument("run", type=_PATH)
@click.option("--data", type=_PATH, help="Where the images are now, if they have moved.")
@click.option("--out", type=_PATH, required=True, help="Folder for the search.")
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    help=f"How many in all, earlier ones as well.  [default: {_TRIALS}, or with --hours no limit]",
)
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    help="After so many, this process begins no other trial.",
)
@click.option(
    "--objectives",
    type=_Several(str, "accuracy,size"),
    metavar="accuracy,size",
    default="accuracy,coverage,latency,size",
    show_default=True,
    help="Any of these.",
)
@click.option(
    "--widths",
    type=_Several(int, "8,16"),
    help="Filters in the stem (model.width).  [default: RUN's, half of it]",
)
@click.option(
    "--sizes",
    type=_Several(int, "48,64"),
    help="Of the input, in pixels (preprocessing.size).  [default: RUN's, three quarters of it]",
)
@click.option(
    "--shares",
    type=_Several(float, "0,0.5"),
    help="Of the channels of every layer that go.  [default: 0,0.25,0.5,0.75]",
)
@click.option(
    "--precisions",
    type=_Several(str, "int8,float32"),
    metavar="int8,float32",
    help="Of the files.  [default: all]",
)
@click.option(
    "--threads",
    type=_Several(int, "1,4"),
    help="Of the interpreter.  [default: 1, 2, 4, as the machine has cores]",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Of each training; by default RUN's, and 0.4 of them after pruning.",
)
@set_option
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Points that each file may lose of accuracy and of coverage against its network.",
)
@click.option(
    "--max-class-drop",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="The same, of the accuracy of a single class; one image of it may always be lost.",
)
@click.option(
    "--effort",
    type=click.Choice(get_args(Effort)),
    default="ranges",
    show_default=True,
    help="The most that is tried to keep that in int8 (see `leansight export`); the last two "
    "take minutes where it does not hold by itself.",
)
@click.option("--threshold", type=click.FloatRange(0, 1), help="Instead of the recipe's.")
@click.option("--calibration-images", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of chance.")
@click.option(
    "--storage",
    metavar="FILE|URL",
    help="Of the trials: a journal, or a database such as sqlite:///trials.db.  [default: a "
    "journal in --out]",
)
@click.option("--workers", type=click.IntRange(min=0), default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The front as a JSON list.")
def command(
    *,
    run: Path,
    data: Path | None,
    out: Path,
    trials: int | None,
    hours: float | None,
    objectives: tuple[str, ...],
    widths: tuple[int, ...] | None,
    sizes: tuple[int, ...] | None,
    shares: tuple[float, ...] | None,
    precisions: tuple[Any, ...] | None,
    threads: tuple[int, ...] | None,
    epochs: int | None,
    overrides: tuple[str, ...],
    max_drop: float,
    max_class_drop: float,
    effort: Effort,
    threshold: float | None,
    calibration_images: int,
    seed: int,
    storage: str | None,
    workers: int,
    as_json: bool,
) -> None:
    """Search for smaller and faster bundles of what RUN has learnt, and draw the Pareto front.

    Each trial chooses width, input size, pruning, precision and threads, trains what is not there
    yet with RUN as its teacher, exports, checks and measures the bundle. The validation images
    decide; the test images are not looked at.

    Give the same command again to go on after a kill or Ctrl-C, and give it at the same time in
    other processes or on other machines of the same kind to share the work: all must see RUN, the
    images and --out under the same names.

    \b
    leansight optimize run/ --out search/ --trials 30
    leansight optimize run/ --out search/ --widths 8,12,16 --sizes 48,64 --shares 0,0.5 \\
        --objectives accuracy,latency,size --hours 8
    """
    check_installed(
        *TRAIN_PACKAGES, *EXPORT_PACKAGES, "torch_pruning", "matplotlib", "optuna",
        extra="optimize",
    )  # fmt: skip
    from leansight.benchmarks.measure import machine
    from leansight.sdk.console import console
    from leansight.sdk.optimizing import Optimizer, Search
    from leansight.sdk.optimizing_bundles import Workshop, copy_start
    from leansight.sdk.optimizing_process import evaluate
    from leansight.sdk.pareto import OBJECTIVES
    from leansight.sdk.run import WEIGHTS, Run
    from leansight.sdk.search_space import space_of

    of, out = Run.load(run), out.resolve()
    root = (data or of.data).resolve()
    settings = (*overrides, *((f"training.epochs={epochs}",) if epochs else ()))
    _refuse_unusable(of, root, settings, objectives, threshold)
    timed = "latency" in objectives
    if threads and not timed:
        raise DataError("--threads change the latency alone: add it to --objectives")
    space = space_of(
        of.recipe, widths=widths, sizes=sizes, shares=shares, precisions=precisions,
        threads=threads, timed=timed,
    )  # fmt: skip
    workshop = Workshop(
        folder=out,
        data=root,
        overrides=settings,
        max_drop=max_drop,
        max_class_drop=max_class_drop,
        effort=effort,
        calibration_images=calibration_images,
        threshold=threshold,
        timed=timed,
        workers=workers,
    )
    search = Search(
        space=space,
        objectives=objectives,
        first=space.nearest(of.recipe),
        seed=seed,
        made_of={
            "weights": hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest(),
            "data": str(root),
            "settings": settings,
            "max_drop": max_drop,
            "max_class_drop": max_class_drop,
            "effort": effort,
            "calibration_images": calibration_images,
            "threshold": threshold,
            # Times of different machines cannot be compared.
            "machine": machine() if timed else None,
        },
    )
    if trials is None and hours is None:
        trials = _TRIALS
    try:
        results = Optimizer(
            search=search,
            name=of.recipe.name,
            folder=out,
            evaluate=lambda point: evaluate(workshop, point),
            command=lambda point, trial: _again(run, workshop, search, point, trial),
            storage=storage,
            prepare=lambda: copy_start(of, root, out),
            told=lambda text: console().print(text, markup=False, highlight=False),
            note=_note(of, workshop),
        ).run(trials=trials, hours=hours)
    except KeyboardInterrupt:
        click.echo("stopped: give the same command again to go on where it was", err=True)
        raise click.exceptions.Exit(_INTERRUPTED) from None
    _report(results, [OBJECTIVES[name] for name in objectives], out, as_json=as_json)


def _refuse_unusable(
    run: "Run",
    root: Path,
    settings: tuple[str, ...],
    objectives: tuple[str, ...],
    threshold: float | None,
) -> None:
    """Raise DataError for what would fail in every trial."""
    from leansight.sdk.recipe import override
    from leansight.sdk.run import Start

    if not root.exists():
        raise DataError(f"the images of {run.path} are no longer at {root}: name them by --data")
    if Start.load(run.path).options.everything:
        raise DataError(
            f"{run.path} has learnt its validation images (--everything): none are left to "
            "choose by. Begin with a run that has not"
        )
    policy = run.recipe.decision
    if "coverage" in objectives and not (threshold or policy.threshold or policy.label_thresholds):
        raise DataError("everything is kept without a threshold: give one, or leave coverage out "
                        "of --objectives")  # fmt: skip
    changed = override(run.recipe, settings)
    for name in _FIXED:
        if getattr(changed, name) != getattr(run.recipe, name):
            raise DataError(
                f"--set {name}: a search is of one {name}, but for --widths and --sizes; it "
                "takes what is trained by: training, augmentation, distillation, shift"
            )


def _again(run: Path, workshop: "Workshop", search: Any, point: "Point", trial: int) -> str:  # noqa: ANN401 -- importing Search costs every --help seconds
    """Return the command that makes one point's bundle again, in a folder of its own."""
    choices = {"widths": point.width, "sizes": point.size, "shares": f"{point.share:g}"}
    options: dict[str, Any] = choices | {"precisions": point.precision}
    options |= {"threads": point.threads if workshop.timed else None}
    options |= {"objectives": ",".join(search.objectives), "max-drop": f"{workshop.max_drop:g}"}
    options |= {
        "max-class-drop": f"{workshop.max_class_drop:g}",
        "effort": workshop.effort,
        "threshold": workshop.threshold,
        "calibration-images": workshop.calibration_images,
        "trials": 1,
        "data": workshop.data,
        "out": f"{workshop.folder}-trial-{trial}",
    }
    words = ["leansight", "optimize", str(run.resolve())]
    words += [w for key, v in options.items() if v is not None for w in (f"--{key}", str(v))]
    words += [word for setting in workshop.overrides for word in ("--set", setting)]
    return shlex.join(words)


def _note(run: "Run", workshop: "Workshop") -> str:
    """Return the small print of the picture: what was measured, on what."""
    from leansight.benchmarks.measure import machine

    held_out = run.split().validation
    videos = {s.video for s in held_out if s.video}
    of = f" of {len(videos):,} videos" if videos else ""
    policy = run.recipe.decision
    threshold = policy.threshold if workshop.threshold is None else workshop.threshold
    kept = f"kept from a probability of {threshold:g} on"
    said = [f"Held out: {len(held_out):,} validation images{of}; {kept}"]
    if workshop.timed:
        said.append(f"Latency: the TFLite file on {machine()}")
    said.append(f"Every point is a verified bundle in {workshop.folder.name}/bundles")
    return ". ".join(said) + "."


def _report(
    results: "list[Result]", objectives: "list[Objective]", out: Path, *, as_json: bool
) -> None:
    """Print the front to standard output, and what has no bundle to standard error."""
    from leansight.sdk.optimizing_results import FRONT, PICTURE, front_of, table

    for result in results:
        if result.measured is None:
            click.echo(f"{result.state}: trial {result.trial} ({result.point.bundle_name}): "
                       f"{result.reason}", err=True)  # fmt: skip
    front = front_of(results)
    if not front:
        raise LeansightError(f"no trial of {out} has a bundle yet")
    if as_json:
        click.echo(json.dumps([result.to_dict() for result in front], indent=2))
        return
    from rich.console import Console

    Console().print(table(results, objectives))
    click.echo(f"bundles: {out / 'bundles'}")
    click.echo(f"table, with the command that makes each again: {out / FRONT}")
    click.echo(f"picture: {out / PICTURE}")
