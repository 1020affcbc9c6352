"""Train, validation and test splits: shares and folds of each class, over whole videos."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from leansight.runtime.errors import DataError
from leansight.sdk.data.samples import Sample, Split
from leansight.sdk.recipes.schema import DataRecipe, SplitBy, SplitRecipe

# The images that stay together, by the name of the unit: a video's, an image's, twins'.
Units = Mapping[str, Sequence[Sample]]

_NAMED: Final = 5  # classes in a message
_NUMBERS: Final = {1: "one", 2: "two", 3: "three"}


def split_samples(
    samples: Sequence[Sample],
    recipe: SplitRecipe,
    *,
    test_on: str = "",
    twins: Sequence[Sequence[int]] = (),
) -> Split:
    """Draw the test and the validation images within each class, over whole videos or images.

    Where the data set itself has splits, they are kept: nothing of its test part is learnt from or
    chosen by. Only what it does not give is drawn, the validation images from its training part;
    with folds, from its training and validation parts together.

    `test_on` names the country that is kept for the test. `twins` are groups of positions in
    `samples` that stay on one side (near-identical images; see leaks).

    An image with many labels, and a video or group of twins with several, is drawn as one of its
    rarest label: simple, and exact for the rare ones. (Iterative stratification, Sechidis et al.
    2011, also balances the frequent ones, which chance does well enough.) No label is lost from
    training: an image that alone has it there goes back to it.

    Raises:
        DataError: an unknown country, too few videos or images of a class, or a class that only
            the test has.

    """
    if any(s.part for s in samples):
        return _given_split(samples, recipe, test_on, twins)
    _check_country(samples, recipe, test_on)
    abroad = {i for i, s in enumerate(samples) if test_on and s.country == test_on}
    test = tuple(samples[i] for i in sorted(abroad))
    units = _units(samples, recipe.by, twins, without=abroad)
    unseen = {label for s in test for label in s.labels} - _labels(units)
    if unseen or not units:
        raise DataError(f"only {test_on} has {_names(unseen)}: no image is left to learn from")
    _require_enough(units, recipe, joined=bool(twins))
    drawn, held_out = _draw(units, recipe)
    away = {*drawn, *held_out}
    train = [name for name in units if name not in away]
    back = _given_back(units, train, [*held_out, *drawn])
    return Split(
        train=_samples(units, [*train, *back]),
        validation=_samples(units, [name for name in held_out if name not in back]),
        test=test or _samples(units, [name for name in drawn if name not in back]),
    )


def _given_split(
    samples: Sequence[Sample], recipe: SplitRecipe, test_on: str, twins: Sequence[Sequence[int]]
) -> Split:
    """Return the split that the data set gives; see `split_samples`."""
    if test_on:
        raise DataError(
            "the data set has splits of its own: choose no country for the test",
            parameter="test_on",
        )
    folds = recipe.folds > 0
    learnt_from = [i for i, s in enumerate(samples) if s.part in ("", "train")]
    validation = [i for i, s in enumerate(samples) if s.part == "validation"]
    test = [s for s in samples if s.part == "test"]
    if folds:
        learnt_from, validation = sorted([*learnt_from, *validation]), []
    _require_learnt([samples[i] for i in learnt_from], [*(samples[i] for i in validation), *test])
    if validation:
        train = tuple(samples[i] for i in learnt_from)
        chosen_by = tuple(samples[i] for i in validation)
        return Split(train=train, validation=chosen_by, test=tuple(test))
    place = {index: position for position, index in enumerate(learnt_from)}
    inner = split_samples(
        [replace(samples[i], part="") for i in learnt_from],
        replace(recipe, test=0.0) if test else recipe,
        twins=[[place[i] for i in group if i in place] for group in twins],
    )
    return replace(inner, test=tuple(test)) if test else inner


def _require_learnt(train: Sequence[Sample], judges: Sequence[Sample]) -> None:
    """Raise DataError if the training part of a data set lacks a class that other parts have."""
    known = {label for s in train for label in s.labels}
    strange = {label: s for s in reversed(judges) for label in s.labels if label not in known}
    if not train or strange:
        only = "; ".join(f"{label} ({s.path})" for label, s in sorted(strange.items())[:_NAMED])
        raise DataError(
            f"no image is left to learn from of {only}: the training part of the data set has none"
        )


def limit_classes(samples: Sequence[Sample], recipe: DataRecipe, *, seed: int) -> list[Sample]:
    """Return what an epoch sees of the training samples, in their order, repeats at the end.

    Of each class, `recipe.per_class` images are drawn by chance (all, where it has fewer, or for
    0). Images of the rarest label are there `recipe.rarest_repeats` times. An image with many
    labels counts for its rarest one.
    """
    rng = np.random.default_rng(seed)
    kept: set[int] = set()
    for _, members in sorted(_by_rarest_label([s.labels for s in samples]).items()):
        count = min(recipe.per_class or len(members), len(members))
        kept |= set(rng.choice(members, count, replace=False).tolist())
    chosen = [samples[i] for i in sorted(kept)]
    counts = Counter(label for s in chosen for label in s.labels)
    rarest = min(counts, key=lambda label: (counts[label], label), default="")
    again = [s for s in chosen if rarest in s.labels]
    return chosen + again * (recipe.rarest_repeats - 1)


def _check_country(samples: Sequence[Sample], recipe: SplitRecipe, test_on: str) -> None:
    countries = {s.country for s in samples}
    if test_on and test_on not in countries:
        raise DataError(
            f"there is no country {test_on}: the data has {_names(countries) or 'no countries'}",
            parameter="test_on",
        )
    if test_on and recipe.test:
        raise DataError(
            f"the country {test_on} and split.test = {recipe.test:g} both choose the test images: "
            "set split.test=0, or choose no country",
            parameter="test_on",
        )


def _units(
    samples: Sequence[Sample], by: SplitBy, twins: Sequence[Sequence[int]], *, without: set[int]
) -> dict[str, list[Sample]]:
    """Gather what stays together, in the order in which it is learnt from: class, then name."""
    names = [str(s.path) if by == "image" else s.group for s in samples]
    joined = {name: name for name in names}

    def first(name: str) -> str:
        while joined[name] != name:
            name = joined[name]
        return name

    for group in twins:
        together = sorted({first(names[i]) for i in group if i not in without})
        for name in together[1:]:
            joined[name] = together[0]
    units: dict[str, list[Sample]] = defaultdict(list)
    for index, sample in enumerate(samples):
        if index not in without:
            units[first(names[index])].append(sample)
    order = _strata(units)
    return {name: units[name] for _, stratum in sorted(order.items()) for name in stratum}


def _strata(units: Units) -> dict[str, list[str]]:
    """Return the names of units, sorted, by their rarest label."""
    names = sorted(units)
    groups = _by_rarest_label([{x for s in units[n] for x in s.labels} for n in names])
    return {label: [names[i] for i in members] for label, members in groups.items()}


def _by_rarest_label(label_sets: Sequence[Iterable[str]]) -> dict[str, list[int]]:
    """Return positions by the label that the fewest share; "" for those without any."""
    counts = Counter(label for labels in label_sets for label in labels)
    groups: dict[str, list[int]] = defaultdict(list)
    for index, labels in enumerate(label_sets):
        rarest = min(labels, key=lambda label: (counts[label], label), default="")
        groups[rarest].append(index)
    return groups


def _require_enough(units: Units, recipe: SplitRecipe, *, joined: bool) -> None:
    """Raise DataError for a class that cannot be on every side."""
    counts = Counter(x for unit in units.values() for x in {x for s in unit for x in s.labels})
    need = max(recipe.folds, 2) + (recipe.test > 0)
    images = Counter(x for unit in units.values() for s in unit for x in set(s.labels))
    for label, count in sorted(counts.items()):
        if count < need:
            are_enough = images[label] >= need
            by_video = recipe.by == "video" and are_enough
            number, unit = (count, recipe.by) if are_enough else (images[label], "image")
            what = f"{_NUMBERS.get(number, number)} {unit}{'s' if number > 1 else ''}"
            twins = ", images that are the same counted as one" if joined else ""
            hint = " (or split single images: set split.by=image)"
            raise DataError(
                f"class {label} has {what}{twins}: {_NUMBERS.get(need, need)} or more are needed "
                f"to split it{hint if by_video else ': add some, or leave the class out'}",
                parameter="overrides" if by_video else None,
            )


def _draw(units: Units, recipe: SplitRecipe) -> tuple[list[str], list[str]]:
    """Return the names of the test units and of the validation units."""
    test: list[str] = []
    validation: list[str] = []
    # The test has a generator of its own: it is the same whatever is validated on.
    test_rng, rng = np.random.default_rng([recipe.seed, 1]), np.random.default_rng(recipe.seed)
    dealt = 0
    for _, names in sorted(_strata(units).items()):
        drawn: list[str] = []
        if recipe.test:
            most = len(names) - max(recipe.folds, 2)
            drawn = _chosen(names, recipe.test * len(names), most, test_rng)
        rest = [name for name in names if name not in set(drawn)]
        if recipe.folds:
            # Like cards, on from where the last class ended: folds of equal size, each class even.
            places = (dealt + rng.permutation(len(rest))) % recipe.folds
            dealt += len(rest)
            held_out = [n for n, fold in zip(rest, places, strict=True) if fold == recipe.fold]
        else:
            held_out = _chosen(rest, recipe.validation * len(names), len(rest) - 1, rng)
        test += drawn
        validation += held_out
    return test, validation


def _chosen(names: Sequence[str], share: float, most: int, rng: np.random.Generator) -> list[str]:
    """Draw about `share` of the names, from 1 to `most`; none where `most` is below 1."""
    count = max(0, min(max(1, round(share)), most))
    chosen = set(rng.choice(len(names), count, replace=False).tolist())
    return [name for index, name in enumerate(names) if index in chosen]


def _given_back(units: Units, train: Sequence[str], held_out: Iterable[str]) -> list[str]:
    """Return held-out units that training needs to have every label."""
    seen = {x for name in train for s in units[name] for x in s.labels}
    back: list[str] = []
    for name in held_out:
        labels = {x for s in units[name] for x in s.labels}
        if labels - seen:
            back.append(name)
            seen |= labels
    return back


def _samples(units: Units, names: Iterable[str]) -> tuple[Sample, ...]:
    return tuple(sample for name in names for sample in units[name])


def _labels(units: Units) -> set[str]:
    return {label for unit in units.values() for s in unit for label in s.labels}


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(name for name in names if name))
