import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from leansight.runtime.errors import DataError
from leansight.sdk.commands.options.training import train_arguments
from leansight.sdk.studies.grid import Axis, Candidate, Cell, Study
from leansight.sdk.studies.results import (
    CandidateResult,
    StudyResults,
    choose,
    read_score,
    summarise,
    table,
    write_picture,
)
from leansight.sdk.system.definition import differences


def make_study(grid: Sequence[str], *, seeds: tuple[int, ...] = (0,)) -> Study:
    return Study(
        data=Path("photos"),
        recipe="masks-cnn",
        grid=tuple(map(Axis.parse, grid)),
        folds=2,
        seeds=seeds,
    )


# What is tried


def test_the_grid_is_every_combination_on_every_fold_with_every_seed() -> None:
    study = make_study(["training.learning_rate=0.1,1e-2", "model.width=4,8"], seeds=(3, 5))
    names = [cell.name for cell in study.cells()]
    assert names[:5] == [
        "01-learning_rate=0.1-width=4-fold0-seed3",
        "02-learning_rate=0.1-width=8-fold0-seed3",
        "03-learning_rate=1e-2-width=4-fold0-seed3",
        "04-learning_rate=1e-2-width=8-fold0-seed3",
        "01-learning_rate=0.1-width=4-fold1-seed3",
    ]
    assert len(set(names)) == len(names) == 2 * 2 * 2 * 2


def test_without_a_grid_the_recipe_itself_is_the_candidate() -> None:
    (candidate,) = make_study([]).candidates
    assert candidate.name == "the recipe"
    assert [cell.name for cell in make_study([]).cells()] == [
        "01-fold0-seed0",
        "01-fold1-seed0",
    ]


def test_a_model_is_named_by_its_name() -> None:
    study = make_study(["model.name=resnet-custom,masks-cnn"])
    assert [c.name for c in study.candidates] == ["model=resnet-custom", "model=masks-cnn"]


@given(
    st.lists(
        st.tuples(st.text(max_size=40), st.text(max_size=300)), unique=True, min_size=2, max_size=4
    ),
    st.integers(0, 9),
    st.integers(0, 2**32 - 1),
)
def test_a_cell_has_a_folder_of_its_own_that_every_file_system_takes(
    settings: list[tuple[str, str]], fold: int, seed: int
) -> None:
    names = [
        Cell(candidate=Candidate(number=number, settings=(pair,)), fold=fold, seed=seed).name
        for number, pair in enumerate(settings, start=1)
    ]
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.=_-]{0,99}", name) for name in names)


@given(
    st.lists(
        st.sampled_from(
            ["0.1", "1e-3", "resnet50", "[1, 2]", "{a = 1, b = [2, 3]}", '"x,y]"', "''"]
        ),
        min_size=1,
        max_size=7,
        unique=True,
    ),
    st.sampled_from([",", ", "]),
)
def test_commas_inside_a_value_do_not_end_it(values: list[str], comma: str) -> None:
    assert Axis.parse(f"model.x={comma.join(values)}").values == tuple(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.learning_rate", r"expected KEY=V1,V2"),
        ("=1,2", r"expected KEY=V1,V2"),
        ("model.width=1,,2", r"expected KEY=V1,V2"),
        ("model.width=1,2,1", r"a value is there twice"),
        ("split.seed=1,2", r"cannot be compared \(folds and seeds"),
        ("split.fold=0,1", r"cannot be compared"),
        ("training.seed=0,1", r"have options of their own"),
        ("training.choose_by=accuracy,loss", r"cannot be compared"),
    ],
)
def test_a_grid_that_cannot_be(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Axis.parse(text)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["model.width=4,8", "model.width=16"], r"^a key is there twice"),
        (["training.learning_rate=0.1,1e-1"], r"learning_rate=1e-1 is learning_rate=0.1 again"),
        (["training.learning_rat=0.1"], r"training\.learning_rat is unknown"),
        (["training.learning_rate=fast"], r"training\.learning_rate must be a number"),
        (["model.width=4,0"], r"model\.width must be 1 or more, not 0"),
    ],
)
def test_every_candidate_must_be_a_valid_recipe(grid: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_study(grid)


def test_seeds_must_differ() -> None:
    with pytest.raises(DataError, match=r"^1,1: expected different whole numbers"):
        make_study([], seeds=(1, 1))


def test_a_cell_never_sees_the_test_and_the_winner_learns_from_everything(tmp_path: Path) -> None:
    study = Study(
        data=tmp_path,
        recipe="masks-cnn",
        overrides=("training.epochs=3",),
        grid=(Axis.parse("model.width=4,8"),),
        folds=2,
        seeds=(7,),
        test_on="belgium",
        weights=(tmp_path / "w.safetensors",),
        teachers=(tmp_path / "large", tmp_path / "larger"),
        bank=tmp_path / "bank",
        bank_views=20,
        skip_bad=True,
    )
    cell = list(study.cells())[3]
    shared = [
        *(str(tmp_path), "--recipe", "masks-cnn", "--out", str(tmp_path / "run"), "--resume"),
        *("--test-on", "belgium", "--set", "training.epochs=3", "--set", "model.width=8"),
        *("--set", "split.folds=2", "--set"),
    ]
    rest = [
        *("--set", "training.seed=7", "--weights", str(tmp_path / "w.safetensors")),
        *("--teacher", str(tmp_path / "large"), "--teacher", str(tmp_path / "larger")),
    ]

    def bank(name: str) -> list[str]:
        return ["--bank", str(tmp_path / "bank" / name), "--bank-views", "20", "--skip-bad"]

    arguments = train_arguments(study, cell, out=tmp_path / "run", everything=False)
    assert list(arguments) == [*shared, "split.fold=1", *rest, *bank("fold1"), "--no-test"]
    winner = study.winner(cell.candidate)
    arguments = train_arguments(study, winner, out=tmp_path / "run", everything=True)
    assert list(arguments) == [
        *(*shared, "split.fold=0", *rest),
        *(*bank("everything"), "--everything"),
    ]


@pytest.mark.parametrize(
    ("key", "values", "named"),
    [
        ("preprocessing.size", "48,64", "preprocessing"),
        ("augmentation", '[],[{change = "noise", sigma = 9}]', "augmentation"),
        ("training.scene_scale", "1,2", "scene_scale"),
        ("data.per_class", "0,100", "data"),
    ],
)
def test_candidates_whose_views_differ_share_no_bank(key: str, values: str, named: str) -> None:
    study = make_study([f"{key}={values}", "model.width=4,8"])
    with pytest.raises(DataError, match=rf"that differ in {named} cannot share") as refused:
        replace(study, bank=Path("bank"))
    assert refused.value.parameter == "bank"


def test_networks_losses_and_seeds_share_a_bank() -> None:
    grid = ["model.width=4,8", "training.label_smoothing=0,0.1", "training.epochs=2,3"]
    study = replace(make_study(grid, seeds=(0, 1)), bank=Path("bank"))
    assert len(list(study.cells())) == 2 * 2 * 2 * 2 * 2


def test_differences_are_named_by_their_keys() -> None:
    old = {
        "folds": 2,
        "recipe": {"training": {"epochs": 3, "seed": 0}},
        "seeds": [0],
        "test_on": "",
    }
    new = {"folds": 3, "recipe": {"training": {"epochs": 3, "seed": 1}}, "seeds": [0, 1], "x": "y"}
    assert differences(old, new) == [
        "folds was 2, not 3",
        "recipe.training.seed was 0, not 1",
        "seeds was 0, not 0,1",
        "x was nothing, not y",
    ]
    assert not differences(old, old)


# What is found


def results_of(scores: dict[str, list[float | None]]) -> StudyResults:
    """Results with one candidate per name, its scores by fold (None: missing)."""
    cells, found = [], {}
    for number, (name, values) in enumerate(scores.items(), start=1):
        candidate = Candidate(number=number, settings=(("model.width", name),))
        for fold, value in enumerate(values):
            cells.append(Cell(candidate=candidate, fold=fold, seed=0))
            if value is not None:
                found[cells[-1]] = value
    candidates = summarise(cells, found)
    return StudyResults(
        choose_by="validation accuracy",
        candidates=candidates,
        winner=choose(candidates),
        failed={},
    )


@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=5), min_size=1, max_size=5))
def test_the_best_mean_over_folds_wins(scores: list[list[float]]) -> None:
    results = results_of({str(i): list(values) for i, values in enumerate(scores)})
    for result, values in zip(results.candidates, scores, strict=True):
        assert result.mean == pytest.approx(np.mean(values))
        assert result.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-12)
        assert result.by_fold == dict(enumerate(values))
    assert results.winner is not None
    means = [np.mean(values) for values in scores]
    assert means[results.winner.number - 1] == pytest.approx(max(means))


