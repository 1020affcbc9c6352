from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from leansight.runtime.errors import DataError
from leansight.sdk.data.samples import Part, Sample, Split
from leansight.sdk.data.splits import limit_classes, split_samples
from leansight.sdk.recipes.schema import DataRecipe, SplitBy, SplitRecipe

BY_IMAGE = SplitRecipe(by="image")


def frame(label: str, video: int, number: int = 0, country: str = "") -> Sample:
    folder = Path(country, label)
    path = folder / f"{video:05}_{number:05}.png"
    return Sample(path=path, labels=(label,), country=country, video=f"{folder}/{video:05}")


def image(name: str, *labels: str, country: str = "") -> Sample:
    return Sample(path=Path(country, name), labels=labels, country=country)


def labels(samples: Iterable[Sample]) -> set[str]:
    return {label for s in samples for label in s.labels}


def videos(samples: Iterable[Sample]) -> set[str]:
    return {s.video for s in samples}


def sides(split: Split) -> tuple[tuple[Sample, ...], ...]:
    return split.train, split.validation, split.test


@st.composite
def data_sets(draw: st.DrawFn) -> list[Sample]:
    """2 to 5 classes in 1 to 3 countries, 3 to 9 videos of 1 to 4 frames for each of them."""
    countries = draw(st.sampled_from([("",), ("north",), ("north", "south", "west")]))
    return [
        frame(f"class{label}", video, number, country)
        for country in countries
        for label in range(draw(st.integers(2, 5)))
        for video in range(draw(st.integers(3, 9)))
        for number in range(draw(st.integers(1, 4)))
    ]


seeds = st.integers(0, 2**32 - 1)
ways = st.sampled_from(get_args(SplitBy))


@st.composite
def recipes(draw: st.DrawFn) -> SplitRecipe:
    """Shares with or without a test, or 2 folds with or without a test."""
    validation = draw(st.floats(0.01, 0.9))
    test = draw(st.just(0.0) | st.floats(0.01, 0.99 - validation))
    folds = draw(st.sampled_from([0, 2]))
    fold = draw(st.integers(0, max(folds - 1, 0)))
    return SplitRecipe(
        by=draw(ways), validation=validation, test=test, folds=folds, fold=fold, seed=draw(seeds)
    )


# Shares


@settings(deadline=None, max_examples=50)  # a busy machine is no failure
@given(data=data_sets(), recipe=recipes())
def test_every_class_is_on_every_side_and_every_image_on_one(
    data: list[Sample], recipe: SplitRecipe
) -> None:
    split = split_samples(data, recipe)
    assert labels(split.train) == labels(split.validation) == labels(data)
    assert labels(split.test) == (labels(data) if recipe.test else set())
    assert Counter(s for side in sides(split) for s in side) == Counter(data)


@settings(deadline=None, max_examples=50)
@given(data=data_sets(), recipe=recipes())
def test_no_video_is_on_two_sides(data: list[Sample], recipe: SplitRecipe) -> None:
    split = split_samples(data, SplitRecipe(**{**vars(recipe), "by": "video"}))
    assert sum(len(videos(side)) for side in sides(split)) == len(videos(data))


@settings(deadline=None, max_examples=50)
@given(data=data_sets(), recipe=recipes())
def test_a_seed_always_gives_the_same_split(data: list[Sample], recipe: SplitRecipe) -> None:
    first, again = (split_samples(data, recipe) for _ in range(2))
    assert first == again


def test_seeds_differ() -> None:
    data = [frame(label, video) for label in ("a", "b") for video in range(30)]
    splits = {split_samples(data, SplitRecipe(validation=0.5, seed=seed)) for seed in range(5)}
    assert len(splits) == 5


def test_the_share_is_of_each_classs_videos() -> None:
    counts = {"few": 3, "ten": 10, "many": 40}
    data = [frame(c, v, f) for c, n in counts.items() for v in range(n) for f in range(3)]
    split = split_samples(data, SplitRecipe(validation=0.2, test=0.1))
    for side, expected in (
        (split.validation, {"few": 1, "ten": 2, "many": 8}),
        (split.test, {"few": 1, "ten": 1, "many": 4}),
    ):
        assert Counter(name.split("/")[0] for name in videos(side)) == expected
        # whole videos: three frames of each
        assert len(side) == 3 * sum(expected.values())


