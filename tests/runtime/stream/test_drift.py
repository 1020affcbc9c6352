"""Drift is noticed, and a stream that is as the validation images were gives no warning."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from leansight.runtime.decision import DecisionPolicy, Prediction
from leansight.runtime.stream import drift
from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.drift import Drift, DriftMonitor
from leansight.runtime.stream.events import Event
from leansight.runtime.stream.reference import Reference, describe_answers, range_of

LABELS = tuple(f"label-{i}" for i in range(20))
VIDEOS = 100


@dataclass(frozen=True, kw_only=True)
class World:
    """What scenes are drawn from: of a validation set and of a stream alike.

    Of a scene, `not_sure` is the chance that it is not recognised in nearly all of its frames.
    """

    shares: tuple[float, ...] = tuple(np.linspace(1, 4, len(LABELS)) / 50)
    not_sure: float = 0.05
    brightness: float = 110
    spread: float = 25
    scene_s: float = 20


def reference_of(world: World, chance: np.random.Generator) -> Reference:
    """Draw a validation set of 100 videos."""
    counts = chance.multinomial(VIDEOS, world.shares)
    levels = chance.normal(world.brightness, world.spread, 500)
    return Reference(
        groups=VIDEOS,
        not_sure=chance.binomial(VIDEOS, world.not_sure) / VIDEOS,
        given={label: count / VIDEOS for label, count in zip(LABELS, counts, strict=True) if count},
        brightness=range_of(list(levels)),
    )


def stream_of(
    world: World, chance: np.random.Generator, hours: float
) -> Iterator[tuple[Frame, Prediction, tuple[Event, ...]]]:
    """Draw a stream of a frame each ten seconds; each scene is one event."""
    second, number = 0, 0
    while second < hours * 3600:
        label = LABELS[chance.choice(len(LABELS), p=world.shares)]
        is_lost = chance.random() < world.not_sure
        level = np.clip(chance.normal(world.brightness, world.spread), 0, 255)
        image = np.full((8, 8, 3), level, np.uint8)
        number += 1
        for age in range(1 + int(chance.exponential(world.scene_s) / 10)):
            is_sure = (chance.random() < 0.02) == is_lost
            frame = Frame(image=image, number=second, time_s=0, monotonic_s=second)
            event = Event(
                number=number, label=label, start_s=0, end_s=None, score=1, best=frame, frames=1
            )
            yield frame, prediction(label, is_sure=is_sure), (event,) * (age == 0)
            second += 10


def prediction(label: str, *, is_sure: bool) -> Prediction:
    return Prediction(
        label=label if is_sure else None,
        labels=(label,) if is_sure else (),
        score=0.9,
        status="sure" if is_sure else "not sure",
        top=((label, 0.9),),
    )


def warnings_of(validated: World, shown: World, seed: int, hours: float) -> set[str]:
    """Return the first word of each kind of warning that a stream gives at any time."""
    chance = np.random.default_rng(seed)
    monitor = DriftMonitor(reference_of(validated, chance))
    warned = set[str]()
    for seen in stream_of(shown, chance, hours):
        monitor.add(*seen)
        if monitor.now:
            warned |= {warning.split()[0] for warning in monitor.now.warnings}
    return warned


@pytest.mark.parametrize("scene_s", [20, 300, 900])
def test_a_stream_as_it_was_validated_gives_no_warning(scene_s: float) -> None:
    """Decision 25 has the rates of more streams, and of longer ones."""
    world = World(scene_s=scene_s)
    assert not any(warnings_of(world, world, seed, hours=24) for seed in range(3))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"not_sure": 0.6}, "not"),
        ({"brightness": 20}, "less"),
        ({"brightness": 230, "spread": 5}, "more"),
        ({"shares": (0.81, *[0.01] * 19)}, "other"),
    ],
)
def test_each_kind_of_drift_is_noticed_within_six_hours(
    change: dict[str, object], word: str
) -> None:
    world = World()
    for seed in range(3):
        warned = warnings_of(world, replace(world, **change), seed, hours=6)
        assert word in warned


def monitored(
    reference: Reference, seen: Sequence[tuple[float, bool]], **options: bool
) -> Drift | None:
    """Return the drift of frames at these times, sure or not."""
    monitor = DriftMonitor(reference, **options)
    image = np.full((8, 8, 3), 100, np.uint8)
    for time_s, is_sure in seen:
        frame = Frame(image=image, number=0, time_s=0, monotonic_s=time_s)
        monitor.add(frame, prediction("a", is_sure=is_sure), ())
    return monitor.now


ALWAYS_SURE = Reference(groups=300, not_sure=0)


def test_the_frames_of_a_minute_are_no_drift() -> None:
    assert monitored(ALWAYS_SURE, [(n / 30, False) for n in range(30 * 60)]) is None


def test_a_camera_of_which_nothing_is_known_for_three_hours_warns_with_figures() -> None:
    found = monitored(ALWAYS_SURE, [(n * 60.0, False) for n in range(200)])

    assert found is not None
    assert found.samples == 200
    assert found.warnings == ("not sure of 100% of 200 pictures, of the validation images 0%",)


def test_what_is_a_day_old_is_forgotten() -> None:
    day = 24 * 60
    times = [(n * 60.0, n >= day) for n in range(2 * day + 1)]
    found = monitored(ALWAYS_SURE, times)

    assert found is not None
    assert (found.not_sure, found.warnings) == (0, ())
    assert found.samples == day + 1


def test_another_threshold_makes_no_warning_of_not_sure() -> None:
    seen = [(n * 60.0, False) for n in range(200)]
    found = monitored(ALWAYS_SURE, seen, compares_not_sure=False)

    assert found is not None
    assert found.warnings == ()


def test_a_clock_that_goes_back_begins_anew() -> None:
    seen = [(n * 60.0, False) for n in range(200)] + [(n * 60.0, True) for n in range(30)]

    assert monitored(ALWAYS_SURE, seen) is None


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.001, 0.999))
def test_the_binomial_tail_is_that_of_scipy(least: int, count: int, share: float) -> None:
    assert math.isclose(
        drift._tail(least, count, share),  # noqa: SLF001 -- a formula, beside a library's
        stats.binom.sf(least - 1, count, share),
        rel_tol=1e-9,
        abs_tol=1e-12,
    )


@pytest.mark.parametrize("degrees", [1, 5, 20, 200])
def test_the_critical_value_is_that_of_chi_squared(degrees: int) -> None:
    expected = stats.chi2.isf(0.001, degrees)
    assert drift._chi_squared(degrees) == pytest.approx(expected, rel=0.04)  # noqa: SLF001


@pytest.mark.parametrize(("not_sure", "groups"), [(0.0, 50), (0.1, 50), (0.5, 200), (1.0, 20)])
def test_the_upper_bound_is_that_of_clopper_and_pearson(not_sure: float, groups: int) -> None:
    count = round(not_sure * groups)
    exact = stats.binomtest(count, groups).proportion_ci(0.95, method="exact")
    found = drift._upper_bound(Reference(groups=groups, not_sure=not_sure))  # noqa: SLF001
    assert found == pytest.approx(exact.high, abs=1e-6)


def test_the_upper_bound_of_very_many_images_is_a_little_higher_and_found_at_once() -> None:
    exact = stats.binomtest(3 * 10**5, 10**6).proportion_ci(0.95, method="exact")
    found = drift._upper_bound(Reference(groups=10**6, not_sure=0.3))  # noqa: SLF001
    assert exact.high < found < exact.high + 0.03


def test_answers_are_described_by_the_labels_that_were_given() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.55, 0.45]])
    policy = DecisionPolicy(threshold=0.6)

    one = describe_answers(probabilities, ("a", "b"), policy, "classification")
    many = describe_answers(probabilities, ("a", "b"), policy, "multilabel")

    assert one == {"not_sure": 0.25, "given": {"a": 0.666667, "b": 0.333333}}
    assert many == {"not_sure": 0.25, "given": {"a": 0.666667, "b": 0.333333}}


def test_a_reference_is_read_as_it_was_written_and_nonsense_is_refused() -> None:
    reference = Reference(groups=5, not_sure=0.1, given={"a": 1.0}, brightness=(10, 200))

    assert Reference.from_dict(reference.to_dict()) == reference
    nonsense: list[dict[str, Any]] = [
        {"groups": 0},
        {"groups": 2.5},
        {"groups": True},
        {"groups": "5"},
        {"not_sure": 1.1},
        {"not_sure": False},
        {"not_sure": float("nan")},
        {"given": ["a"]},
        {"given": {"a": "all"}},
        {"given": {"a": None}},
        {"brightness": 7},
        {"brightness": [1, 2, 3]},
        {"contrast": [1, 10**400]},
        {"clouds": 0.5},
    ]
    for wrong in nonsense:
        with pytest.raises(
            ValueError, match=r"reference has|argument|iterable|attribute|unpack|too large"
        ):
            Reference.from_dict({"groups": 5, "not_sure": 0.1} | wrong)
    with pytest.raises(ValueError, match="missing"):
        Reference.from_dict({"groups": 5})
