import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapes
from fake_study import (
    GRID,
    TRAINER,
    finished,
    is_alive,
    make_runner,
    make_study,
    run_json,
    start_study,
    started,
    state_of,
    under_way,
    wait_until,
)

from leansight.runtime.errors import DataError
from leansight.sdk.studies import executors
from leansight.sdk.studies import runner as studies
from leansight.sdk.studies.executors import (
    CellTask,
    Outcome,
)


def test_a_study_runs_every_cell_and_tests_the_winner_once(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    out = tmp_path / "study"
    ended: list[Outcome] = []
    counts: list[int] = []
    runner = make_runner(make_study(data, GRID), out, trainer)
    results = replace(runner, report_outcome=ended.append, report_running=counts.append).run()

    assert results.winner is not None
    assert results.winner.name == "learning_rate=0.1 width=4"
    assert results.metrics is not None
    assert results.metrics == {"test accuracy": 0.75}  # its validation images it has learnt
    assert {path.name for path in out.iterdir()} == {
        *(
            "study.json",
            "recipe.toml",
            "cells",
            "winner",
            "winner.log",
            "winner.json",
        ),
        *("results.json", "results.png"),
    }
    runs = [run_json(folder) for folder in (out / "cells").iterdir() if folder.is_dir()]
    assert len(runs) == 8
    assert all("--no-test" in run["arguments"] for run in runs)
    assert not any("--everything" in run["arguments"] for run in runs)
    winner = run_json(out / "winner")["arguments"]
    assert "--everything" in winner
    assert "--no-test" not in winner

    scores = [
        run_json(out / "cells" / f"01-learning_rate=0.1-width=4-fold{fold}-seed0")["metrics"]
        for fold in (0, 1)
    ]
    mean = np.mean([metrics["validation accuracy"] for metrics in scores])
    assert results.candidates[0].mean == pytest.approx(mean)
    assert json.loads((out / "results.json").read_text()) == results.to_dict()
    assert len(ended) == 9
    assert max(counts) == 2


def test_the_cores_are_divided_among_the_jobs(
    data: Path, tmp_path: Path, trainer: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(executors, "available_cores", lambda: 7)
    study = make_study(data, ["model.width=4,8"], folds=0)
    study = replace(study, overrides=(*study.overrides, "training.learning_rate=0.1"))
    make_runner(study, tmp_path / "study", trainer).run()
    threads = {
        path.parent.name: run_json(path.parent)["threads"] for path in tmp_path.rglob("run.json")
    }
    assert threads == {"01-width=4-fold0-seed0": "3", "02-width=8-fold0-seed0": "3", "winner": "7"}
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # the user's own word, where it is less
    make_runner(study, tmp_path / "other", trainer).run()
    assert run_json(tmp_path / "other" / "winner")["threads"] == "2"


def test_what_is_finished_is_kept(data: Path, tmp_path: Path, trainer: tuple[str, ...]) -> None:
    runner = make_runner(make_study(data), tmp_path / "study", trainer)
    first = runner.run()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("starts.txt")}
    assert len(before) == 5
    second = replace(runner, trainer=("false",)).run()
    assert second == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("starts.txt")} == before


