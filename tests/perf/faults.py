"""Break every system call by which commands write, and count what is lost.

    python tests/perf/faults.py [COMMAND ...] [--share 0.1]

Each call that writes fails once with ENOSPC, once with EIO, and once the process is killed there.
Then: the command has ended, in one line if it failed; what was there before is whole, and so is
what appeared; and the same command, given again, ends well and leaves what an unbroken one leaves.
"""

import argparse
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import cv2
import numpy as np
import shapes
from hostile.attacks import forge
from hostile.far_side import FarSide
from hostile.faults import End, Work, command, injections, run, writing_calls

from leansight.exporters import export as export_module
from leansight.exporters.conversion.convert import FloatGraphs, convert_folded, example_image
from leansight.exporters.conversion.folding import fold
from leansight.runtime.bundle import Bundle
from leansight.runtime.golden import check_golden
from leansight.runtime.installation.versions import Installation
from leansight.runtime.service.stream_trial import StreamTrial
from leansight.sdk.labelling.session import LabellingSession
from leansight.sdk.runs.run import Run, RunConfig
from leansight.sdk.training.checkpoints import LAST_CHECKPOINT, read_checkpoint

# What the commands import, imported once; not LiteRT, which begins threads.
IMPORTED = (
    "ai_edge_quantizer",
    "litert_torch",
    "onnxscript",
    "leansight.sdk.training.train",
    "leansight.sdk.deployment.export_run",
    "leansight.sdk.commands.export",
    "leansight.sdk.evaluation.report",
    "leansight.sdk.pruning.prune",
    "matplotlib.pyplot",
    "torch.utils.tensorboard",
)
# Files that have another name each time, or are there only after a fault.
PASSING = (".damaged", "run.lock", "prune.lock", "study.lock")


class Attempt(Protocol):
    """Does a work once, with a fault of strace's or without one; see `hostile.faults.run`."""

    def __call__(self, work: Work, folder: Path, *, inject: str | None = None) -> End: ...


@dataclass(frozen=True)
class Scenario:
    """A command, what to give after a fault, and what raises where something is broken.

    `before` is a folder whose content is there at the beginning; `attempt` runs into a fault;
    `finished` raises where the command, given again, has not done its work.
    """

    first: Work
    again: Callable[[Path], Work | None]
    whole: Callable[[Path], object]
    before: Path | None = None
    attempt: Attempt = run
    finished: Callable[[Path], object] = lambda _: None


