import json
import math
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leansight.runtime.errors import DataError
from leansight.sdk.augmentation.catalogue import CHANGES
from leansight.sdk.augmentation.change import Change
from leansight.sdk.recipes.load import load_recipe
from leansight.sdk.recipes.schema import Recipe, Training

SMALL = "traffic-signs-small"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("split.by=frame", "one of video, image, not 'frame'"),
        ("split.validation=0", "between 0 and 1, not 0"),
        ("split.validation=1.0", "between 0 and 1, not 1.0"),
        ("split.seed=-1", "from 0 to 4294967295, not -1"),
        ("preprocessing.size=0", "a whole number from 1, or two, height and width, not 0"),
        ("preprocessing.colour=blue", "one of gray, rgb, not 'blue'"),
        ("preprocessing.fit=wide", "one of stretch, letterbox, centre-crop, not 'wide'"),
        ("preprocessing.clahe.clip_limit=0", "above 0, not 0"),
        ("preprocessing.clahe.tiles=0", "a whole number from 1, not 0"),
        ("task=detection", "one of classification, multilabel, not 'detection'"),
        (
            "data.layout=coco",
            "one of auto, folders, gtsrb, belgiumts, bdd100k, csv, not 'coco'",
        ),
        ("data.per_class=-1", "0 or more, not -1"),
        ("data.rarest_repeats=0", "1 or more, not 0"),
        ("split.test=0.8", "from 0 to below 0.8, not 0.8"),
        ("split.test=-0.1", "from 0 to below 0.8, not -0.1"),
        ("split.folds=1", "0, or 2 or more, not 1"),
        ("split.folds=-2", "0, or 2 or more, not -2"),
        ("split.fold=1", "from 0 to 0, not 1"),
        ("split.fold=-1", "from 0 to 0, not -1"),
        ("shift=[]", "a list of changes: training.choose_by needs it, not []"),
        ("training.batch_size=100000", "at most 65536, not 100000"),
        ("training.learning_rate=inf", "a number of at most 1.79769e+308, not inf"),
        ("training.epochs=9999999999", "a whole number of at most 4.29497e+09, not 9999999999"),
        ("training.epochs=0", "1 or more, not 0"),
        ("training.batch_size=0", "1 or more, not 0"),
        ("training.learning_rate=0", "above 0, not 0"),
        ("training.learning_rate=nan", "above 0, not nan"),
        ("training.momentum=1", "from 0 to below 1, not 1"),
        ("training.half_size_share=1", "from 0 to below 1, not 1"),
        ("training.optimiser=adagrad", "one of sgd, adam, nadam, adamw, not 'adagrad'"),
        ("training.choose_by=f1", "one of accuracy, shifted accuracy, loss, not 'f1'"),
        ("training.precision=int8", "one of auto, float32, bfloat16, not 'int8'"),
        ("training.scene_scale=0.5", "1 or more, not 0.5"),
        ("training.layer_decay=0", "above 0, not 0"),
        ("training.drop_factor=0", "above 0, not 0"),
        ("training.average_decay=1", "from 0 to below 1, not 1"),
        ("training.probability_clamp=0.5", "from 0 to below 0.5, not 0.5"),
        ("training.min_delta=-1", "0 or more, not -1"),
        ("training.unfreeze_epoch=-1", "0 or more, not -1"),
        ("training.plateau_patience=-1", "0 or more, not -1"),
        ("training.trainable_layers=-2", "-1 or more, not -2"),
        ("distillation.share=1.1", "from 0 to 1, not 1.1"),
        ("distillation.temperature=0", "above 0, not 0"),
        ("decision.label_thresholds.stop=3", "from 0 to 1, or 2 for never, not 3"),
        ("decision.label_thresholds.stop=high", "a number, not 'high'"),
        ("decision.label_thresholds=1", "a table, not 1"),
        ("training.label_smoothing=1", "from 0 to below 1, not 1"),
        ("training.weight_decay=-1", "0 or more, not -1"),
        ("training.patience=-1", "0 or more, not -1"),
        ("training.schedule=cosine", "one of one-cycle, constant, plateau, steps, not 'cosine'"),
        ("training.seed=4294967296", "from 0 to 4294967295, not 4294967296"),
        ("decision.threshold=1.5", "from 0 to 1, not 1.5"),
        ("decision.temperature=0", "from 1e-06 to 1e+06, not 0"),
    ],
)
def test_values_out_of_range_are_named(override: str, expected: str) -> None:
    with pytest.raises(DataError) as error:
        load_recipe(SMALL, [override])
    name = override.partition("=")[0].removeprefix("preprocessing." if "clahe" in override else "")
    assert str(error.value) == f"recipe {SMALL}: {name} must be {expected}"


def test_a_network_that_takes_one_size_learns_no_half_size() -> None:
    message = r"training\.half_size_share must be 0: model\.flatten takes one size, not 0\.5"
    with pytest.raises(DataError, match=message):
        load_recipe("masks-cnn-published", ["training.half_size_share=0.5"])


def test_folds_are_counted_from_zero() -> None:
    assert load_recipe(SMALL, ["split.folds=3", "split.fold=2"]).split.fold == 2
    with pytest.raises(DataError, match=r"split\.fold must be from 0 to 2, not 3"):
        load_recipe(SMALL, ["split.folds=3", "split.fold=3"])


AMOUNTS = {
    "labels": st.lists(st.text(max_size=4), max_size=2).map(tuple),
    "swapped": st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=2).map(tuple),
    "distribution": st.sampled_from(["uniform", "normal"]),
    "fill": st.sampled_from(["edge", "black"]),
    "darkest": st.floats(0, 100),
    "brightest": st.floats(100, 255),
    "points": st.integers(2, 6),
}


@st.composite
def any_change(draw: st.DrawFn) -> Change:
    kind = draw(st.sampled_from(sorted(CHANGES)))
    names = [field.name for field in fields(CHANGES[kind])]
    values = {name: draw(AMOUNTS.get(name, st.floats(0, 0.25))) for name in names}
    return CHANGES[kind](**values)


@settings(max_examples=100, deadline=None)
@given(st.lists(any_change(), max_size=4), st.lists(any_change(), min_size=1, max_size=2))
def test_any_changes_survive_json(augmentation: list[Change], shift: list[Change]) -> None:
    values = load_recipe(SMALL).to_dict()
    made = Recipe.from_dict(
        values | {"augmentation": augmented(augmentation), "shift": augmented(shift)}
    )
    assert list(made.augmentation) == augmentation
    assert list(made.shift) == shift
    assert Recipe.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def augmented(changes: list[Change]) -> list[dict[str, Any]]:
    return [{"change": change.kind, **vars(change)} for change in changes]


@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "epochs": st.integers(-2, 5),
            "learning_rate": st.floats(-1, 1) | st.just(math.nan),
            "momentum": st.floats(-1, 2),
            "probability_clamp": st.floats(-1, 1),
            "seed": st.integers(-5, 2**32 + 5),
        },
    )
)
def test_training_is_either_in_range_or_refused(values: dict[str, float]) -> None:
    fits = (
        values.get("epochs", 1) >= 1
        and values.get("learning_rate", 1) > 0
        and 0 <= values.get("momentum", 0) < 1
        and 0 <= values.get("probability_clamp", 0) < 0.5
        and 0 <= values.get("seed", 0) < 2**32
    )
    if fits:
        assert Training(**values).epochs == values.get("epochs", 12)  # type: ignore[arg-type]
    else:
        with pytest.raises(ValueError, match=rf"training\.({'|'.join(values)}) must be "):
            Training(**values)  # type: ignore[arg-type]