def test_a_failed_cell_keeps_no_other_from_running(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    out = tmp_path / "study"
    study = make_study(data, ["training.learning_rate=9,0.1"])
    runner = make_runner(study, out, trainer)
    results = runner.run()
    assert results.failed == {
        f"01-learning_rate=9-fold{fold}-seed0": "the loss is not a finite number" for fold in (0, 1)
    }
    assert results.winner is None
    assert [result.missing for result in results.candidates] == [2, 0]
    assert not (out / "winner").exists()
    assert json.loads((out / "results.json").read_text())["winner"] is None

    healed = tmp_path / "healed.py"
    healed.write_text(TRAINER.read_text().replace('== "9"', '== "10"'))
    results = replace(runner, trainer=(sys.executable, "-IS", str(healed))).run()
    assert not results.failed
    assert results.winner is not None
    assert len((out / "cells/02-learning_rate=0.1-fold0-seed0/starts.txt").read_text().split()) == 1


def test_candidates_that_failed_can_be_skipped(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    out = tmp_path / "study"
    study = make_study(data, ["training.learning_rate=9,0.01"])
    runner = replace(make_runner(study, out, trainer), skip_failed=True)
    results = runner.run()
    assert results.winner is not None
    assert results.winner.name == "learning_rate=0.01"
    assert results.metrics is not None

    # The one that had failed now works, and is better: the test has been looked at.
    healed = tmp_path / "healed.py"
    better = TRAINER.read_text().replace('== "9"', '== "10"').replace('== "0.1"', '== "9"')
    healed.write_text(better)
    again = replace(runner, trainer=(sys.executable, "-IS", str(healed)))
    with pytest.raises(
        DataError, match=r"winner is of learning_rate=0\.01, .* second time, delete"
    ):
        again.run()
    (out / "winner.json").unlink()
    shutil.rmtree(out / "winner")
    results = again.run()
    assert results.winner is not None
    assert results.winner.name == "learning_rate=9"


def test_a_killed_child_is_a_failed_cell_that_goes_on_later(
    data: Path, tmp_path: Path, trainer: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make_runner(make_study(data, epochs=8), tmp_path / "whole", trainer).run()

    out = tmp_path / "study"
    first = out / "cells" / "01-learning_rate=0.1-fold0-seed0"
    monkeypatch.setenv("EPOCH_SECONDS", "0.05")
    killed: list[int] = []

    def kill_one(running: int) -> None:
        if running and not killed and (first / "checkpoint.json").exists():
            killed.append(int((first / "starts.txt").read_text()))
            os.kill(killed[0], signal.SIGKILL)

    runner = make_runner(make_study(data, epochs=8), out, trainer)
    # `running` is told of every look at the processes.
    results = replace(runner, report_running=kill_one).run()
    assert results.failed == {first.name: "ended by signal 9 (Killed)"}
    monkeypatch.delenv("EPOCH_SECONDS")
    assert runner.run() == expected
    assert len((first / "starts.txt").read_text().split()) == 2


def test_a_training_that_leaves_no_run_has_failed(data: Path, tmp_path: Path) -> None:
    results = make_runner(make_study(data, []), tmp_path / "study", ("true",)).run()
    assert set(results.failed.values()) == {"ended with exit code 0 but left no run"}


def test_every_node_needs_the_teachers_and_the_bank_which_is_there_first(
    data: Path, tmp_path: Path
) -> None:
    bank, teacher = tmp_path / "new" / "bank", tmp_path / "teacher"
    found: list[tuple[tuple[Path, ...], bool]] = []

    class Node:
        def run(
            self, tasks: Sequence[CellTask], _: Callable[[int], None]
        ) -> Generator[Outcome, None, None]:
            found.extend((task.needs, bank.is_dir()) for task in tasks)
            yield from (Outcome(task=task, error="no training here") for task in tasks)

    study = replace(make_study(data), teachers=(teacher,), bank=bank)
    replace(make_runner(study, tmp_path / "study", ()), executor=Node()).run()
    assert len(found) == 4
    assert all({teacher, bank} <= set(needs) and made for needs, made in found)


def test_another_study_in_the_folder_is_named(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    make_runner(make_study(data, GRID, folds=2), out, ("true",)).run()
    before = (out / "study.json").read_bytes()
    other = make_study(data, ["training.learning_rate=0.1,0.02"], folds=3, epochs=4)
    with pytest.raises(
        DataError,
        match=r"begun with other settings: recipe\.training\.epochs was 3, not 4; "
        r"grid\.training\.learning_rate was 0\.1,0\.01, not 0\.1,0\.02; "
        r"grid\.model\.width was 4,8, not nothing; folds was 2, not 3\. Repeat those to go on",
    ):
        make_runner(other, out, ("true",)).run()
    assert (out / "study.json").read_bytes() == before


def test_a_users_recipe_is_copied_and_compared_by_its_content(
    data: Path, tmp_path: Path, trainer: tuple[str, ...], recipe: Path
) -> None:
    out = tmp_path / "study"
    study = make_study(data, ["training.learning_rate=0.1,0.01"])
    make_runner(study, out, trainer).run()
    arguments = run_json(out / "winner")["arguments"]
    assert isinstance(arguments, list)
    assert arguments[arguments.index("--recipe") + 1] == str(out / "recipe.toml")
    assert (out / "recipe.toml").read_text() == shapes.RECIPE

    recipe.write_text(shapes.RECIPE.replace("batch_size = 8", "batch_size = 4"))
    with pytest.raises(
        DataError, match=r"with other settings: recipe\.training\.batch_size was 8, not 4"
    ):
        make_runner(study, out, trainer).run()


def test_a_folder_of_other_things_is_left_alone(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(DataError, match=r"is neither empty nor a study: choose another folder"):
        make_runner(make_study(data), tmp_path, trainer).run()


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_definition_is_named(
    data: Path, tmp_path: Path, trainer: tuple[str, ...], content: str
) -> None:
    out = tmp_path / "study"
    out.mkdir()
    (out / "study.json").write_text(content)
    with pytest.raises(DataError, match=r"study\.json is damaged: "):
        make_runner(make_study(data), out, trainer).run()


def test_two_studies_at_once_in_one_folder_are_refused(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    runner = make_runner(make_study(data), tmp_path / "study", trainer)
    messages = []

    def start_another(_: Outcome) -> None:
        with pytest.raises(DataError, match=r"study is in use: another process") as error:
            runner.run()
        messages.append(str(error.value))

    replace(runner, report_outcome=start_another).run()
    assert len(messages) == 5


def test_a_study_whose_process_group_is_killed_goes_on_where_it_was(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    study = make_study(data, GRID, epochs=5)
    expected = make_runner(study, tmp_path / "whole", trainer).run()

    out = tmp_path / "study"
    process = start_study(data, out, trainer, epochs=5)
    try:
        wait_until(lambda: len(finished(out)) >= 3 and len(under_way(out)) >= 1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    wait_until(lambda: not any(map(is_alive, started(out))), 5)

    kept, cut = finished(out), under_way(out)
    assert 3 <= len(kept) < 8
    assert cut
    before = state_of(kept)
    assert before
    assert make_runner(study, out, trainer).run() == expected
    assert state_of(kept) == before
    assert all(len((cell / "starts.txt").read_text().split()) == 2 for cell in cut)
    assert (out / "results.json").read_bytes() == (tmp_path / "whole/results.json").read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel to end the children")
def test_no_training_outlives_a_killed_study(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    out = tmp_path / "study"
    process = start_study(data, out, trainer, epochs=1000)
    try:
        wait_until(lambda: len(under_way(out)) == 2)
        assert all(map(is_alive, started(out)))
    finally:
        process.kill()  # it alone
        process.wait()
    wait_until(lambda: not any(map(is_alive, started(out))), 5)


def test_an_interrupt_ends_the_trainings(
    data: Path, tmp_path: Path, trainer: tuple[str, ...]
) -> None:
    out = tmp_path / "study"
    process = start_study(data, out, trainer, epochs=1000)
    try:
        wait_until(lambda: len(under_way(out)) == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) != 0
        assert not any(map(is_alive, started(out)))
    finally:
        process.kill()
        process.wait()


def test_a_study_that_was_killed_while_it_began_begins_again(
    data: Path, tmp_path: Path, trainer: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make_runner(make_study(data), tmp_path / "study", trainer)

    def killed(file: Path, _: object) -> None:
        file.with_name(f".{file.name}.part").write_text("{")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(studies, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            runner.run()
    assert not (tmp_path / "study" / "study.json").exists()
    assert runner.run().winner