class Given:
    """What commands are given: drawn images, a run, a bundle, ..., each made when it is wanted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = shapes.write_data_set(folder / "shapes")
        self.recipe = folder / "tiny.toml"
        self.recipe.write_text(shapes.RECIPE)

    @property
    def training(self) -> tuple[object, ...]:
        """The words of a training of one epoch, but for `--out`."""
        constant = ("--set", "training.schedule=constant")  # which an epoch more does not change
        words = ("--recipe", self.recipe, "--epochs", 1, "--workers", 0, *constant)
        return "train", self.images, *words

    @cached_property
    def run(self) -> Path:
        """A run of one epoch."""
        return self._made("run", *self.training, "--out")

    @cached_property
    def graphs(self) -> FloatGraphs:
        """What a conversion of the run gives; it begins threads, so it is done in a fork."""
        made, kept = Run.load(self.run), self.folder / "graphs.npz"
        preprocessing = made.recipe.preprocessing
        folded = fold(made.network(), example_image(preprocessing))

        def convert() -> None:
            files = convert_folded(folded, preprocessing).files
            np.savez(kept, **{kind: np.frombuffer(files[kind], np.uint8) for kind in files})

        end = self._done(convert)
        assert end.code == 0, end.said
        with np.load(kept) as files:
            onnx, tflite = (files[kind].tobytes() for kind in ("onnx", "tflite"))
        return FloatGraphs(onnx=onnx, tflite=tflite, folded=folded)

    @cached_property
    def bundle(self) -> Path:
        """Its bundle."""
        return self._made("shapes.bundle", "export", self.run, "--out")

    @cached_property
    def video(self) -> Path:
        """A video of a second."""
        return self._made("drive.mp4", "data", "video", "--seconds", 1)

    @cached_property
    def hard_examples(self) -> Path:
        """A folder that holds `hard`, pictures that the bundle is not sure of."""
        words = ("stream", self.bundle, "--source", self.video, "--every-frame", "--threshold", 1)
        return self._made("examples/hard", *words, "--hard-examples").parent

    @cached_property
    def installed(self) -> Path:
        """A folder that holds `signs`, where another bundle is installed."""
        other = shutil.copytree(self.bundle, self.folder / "other.bundle")
        forge(other, lambda manifest: manifest.update(name="other"))
        Installation(self.folder / "installed" / "signs").install(Bundle.load(other))
        return self.folder / "installed"

    @cached_property
    def far(self) -> Path:
        """A folder that holds `far/MACHINE/signs`, where another bundle is installed."""
        for machine in _MACHINES:
            home = self.folder / "machines" / "far" / machine
            shutil.copytree(self.installed, home, symlinks=True)
            (home / "tmp").mkdir()
        return self.folder / "machines"

    @cached_property
    def far_side(self) -> FarSide:
        """What answers for the machines."""
        return FarSide(self.folder.parent)

    @cached_property
    def begun(self) -> Path:
        """A folder that holds `run`, as it is after a kill in the second of two epochs."""
        begun = self.folder / "begun" / "run"
        shutil.copytree(self.run, begun)
        (begun / "run.json").unlink()
        values = json.loads((begun / "start.json").read_text())
        values["recipe"]["training"]["epochs"] = 2
        (begun / "start.json").write_text(json.dumps(values))
        return begun.parent

    def _made(self, name: str, *words: object) -> Path:
        end = self._done(command(*words, self.folder / name))
        assert end.code == 0, end.said
        return self.folder / name

    def _done(self, work: Work) -> End:
        (self.folder.parent / "work" / "tmp").mkdir(parents=True, exist_ok=True)
        return run(work, self.folder.parent)


def train(given: Given) -> Scenario:
    """A new run."""
    begin = command(*given.training, "--out", "run")
    return Scenario(
        begin,
        lambda work: _go_on(work) if RunConfig.exists(work / "run") else begin,
        lambda work: Run.load(work / "run").network() if _has(work, "run/run.json") else None,
    )


def go_on(given: Given) -> Scenario:
    """The second epoch of a run: its checkpoint is replaced."""
    resume = command(*_RESUME)
    return Scenario(resume, _go_on, lambda work: _checkpoints(work / "run"), before=given.begun)


def prune(given: Given) -> Scenario:
    """A smaller run of a run."""
    words = command("prune", given.run, "--share", 0.5, "--epochs", 1, "--out", "run")
    return Scenario(
        words,
        lambda work: None if _has(work, "run/run.json") else words,
        lambda work: Run.load(work / "run").network() if _has(work, "run/run.json") else None,
    )


def export(given: Given) -> Scenario:
    """A bundle of a run; the conversion, which takes longest and writes nothing, is done once."""
    graphs = given.graphs
    export_module.convert = lambda *_: graphs
    words = command("export", given.run, "--out", "new.bundle", "--report", "parity")
    return Scenario(
        words,
        lambda work: None if _has(work, "new.bundle") or _has(work, "parity") else words,
        lambda work: Bundle.load(work / "new.bundle") if _has(work, "new.bundle") else None,
    )


def evaluate(given: Given) -> Scenario:
    """A report."""
    words = command("evaluate", given.bundle, given.images, "--out", "report")
    return Scenario(words, lambda work: None if _has(work, "report") else words, _report)


def signs(_: Given) -> Scenario:
    """Drawn images."""
    words = command("data", "signs", "signs", "--images", 336)
    return Scenario(
        words,
        lambda work: None if _has(work, "signs") else words,
        lambda work: _count(work / "signs", 336) if _has(work, "signs") else None,
    )


def video(_: Given) -> Scenario:
    """A video and its labels, written again where they are."""
    words = command("data", "video", "drive.mp4", "--seconds", 1, "--labels", "drive.csv")
    return Scenario(words, lambda _: words, lambda _: None)


def stream(given: Given) -> Scenario:
    """All outputs of a stream; what is lost while a disk is full is told, and the rest goes on."""
    outputs = ("--json-file", "a.jsonl", "--save", "a.mkv", "--hard-examples", "hard")
    words = command("stream", given.bundle, "--source", given.video, "--threshold", 1, *outputs)
    return Scenario(words, lambda _: None, _outputs)


def label(given: Given) -> Scenario:
    """Labels of pictures, which move to other folders."""
    count = len(list((given.hard_examples / "hard").glob("*.jpg")))
    return Scenario(
        _label_all,
        lambda _: _label_all,
        lambda work: _pictures(work, count),
        before=given.hard_examples,
    )


def install(given: Given) -> Scenario:
    """A bundle in the place of another one."""
    words = command("install", given.bundle, "--to", "signs")
    wanted = Bundle.load(given.bundle).digest
    check_golden(given.bundle)  # it has run here: no other process is started for it

    def works(work: Path) -> str:
        return Bundle.load(work / "signs" / "current").digest

    return Scenario(
        words,
        lambda work: None if works(work) == wanted else words,
        works,
        before=given.installed,
    )


def deploy(given: Given) -> Scenario:
    """A bundle in the place of another one on two machines, with faults on this one."""
    return _deployment(given, given.far_side.run_near)


def deploy_far(given: Given) -> Scenario:
    """The same, with faults on the first of the two."""
    return _deployment(given, given.far_side.run)


def _deployment(given: Given, attempt: Attempt) -> Scenario:
    on = [word for machine in _MACHINES for word in ("--on", machine)]
    python = ("--remote-python", sys.executable)
    words = command("deploy", given.bundle, *on, "--to", "signs", *python)
    wanted = Bundle.load(given.bundle).digest
    check_golden(given.bundle)
    old = Bundle.load(given.installed / "signs" / "current").digest

    def digests(work: Path) -> list[str]:
        homes = [work / "far" / machine for machine in _MACHINES]
        return [Bundle.load(home / "signs" / "current").digest for home in homes]

    def works(work: Path) -> None:
        said = given.far_side.trouble()
        assert not said, said
        assert digests(work) in ([old, old], [wanted, old], [wanted, wanted])

    def finished(work: Path) -> None:
        assert digests(work) == [wanted, wanted]

    return Scenario(
        words, lambda _: words, works, before=given.far, attempt=attempt, finished=finished
    )


def trial(given: Given) -> Scenario:
    """A version on trial that nobody watches, and that a third start of its stream takes back."""
    wanted = Bundle.load(given.bundle)
    check_golden(given.bundle)
    old = Bundle.load(given.installed / "signs" / "current").digest

    def put_on_trial_and_start() -> None:
        os.environ["NOTIFY_SOCKET"] = "/run/nobody"
        installation = Installation(Path("signs"))
        try:
            with installation.alone():
                installation.install(wanted, trial_s=60)
        except (OSError, ValueError) as error:
            _tell(str(error))
            sys.exit(1)
        for _ in range(3):
            StreamTrial.of(installation.link, end=sys.exit, tell=_tell)

    def works(work: Path) -> None:
        installation = Installation(work / "signs")
        version = installation.current()
        assert version is not None
        assert version.bundle.digest in (old, wanted.digest)
        if version.bundle.digest == wanted.digest:  # whoever starts next can decide
            assert installation.pending_trial() is not None

    return Scenario(
        put_on_trial_and_start, lambda _: put_on_trial_and_start, works, before=given.installed
    )


SCENARIOS = {
    made.__name__.replace("_", "-"): made
    for made in (
        *(train, go_on, prune, export, evaluate, signs, video, stream, label),
        *(install, trial, deploy, deploy_far),
    )
}
_MACHINES = ("pi@a", "pi@b")
_RESUME = ("train", "--resume", "--workers", 0, "--out", "run")


def main() -> None:
    """Break what is asked for; exit with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commands", nargs="*", help=", ".join(SCENARIOS))
    parser.add_argument("--share", type=float, default=1.0, help="share of the faults, drawn")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for module in IMPORTED:
        importlib.import_module(module)
    broken = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder / "work" / "tmp")
        given = Given(folder / "given")
        for chosen in arguments.commands or SCENARIOS:
            drawn = np.random.default_rng(arguments.seed)
            scenario = SCENARIOS[chosen](given)
            broken += break_all(chosen, scenario, folder, arguments.share, drawn)
    sys.exit(bool(broken))


