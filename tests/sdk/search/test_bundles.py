import json
import re
import shlex
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapes
from command_line import invoke
from fake_search import OWN
from search_folder import trials_of

from leansight.runtime.bundle import Bundle
from leansight.runtime.errors import DataError
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.runs.run import Run, RunConfig
from leansight.sdk.search.bundles import Workshop, copy_start, death, make_in_own_process, make_run
from leansight.sdk.search.optimizer import FAILURES
from leansight.sdk.search.space import Point
from leansight.sdk.training.train import train
from leansight.sdk.training.trainer import Hardware


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (-signal.SIGKILL, r"its process was killed by SIGKILL \(not enough memory\?\)"),
        (-signal.SIGSEGV, r"its process was killed by SIGSEGV$"),
    ],
)
def test_a_process_that_is_killed_is_a_failure_of_its_point(code: int, said: str) -> None:
    error = death(OWN, code)
    assert isinstance(error, FAILURES)
    assert re.search(said, str(error))
    assert not isinstance(death(OWN, 1), FAILURES)  # a defect: the next point would have it too


@pytest.mark.slow
def test_the_error_of_a_process_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"start is not a run \(it has no run.json\)"):
        make_in_own_process(Workshop(folder=tmp_path, data=tmp_path), OWN)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    recipe = folder / "tiny.toml"
    recipe.write_text(
        shapes.RECIPE.replace("width = 4", "width = 16").replace("0.34", "0.34\ntest = 0.17")
    )
    return train(data, load_recipe(str(recipe)), out=folder / "run", hardware=Hardware(workers=0))


@pytest.mark.slow
def test_a_point_begins_with_the_run_or_learns_from_it(run: Run, tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    workshop = Workshop(
        folder=tmp_path,
        data=run.data,
        overrides=("training.epochs=1",),
        bank=bank,
        bank_views=1,
        workers=0,
    )
    copy_start(run, run.data, tmp_path)
    own = Point(width=16, size=32, share=0.0, precision="int8", threads=1)
    assert make_run(workshop, own) == tmp_path / "start"
    half = make_run(workshop, replace(own, share=0.5))
    start = RunConfig.load(half)
    assert start.options.network == half / "pruned.safetensors"
    assert start.options.teachers == (tmp_path / "start",)
    assert start.recipe.training.epochs == 1
    assert Run.load(half).split().test == ()
    other = make_run(workshop, replace(own, width=8, size=24, share=0.5))
    base = RunConfig.load(tmp_path / "runs" / "width-8-size-24-share-0")
    assert base.options.network is None
    assert base.options.teachers == (tmp_path / "start",)
    assert (base.recipe.model.width, base.recipe.preprocessing.size) == (8, 24)
    unpruned = tmp_path / "runs" / "width-8-size-24-share-0"
    assert RunConfig.load(other).options.teachers == (unpruned,)
    # A bank for each teacher and size: of the run, of the run for 24 px, of the unpruned one.
    banks = {run: RunConfig.load(run).options.bank for run in (half, unpruned, other)}
    assert len(set(banks.values())) == 3
    assert {view.parent for view in bank.rglob("view-000.npy")} == set(banks.values())
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model.safetensors")}
    assert make_run(workshop, replace(own, width=8, size=24, share=0.5, threads=2)) == other
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("model.safetensors")} == made


@pytest.mark.slow
def test_every_point_of_the_front_is_a_bundle_that_its_command_makes_again(
    run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "search"
    options = [
        *("--widths", 16, "--sizes", 32, "--shares", "0,0.5", "--precisions", "int8"),
        *("--threads", "1,2", "--epochs", 2, "--max-drop", 30, "--max-class-drop", 100),
    ]
    done = invoke("optimize", run.path, "--out", out, *options, "--workers", 0, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    front = json.loads(done.stdout)
    rows = trials_of(out)
    assert len(rows) == 4
    assert {row["state"] for row in rows} == {"complete"}
    # Threads are no other bundle, and nothing is trained for them.
    assert len(list((out / "bundles").iterdir())) == len({row["digest"] for row in rows}) == 2
    assert [path.name for path in (out / "runs").iterdir()] == ["width-16-size-32-share-0.5"]
    for row in front:
        bundle = out / "bundles" / row["bundle"]
        assert invoke("check", bundle).exit_code == 0
        metrics = Bundle.load(bundle).metrics
        assert set(metrics) == {"validation"}  # the test was not looked at
        int8 = next(f for f in metrics["validation"]["formats"] if f["name"] == "tflite int8")
        assert (row["accuracy"], row["coverage"]) == (int8["accuracy"], int8["coverage"])
        assert row["size_bytes"] == (bundle / "model.tflite").stat().st_size
        assert 0 < row["latency_ms"] <= row["latency_p90_ms"]
    assert cv2.imread(str(out / "pareto.png")) is not None
    pruned = next(row for row in rows if float(row["share"]))
    name, *words = shlex.split(pruned["command"])
    assert name == "leansight"
    again = invoke(*words, "--workers", 0)
    assert again.exit_code == 0, (again.output, again.exception)
    (bundle,) = Path(words[words.index("--out") + 1], "bundles").iterdir()
    original = out / "bundles" / pruned["bundle"]
    assert bundle.name == original.name
    for file in ("model.tflite", "model.onnx"):
        assert (bundle / file).read_bytes() == (original / file).read_bytes()
    table = invoke("optimize", run.path, "--out", out, *options)  # nothing is left to do
    assert table.exit_code == 0
    assert f"picture: {out / 'pareto.png'}" in table.stdout


@pytest.mark.slow
def test_a_refused_export_is_no_crash_and_is_not_made_twice(run: Run, tmp_path: Path) -> None:
    """A network that calls everything by one name as int8: its calibration saw gray alone."""
    poor, photos = tmp_path / "poor", tmp_path / "photos"
    shutil.copytree(run.path, poor)
    shutil.copytree(run.data, photos)
    assert cv2.imwrite(str(photos / "disc" / "gray.png"), np.full((40, 40, 3), 128, np.uint8))
    header = (run.path / "train.csv").read_text().splitlines()[0]
    (poor / "train.csv").write_text(f"{header}\ndisc/gray.png,disc,,,\n")
    done = invoke(
        *("optimize", poor, "--data", photos, "--out", tmp_path / "out", "--max-drop", 0),
        *("--widths", 16, "--sizes", 32, "--shares", 0, "--precisions", "int8,float32"),
        *("--threads", "1,2", "--workers", 0),
    )
    assert done.exit_code == 0, (done.output, done.exception)
    rows = trials_of(tmp_path / "out")
    refused = [row for row in rows if row["state"] == "refused"]
    assert {row["precision"] for row in refused} == {"int8"}
    assert len(refused) == 2
    for row in refused:
        assert re.search(r"int8 lost .* points of .*more than max_", row["reason"])
        assert f"refused: trial {row['trial']}" in done.stderr
    assert {row["precision"] for row in rows if row["state"] == "complete"} == {"float32"}
    (kept,) = (tmp_path / "out" / "bundles").glob("*.refused.txt")
    assert kept.read_text().strip() == refused[0]["reason"]