@pytest.mark.parametrize(
    ("by", "drawn"),
    [
        ("video", ["go/6.0 go/6.1 go/7.0 go/7.1", "stop/0.0 stop/0.1 stop/3.0 stop/3.1"]),
        ("image", ["go/2.1 go/4.1 go/5.1 go/7.0", "stop/0.0 stop/2.0 stop/7.1 stop/9.0"]),
    ],
)
def test_the_draw_is_that_of_earlier_versions(by: SplitBy, drawn: list[str]) -> None:
    """Runs stay comparable: these were written down from version 0.1.0."""
    data = [
        frame(label, v, f)
        for label, n in (("go", 10), ("stop", 15))
        for v in range(n)
        for f in (0, 1)
    ]
    held_out = split_samples(data, SplitRecipe(by=by)).validation
    names = [f"{s.label}/{int(s.path.stem[:5])}.{int(s.path.stem[6:])}" for s in held_out]
    assert names[:8] == " ".join(drawn).split()
    assert len(names) == 10


def test_a_video_of_two_classes_stays_whole() -> None:
    # one drive sees rain, then sunshine: the video is of two classes
    data = [
        Sample(path=Path(f"{v}_{f}.png"), labels=(("rain", "sun")[f],), video=str(v))
        for v in range(10)
        for f in (0, 1)
    ]
    split = split_samples(data, SplitRecipe(validation=0.3))
    assert len(videos(split.validation)) == 3
    assert not videos(split.train) & videos(split.validation)


# Folds


def folds_of(data: list[Sample], recipe: SplitRecipe) -> list[Split]:
    values = vars(recipe)
    return [
        split_samples(data, SplitRecipe(**{**values, "fold": fold})) for fold in range(recipe.folds)
    ]


@settings(deadline=None, max_examples=50)
@given(
    counts=st.lists(st.integers(5, 30), min_size=2, max_size=6),
    folds=st.integers(2, 5),
    by=ways,
    seed=seeds,
)
def test_folds_are_as_even_as_those_of_scikit_learn(
    counts: list[int], folds: int, by: SplitBy, seed: int
) -> None:
    data = [frame(f"class{c}", v) for c, count in enumerate(counts) for v in range(count)]
    split = folds_of(data, SplitRecipe(by=by, folds=folds, seed=seed))
    classes = np.array([s.label for s in data])
    oracle = StratifiedKFold(folds, shuffle=True, random_state=0)
    theirs = [held_out for _, held_out in oracle.split(classes, classes)]
    for label in labels(data):
        ours = [sum(s.label == label for s in fold.validation) for fold in split]
        assert sorted(ours) == sorted((classes[held_out] == label).sum() for held_out in theirs)
    sizes = [len(fold.validation) for fold in split]
    assert max(sizes) - min(sizes) <= 1


@settings(deadline=None, max_examples=50)
@given(data=data_sets(), seed=seeds, by=ways)
def test_each_image_is_held_out_in_one_fold_or_tested_in_all(
    data: list[Sample], seed: int, by: SplitBy
) -> None:
    folds = folds_of(data, SplitRecipe(by=by, folds=2, test=0.2, seed=seed))
    assert len({fold.test for fold in folds}) == 1
    held_out = Counter(s for fold in folds for s in fold.validation)
    assert held_out + Counter(folds[0].test) == Counter(data)
    for fold in folds:
        assert labels(fold.train) == labels(data)


# Countries


def test_the_test_country_is_nowhere_else() -> None:
    data = [
        frame(label, v, country=c) for c in ("north", "south") for label in "ab" for v in range(5)
    ]
    split = split_samples(data, SplitRecipe(validation=0.3), test_on="north")
    assert {s.country for s in split.test} == {"north"}
    assert {s.country for s in (*split.train, *split.validation)} == {"south"}
    assert Counter(s for side in sides(split) for s in side) == Counter(data)