def break_all(
    name: str, scenario: Scenario, folder: Path, share: float, drawn: np.random.Generator
) -> list[str]:
    """Give each fault in turn; return a line for each that lost or left something."""
    work = folder / "work"
    _begin(work, scenario)
    unbroken = scenario.attempt(scenario.first, folder)
    assert unbroken.code == 0, unbroken.said
    wanted = _names(work)
    calls = writing_calls(unbroken.trace, work)
    faults = [fault for fault in injections(calls) if drawn.random() < share]
    broken, begun = [], time.monotonic()
    for call, kind, inject in faults:
        _begin(work, scenario)
        trouble = _break(scenario, folder, inject, wanted)
        if trouble:
            broken.append(f"{name}: {call.name} {call.number} {kind}: {trouble}")
            print(broken[-1], flush=True)
    minutes = (time.monotonic() - begun) / 60
    print(
        f"{name}: {len(broken)} broken of {len(faults)} faults at {len(calls)} calls "
        f"({minutes:.0f} minutes)",
        flush=True,
    )
    return broken


def _break(scenario: Scenario, folder: Path, inject: str, wanted: set[str]) -> str:
    """Return what one fault has broken, "" for nothing."""
    work = folder / "work"
    end = scenario.attempt(scenario.first, folder, inject=inject)
    if not end.is_plain:
        return f"ended with {end.code}: {end.said[-300:]!r}"
    if damage := _damage(scenario.whole, work):
        return damage
    again = scenario.again(work)
    if again is None:
        return ""
    second = run(again, folder)
    if second.code != 0:
        return f"given again, it ended with {second.code}: {second.said[-300:]!r}"
    names = _names(work)
    left = f"left over: {sorted(names - wanted)}, missing: {sorted(wanted - names)}"
    damage = _damage(scenario.whole, work) or _damage(scenario.finished, work)
    return damage or left * (names != wanted)