def test_of_equals_the_first_wins_and_a_missing_cell_cannot() -> None:
    results = results_of({"4": [0.9, None], "8": [0.5, 0.7], "16": [0.7, 0.5]})
    assert results.winner == results.candidates[1].candidate
    assert [result.missing for result in results.candidates] == [1, 0, 0]
    assert choose(results_of({"4": [None], "8": [0.1, None]}).candidates) is None


def test_a_fold_is_the_mean_of_its_seeds() -> None:
    candidate = Candidate(number=1)
    cells = [
        Cell(candidate=candidate, fold=f, seed=s) for f, s in itertools.product((0, 1), (0, 1))
    ]
    scores = dict(zip(cells, (0.1, 0.3, 0.6, 0.8), strict=True))
    result = CandidateResult(candidate=candidate, scores=scores)
    assert result.by_fold == {0: pytest.approx(0.2), 1: pytest.approx(0.7)}


def test_the_table_marks_the_winner_and_says_what_is_missing() -> None:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table(results_of({"4": [0.5, 0.75], "8": [0.25, None], "16": [None, None]})))
    rows = [line.split() for line in captured.get().splitlines() if "width" in line]
    assert rows == [
        ["width=4", "62.50", "±", "17.68", "*", "50.00", "75.00"],
        ["width=8", "25.00", "25.00", "-", "1"],
        ["width=16", "-", "-", "-", "2"],
    ]


def test_the_picture_has_a_row_and_dots_for_each_candidate(tmp_path: Path) -> None:
    write_picture(results_of({"4": [0.5, 0.75], "8": [0.25, 0.5]}), tmp_path / "a.png")
    write_picture(results_of({str(n): [0.5, 0.75] for n in range(1, 9)}), tmp_path / "b.png")
    few, many = (cv2.imread(str(tmp_path / name)) for name in ("a.png", "b.png"))
    assert few is not None
    assert many is not None
    assert many.shape[0] > few.shape[0]
    blue, orange = (np.ptp(few.astype(int), axis=2) > 60, few[..., 2] > few[..., 0] + 100)
    assert blue.any()
    assert orange.any()  # the winner
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"run\.json is damaged .*: delete .* to train it again"),
        ("[]", r"run\.json is damaged"),
        ('{"metrics": 1}', r"run\.json is damaged \(no metrics\)"),
        ('{"metrics": {}}', r"cannot be compared: its validation accuracy is None"),
        ('{"metrics": {"validation accuracy": NaN}}', r"its validation accuracy is nan"),
    ],
)
def test_a_run_without_a_score_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_score(tmp_path, "validation accuracy")