def test_the_test_country_may_lack_a_class() -> None:
    data = [frame(label, v, country="north") for label in "abc" for v in range(5)]
    data += [frame("a", v, country="south") for v in range(5)]
    split = split_samples(data, SplitRecipe(), test_on="south")
    assert labels(split.test) == {"a"}
    assert labels(split.train) == {"a", "b", "c"}


@pytest.mark.parametrize(("country", "what"), [("north", "north"), ("", "no countries")])
def test_an_unknown_test_country_names_the_known_ones(country: str, what: str) -> None:
    data = [image(f"{v}.png", "a", country=country) for v in range(3)]
    with pytest.raises(DataError, match=rf"no country west: the data has {what}$"):
        split_samples(data, BY_IMAGE, test_on="west")


def test_a_class_that_only_the_test_country_has_cannot_be_learnt() -> None:
    data = [frame("stop", v, country=c) for c in ("north", "south") for v in range(3)]
    data += [frame("bend", v, country="south") for v in range(3)]
    with pytest.raises(DataError, match=r"only south has bend: no image is left to learn from"):
        split_samples(data, SplitRecipe(), test_on="south")


def test_the_only_country_cannot_be_the_test() -> None:
    data = [frame(label, v, country="north") for label in ("a", "b") for v in range(3)]
    with pytest.raises(DataError, match=r"only north has a, b: no image is left to learn from"):
        split_samples(data, SplitRecipe(), test_on="north")


def test_the_test_is_chosen_once() -> None:
    data = [frame("stop", v, country=c) for c in ("north", "south") for v in range(3)]
    with pytest.raises(DataError, match=r"country south and split\.test = 0\.1 both choose"):
        split_samples(data, SplitRecipe(test=0.1), test_on="south")


# Too few


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (SplitRecipe(), r"class go has one video: two or more are .*: set split\.by=image\)$"),
        (SplitRecipe(test=0.1), r"class go has one video: three or more are needed"),
        (
            SplitRecipe(folds=5),
            r"class go has three images: 5 .* to split it: add some, or leave the class out$",
        ),
        (
            SplitRecipe(by="image", folds=4),
            r"class go has three images: 4 or more .* split it: add some, or leave the class out$",
        ),
        (SplitRecipe(by="image", folds=3, test=0.1), r"class go has three images: 4 or more"),
    ],
)
def test_a_class_with_too_few_videos_or_images_is_named(recipe: SplitRecipe, message: str) -> None:
    data = [frame("stop", v) for v in range(9)] + [frame("go", 7, f) for f in range(3)]
    with pytest.raises(DataError, match=message):
        split_samples(data, recipe)
    assert labels(split_samples(data, BY_IMAGE).validation) == {"go", "stop"}


def test_images_that_are_the_same_count_as_one() -> None:
    data = [image(f"{n}.png", label) for label in "ab" for n in range(2)]
    with pytest.raises(DataError, match=r"class a has one image, images that are the same counted"):
        split_samples(data, BY_IMAGE, twins=[(0, 1)])


# Twins


@settings(deadline=None, max_examples=50)
@given(data=data_sets(), by=ways, seed=seeds, numbers=st.data())
def test_twins_stay_on_one_side(
    data: list[Sample], by: SplitBy, seed: int, numbers: st.DataObject
) -> None:
    positions = st.integers(0, len(data) - 1)
    twins = numbers.draw(st.lists(st.lists(positions, min_size=2, max_size=4), max_size=3))
    recipe = SplitRecipe(by=by, validation=0.4, seed=seed)
    try:
        split = split_samples(data, recipe, twins=twins)
    except DataError:
        reject()  # a class is one group of twins
    side = {s: number for number, part in enumerate(sides(split)) for s in part}
    assert len(side) == len(data)
    for group in twins:
        assert len({side[data[i]] for i in group}) == 1
    assert labels(split.train) == labels(data)


