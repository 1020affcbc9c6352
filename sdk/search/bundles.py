"""The evaluation of a point of a search: trained, pruned, exported, checked and measured.

All of it is kept in the folder of the search: `start/` (a copy of the run that the search is of,
without its test images), `runs/NAME/`, `bundles/NAME/`. What is there is not made again.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from leansight.benchmarks.graph_count import count_graph
from leansight.benchmarks.measure import measure_models
from leansight.benchmarks.models import find_models
from leansight.benchmarks.picture import synthetic_image
from leansight.benchmarks.probes.conditions import machine
from leansight.exporters.options import ExportRefusedError
from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import BundleError, LeansightError
from leansight.runtime.golden import check_golden
from leansight.runtime.system.whole_files import whole_folder
from leansight.sdk.deployment.export_run import export_run
from leansight.sdk.deployment.options import DeploymentOptions
from leansight.sdk.pruning.prune import prune_run
from leansight.sdk.pruning.target import PruningTarget
from leansight.sdk.recipes.load import override
from leansight.sdk.runs.run import Run, RunConfig, TrainingOptions, weights_digest, write_split
from leansight.sdk.search.optimizer import KilledError
from leansight.sdk.search.space import BundleMeasurement, Point, width_setting
from leansight.sdk.system.files import write_text
from leansight.sdk.system.isolated_process import how_it_ended, run_in_own_process
from leansight.sdk.system.locks import locked
from leansight.sdk.training.train import train
from leansight.sdk.training.trainer import Hardware

IMPORTANCE_IMAGES: Final = 256  # as `leansight prune`


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """How points become bundles in `folder`, and are measured.

    `data`: the root of the images; `overrides`: KEY=VALUE of every training's recipe; `export`:
    how every bundle is exported, but for its precision; `timed`: measure the latency as well.
    `bank`: a folder with a bank for each teacher and size, of `bank_views` views of each image.
    """

    folder: Path
    data: Path
    overrides: tuple[str, ...] = ()
    bank: Path | None = None
    bank_views: int = 10
    export: DeploymentOptions = DeploymentOptions(effort="ranges")
    timed: bool = True
    workers: int = 2

    def bundle(self, point: Point) -> Path:
        """Return where the bundle of a point is, or will be."""
        return self.folder / "bundles" / point.bundle_name

    def refusal(self, point: Point) -> Path:
        """Return the file that says why there is no such bundle, where it was refused."""
        return self.folder / "bundles" / f"{point.bundle_name}.refused.txt"

    def require_no_refusal(self, point: Point) -> None:
        """Raise the ExportRefusedError of an earlier export of the same network and precision."""
        if (refusal := self.refusal(point)).exists():
            raise ExportRefusedError(refusal.read_text().strip())

    def bank_of(self, teacher: Path, size: int) -> Path | None:
        """Return the folder of a teacher's bank; by its weights, so that searches may share it."""
        if not self.bank:
            return None
        return self.bank / f"size-{size}-teacher-{weights_digest(teacher)[:8]}"

    def lock(self, name: str) -> Path:
        """Return the file that whoever makes the thing of this name holds."""
        return self.folder / "locks" / f"{name}.lock"


def copy_start(run: Run, data: Path, folder: Path) -> None:
    """Copy what the search needs of the run to `folder`/start, without its test images.

    Trainings and exports that begin there cannot look at the test part. What is there is kept.
    """
    if (folder / "start").exists():
        return
    start, split = RunConfig.load(run.path), run.split()
    metrics = {name: value for name, value in run.metrics.items() if not name.startswith("test ")}
    with whole_folder(folder / "start") as part:
        write_split(part, replace(split, test=()))
        replace(start, data=data).save(part)
        replace(run, path=part, data=data, metrics=metrics).save(run.network())


def make_bundle(workshop: Workshop, point: Point) -> Path:
    """Train, prune and export what the point says, all of it once.

    Raises:
        ExportRefusedError: it was refused, now or earlier.
        LeansightError: it cannot be made.

    """
    out, refusal = workshop.bundle(point), workshop.refusal(point)
    with locked(workshop.lock(point.bundle_name)):
        if out.exists():
            return out
        workshop.require_no_refusal(point)
        run = make_run(workshop, point)
        try:
            export_run(
                run,
                replace(workshop.export, precision=point.precision),
                out=out,
                data=workshop.data,
            )
        except ExportRefusedError as error:
            refusal.parent.mkdir(parents=True, exist_ok=True)
            write_text(refusal, f"{error}\n")
            raise
    return out