def _damage(holds: Callable[[Path], object], work: Path) -> str:
    """Return what is not whole, "" for nothing."""
    try:
        holds(work)
    except (ValueError, OSError, KeyError, AssertionError) as error:
        return f"not whole: {error!r}"
    return ""


def _begin(work: Path, scenario: Scenario) -> None:
    shutil.rmtree(work, ignore_errors=True)
    if scenario.before is None:
        work.mkdir()
    else:
        shutil.copytree(scenario.before, work, symlinks=True)
    (work / "tmp").mkdir()


def _names(work: Path) -> set[str]:
    """Return the names of all files; TensorBoard's have the time in them."""
    names = {str(path.relative_to(work)) for path in work.rglob("*")}
    return {
        name for name in names if "tensorboard/events" not in name and not name.endswith(PASSING)
    }


def _has(work: Path, name: str) -> bool:
    return (work / name).exists()


def _go_on(work: Path) -> Work | None:
    return None if _has(work, "run/run.json") else command(*_RESUME)


def _checkpoints(run_folder: Path) -> None:
    assert read_checkpoint(run_folder / "checkpoints" / LAST_CHECKPOINT)["epoch"] in (0, 1)
    if (run_folder / "run.json").exists():
        Run.load(run_folder).network()


def _report(work: Path) -> None:
    if _has(work, "report"):
        json.loads((work / "report" / "report.json").read_text())
        assert (work / "report" / "report.html").read_text().endswith("</html>")


def _count(folder: Path, images: int) -> None:
    assert sum(1 for _ in folder.rglob("*.png")) == images


def _outputs(work: Path) -> None:
    """Hold the outputs of a stream to what they promise: whole lines, whole pictures."""
    if (work / "a.jsonl").exists():
        for line in (work / "a.jsonl").read_text().splitlines():
            json.loads(line)
    for picture in work.glob("hard/[!.]*.jpg"):
        assert cv2.imread(str(picture)) is not None


def _label_all() -> None:
    session = LabellingSession(Path("hard"), Path("labelled"))
    try:
        while session.current is not None:
            session.label(session.labels[0])
    except OSError as error:  # which the page shows
        print(f"leansight: {error}", file=sys.stderr)
        sys.exit(1)


def _tell(line: str) -> None:
    print(f"leansight: {line}", file=sys.stderr)


def _pictures(work: Path, count: int) -> None:
    """Every picture is there once, or, by a kill between two file systems, twice."""
    assert len({path.name for path in work.rglob("[!.]*.jpg")}) == count


if __name__ == "__main__":
    main()