def test_twins_abroad_change_nothing() -> None:
    data = [frame(label, v, country=c) for c in ("n", "s") for label in "ab" for v in range(5)]
    recipe = SplitRecipe()
    expected = split_samples(data, recipe, test_on="s")
    assert split_samples(data, recipe, test_on="s", twins=[(0, 10), (11, 15)]) == expected


# Many labels


@st.composite
def label_sets(draw: st.DrawFn) -> list[Sample]:
    """20 to 60 images with any of 5 labels, each on two images at least."""
    names = ["sea", "tree", "car", "night", "baby"]
    some = st.lists(st.sampled_from(names), unique=True, max_size=4)
    drawn = draw(st.lists(some, min_size=20, max_size=60))
    drawn += [[name] for name in names] + [names]
    return [image(f"{n:03}.jpg", *sorted(which)) for n, which in enumerate(drawn)]


@settings(deadline=None, max_examples=50)
@given(data=label_sets(), recipe=recipes())
def test_no_label_is_lost_from_training(data: list[Sample], recipe: SplitRecipe) -> None:
    data = [*data, *(image(f"more{n}.jpg", x) for n, x in enumerate(sorted(labels(data))))]
    split = split_samples(data, recipe)
    assert labels(split.train) == labels(data)
    assert Counter(s for side in sides(split) for s in side) == Counter(data)


def test_the_rare_label_is_shared_out_exactly_and_the_others_nearly() -> None:
    rng = np.random.default_rng(0)
    chances = {"people": 0.4, "sea": 0.1, "baby": 0.02}
    data = [
        image(f"{n:05}.jpg", *(x for x, chance in chances.items() if rng.random() < chance))
        for n in range(5000)
    ]
    split = split_samples(data, SplitRecipe(by="image", validation=0.2, seed=1))
    for label in chances:
        count = sum(label in s.labels for s in data)
        held_out = sum(label in s.labels for s in split.validation)
        assert abs(held_out - 0.2 * count) <= (0.5 if label == "baby" else 0.02 * count)
    assert abs(len(split.validation) - 1000) <= 2


def test_a_label_of_one_image_cannot_be_learnt_and_judged() -> None:
    data = [image(f"{n}.jpg", "sea", "tree") for n in range(9)] + [image("9.jpg", "sea", "baby")]
    with pytest.raises(DataError, match=r"class baby has one image: two or more"):
        split_samples(data, BY_IMAGE)


def test_a_label_that_is_never_alone_goes_back_to_training() -> None:
    # Drawn as images of the rare labels, both images of "night" can be held out.
    data = [
        image(f"{n}.jpg", "sea" if n < 2 else "car", *["night"] * (n in (1, 2))) for n in range(4)
    ]
    for seed in range(20):
        split = split_samples(data, SplitRecipe(by="image", validation=0.5, seed=seed))
        assert labels(split.train) == {"sea", "car", "night"}
        assert len(split.train) + len(split.validation) == 4


# Balance


def test_the_cap_leaves_rare_classes_whole() -> None:
    data = [image(f"{label}{n}.png", label) for label, c in (("a", 50), ("b", 7)) for n in range(c)]
    recipe = DataRecipe(per_class=10)
    limited = limit_classes(data, recipe, seed=0)
    assert Counter(s.label for s in limited) == {"a": 10, "b": 7}
    assert limited == sorted(limited, key=data.index)
    assert limited == limit_classes(data, recipe, seed=0) != limit_classes(data, recipe, seed=1)


def test_the_cap_draws_evenly() -> None:
    data = [image(f"{n}.png", "a") for n in range(10)]
    draws = Counter(
        s.path.stem
        for seed in range(600)
        for s in limit_classes(data, DataRecipe(per_class=5), seed=seed)
    )
    # binomial, 600 times a half: a deviation of 12
    assert all(abs(count - 300) < 5 * 12.3 for count in draws.values())
    assert len(draws) == 10


def test_images_with_many_labels_count_for_the_rarest() -> None:
    data = [image(f"p{n}.jpg", "people") for n in range(30)]
    data += [image(f"b{n}.jpg", "people", "baby") for n in range(4)]
    data += [image(f"n{n}.jpg") for n in range(20)]
    limited = limit_classes(data, DataRecipe(per_class=5), seed=0)
    assert Counter(s.labels for s in limited) == {("people",): 5, ("people", "baby"): 4, (): 5}