def make_run(workshop: Workshop, point: Point) -> Path:
    """Return the run of a point, trained now if it is not there.

    Where width and size are those of the run that the search is of, it begins with that: pruned,
    and taught by it. Else a new network learns from it, and is then pruned.
    """
    start = workshop.folder / "start"
    recipe, out = Run.load(start).recipe, workshop.folder / "runs" / point.run_name
    width = recipe.model.stage_widths[0]
    own = point.size == recipe.preprocessing.size and point.width in (None, width)
    if own and not point.share:
        return start
    with locked(workshop.lock(point.run_name)):
        if not (out / "run.json").exists():
            make = _prune if point.share else _teach
            make(workshop, point, out)
    return out


def _prune(workshop: Workshop, point: Point, out: Path) -> None:
    """Prune the run of the same width and size, which then teaches what is left of it."""
    unpruned = make_run(workshop, replace(point, share=0.0))
    prune_run(
        unpruned,
        out=out,
        target=PruningTarget(kind="share", value=point.share),
        importance="taylor",
        images=IMPORTANCE_IMAGES,
        steps=1,
        overrides=workshop.overrides,
        bank=workshop.bank_of(unpruned, point.size),
        bank_views=workshop.bank_views,
        data=workshop.data,
        hardware=Hardware(workers=workshop.workers),
    )


def _teach(workshop: Workshop, point: Point, out: Path) -> None:
    """Train a new network of the point's width and size with the search's run as its teacher."""
    start = workshop.folder / "start"
    recipe = Run.load(start).recipe
    width = () if point.width is None else (width_setting(recipe.model, point.width),)
    changed = (*workshop.overrides, *width, f"preprocessing.size={point.size}")
    train(
        workshop.data,
        override(recipe, changed),
        out=out,
        options=TrainingOptions(
            lists=start,
            teachers=(start,),
            bank=workshop.bank_of(start, point.size),
            bank_views=workshop.bank_views,
            weights=RunConfig.load(start).options.weights if recipe.model.pretrained else (),
            score_test=False,
        ),
        hardware=Hardware(workers=workshop.workers),
    )


def inspect(workshop: Workshop, point: Point) -> BundleMeasurement:
    """Measure the bundle of a point, once its golden photos give here what they must.

    Raises:
        BundleError: the bundle is damaged, or not as it was made on this machine.

    """
    bundle = Bundle.load(workshop.bundle(point))
    for held in bundle.formats:
        if not check_golden(bundle.path, model_format=held, threads=point.threads).holds:
            raise BundleError(
                f"{bundle.path}: {held} does not give on this machine what it gave where it was "
                "made (see `leansight check`)"
            )
    held = bundle.choose_format()
    model = bundle.read(f"model.{held}")
    count = count_graph(model, held, name=point.bundle_name)
    judged = _verified(bundle, f"{held} {bundle.precision}")
    measured = BundleMeasurement(
        accuracy=judged["accuracy"],
        coverage=judged["coverage"],
        size_bytes=len(model),
        parameters=count.parameters,
        macs=count.macs,
        bundle=point.bundle_name,
        digest=bundle.digest,
    )
    if not workshop.timed:
        return measured
    # Of searches that share a machine one at a time measures.
    with locked(workshop.lock(f"measuring-{socket.gethostname()}")):
        (timed,) = measure_models(
            find_models([bundle.path], held), synthetic_image(), threads=point.threads
        )
    inference, total = timed.latency_ms.inference, timed.latency_ms.total
    return replace(
        measured,
        latency_ms=inference.p50,
        latency_p90_ms=inference.p90,
        total_ms=total.p50,
        machine=machine(),
    )


def _verified(bundle: Bundle, name: str) -> Mapping[str, Any]:
    """Return what the export found of one file on the validation images."""
    reports: list[Mapping[str, Any]] = bundle.metrics["validation"]["formats"]
    return next(report for report in reports if report["name"] == name)


def evaluate(workshop: Workshop, point: Point) -> BundleMeasurement:
    """Make the bundle of a point, unless it is there, and measure it.

    Raises:
        ExportRefusedError: it was refused, now or earlier.
        LeansightError: it cannot be made, or gives something else on this machine.

    """
    workshop.require_no_refusal(point)
    if not workshop.bundle(point).exists():
        make_in_own_process(workshop, point)
    return inspect(workshop, point)


def make_in_own_process(workshop: Workshop, point: Point) -> None:
    """Make the bundle of a point where neither memory nor a crash can spoil the search.

    Raises:
        LeansightError: as `make_bundle`; of FAILURES, if this point alone is to blame.
        OSError: the disk is full, or the like.

    """
    run_in_own_process(partial(make_bundle, workshop, point), died=partial(death, point))


def death(point: Point, code: int) -> LeansightError:
    """Return the error of a process that left no answer: killed, or with a defect."""
    if code < 0:
        return KilledError(how_it_ended(code))
    return LeansightError(f"{point.bundle_name}: {how_it_ended(code)}")