def test_the_rarest_label_is_repeated() -> None:
    data = [image(f"p{n}.jpg", "people") for n in range(5)]
    data += [image(f"b{n}.jpg", "people", "baby") for n in range(2)]
    limited = limit_classes(data, DataRecipe(rarest_repeats=3), seed=0)
    assert limited == data + data[5:] * 2


@settings(deadline=None, max_examples=50)
@given(data=data_sets(), seed=seeds)
def test_without_a_cap_everything_is_learnt_from(data: list[Sample], seed: int) -> None:
    assert limit_classes(data, DataRecipe(), seed=seed) == data
    assert limit_classes([], DataRecipe(per_class=3, rarest_repeats=2), seed=seed) == []


# Splits that the data set gives


def placed(part: Part, *names: str) -> list[Sample]:
    return [
        Sample(path=Path(part, name), labels=(name.partition("/")[0],), part=part) for name in names
    ]


TRAINED = placed("train", *(f"{label}/{n}" for label in "ab" for n in range(6)))
CHOSEN_BY = placed("validation", "a/8", "b/8")
TESTED = placed("test", "a/9", "b/9")


def test_a_given_split_is_kept() -> None:
    split = split_samples([*TESTED, *TRAINED, *CHOSEN_BY], SplitRecipe(test=0.3))
    assert sides(split) == (tuple(TRAINED), tuple(CHOSEN_BY), tuple(TESTED))


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_without_a_validation_part_only_training_images_are_drawn_for_it(share: float) -> None:
    split = split_samples([*TESTED, *TRAINED], SplitRecipe(by="image", test=share))
    assert split.test == tuple(TESTED)
    assert {*split.train, *split.validation} == set(TRAINED)
    assert labels(split.validation) == {"a", "b"}


def test_without_a_test_part_the_recipe_says_whether_one_is_drawn() -> None:
    split = split_samples(TRAINED, SplitRecipe(by="image", test=0.3))
    assert (len(split.train), len(split.validation), len(split.test)) == (6, 2, 4)


def test_folds_are_of_training_and_validation_images_and_never_of_the_test() -> None:
    samples = [*TESTED, *CHOSEN_BY, *TRAINED]
    held_out = []
    for fold in range(2):
        split = split_samples(samples, SplitRecipe(by="image", folds=2, fold=fold))
        assert split.test == tuple(TESTED)
        assert {*split.train, *split.validation} == {*TRAINED, *CHOSEN_BY}
        held_out += split.validation
    assert Counter(held_out) == Counter([*TRAINED, *CHOSEN_BY])


def test_twins_stay_together_inside_of_the_training_part() -> None:
    samples = [*TESTED, *TRAINED]
    twins = [(2, 3), (0, 8)]  # the second: one of the test, one of training
    split = split_samples(samples, SplitRecipe(by="image", validation=0.5), twins=twins)
    assert (samples[2] in split.train) == (samples[3] in split.train)


@pytest.mark.parametrize("judges", [CHOSEN_BY, TESTED])
def test_a_class_that_only_another_part_has_is_named(judges: list[Sample]) -> None:
    strange = placed(judges[0].part, "c/1")
    with pytest.raises(DataError, match=r"no image is left to learn from of c \((val|tes).*c/1\)"):
        split_samples([*TRAINED, *judges, *strange], SplitRecipe())


def test_a_data_set_of_a_test_part_alone_is_not_learnt_from() -> None:
    with pytest.raises(DataError, match=r"no image is left to learn from of a \(test/a/9\)"):
        split_samples(TESTED, SplitRecipe())


def test_a_country_for_the_test_and_a_given_split_contradict_each_other() -> None:
    with pytest.raises(DataError, match="has splits of its own: choose no country") as caught:
        split_samples(TRAINED, SplitRecipe(), test_on="north")
    assert caught.value.parameter == "test_on"
