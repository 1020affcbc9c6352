"""The paired tests, against enumeration of all outcomes and against closed testing."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from leansight.exporters.verification.paired import (
    fewest_that_tell,
    holm,
    loss_p_values,
    mean_drop,
)

COUNTS = st.integers(min_value=0, max_value=400)
SHARES = st.floats(min_value=0, max_value=1)


def p_value(lost: int, gained: int) -> float:
    return float(loss_p_values(np.array([lost]), np.array([gained]))[0])


@given(lost=COUNTS, gained=COUNTS)
def test_a_loss_has_the_p_value_of_the_exact_one_sided_test(lost: int, gained: int) -> None:
    if lost + gained == 0:
        assert p_value(0, 0) == 1
        return
    expected = binomtest(lost, lost + gained, alternative="greater").pvalue
    assert p_value(lost, gained) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (0, 3), (5, 2), (6, 6), (10, 0)])
def test_a_p_value_is_the_share_of_all_outcomes_that_lose_as_much(lost: int, gained: int) -> None:
    tosses = list(product([0, 1], repeat=lost + gained))
    as_much = sum(sum(outcome) >= lost for outcome in tosses)
    assert p_value(lost, gained) == pytest.approx(as_much / len(tosses))


@given(st.lists(SHARES, min_size=1, max_size=6))
def test_holms_correction_is_the_closed_test_of_bonferronis(p_values: list[float]) -> None:
    # A hypothesis is rejected if every set that it is in is: Marcus, Peritz & Gabriel, 1976.
    everyone = range(len(p_values))
    sets = [s for size in everyone for s in combinations(everyone, size + 1)]
    local = {s: min(1.0, len(s) * min(p_values[i] for i in s)) for s in sets}
    expected = [max(local[s] for s in sets if i in s) for i in everyone]
    np.testing.assert_allclose(holm(np.array(p_values)), expected)


def test_holm_is_wrong_about_anything_as_seldom_as_it_promises() -> None:
    # 20 classes of 40 images that differ, none of them worse: enumeration is out of reach.
    lost = np.random.default_rng(0).binomial(40, 0.5, size=(4000, 20))
    wrong = [holm(loss_p_values(row, 40 - row)).min() <= 0.05 for row in lost]
    assert np.mean(wrong) <= 0.05


@given(tests=st.integers(1, 1000), significance=st.floats(0.001, 1))
def test_so_many_images_and_no_fewer_tell(tests: int, significance: float) -> None:
    fewest = fewest_that_tell(tests, significance)
    assert min(1, tests * 0.5**fewest) <= significance * (1 + 1e-6)
    assert fewest == 1 or tests * 0.5 ** (fewest - 1) > significance


def test_images_that_tell_by_hand() -> None:
    assert fewest_that_tell(1, 0.05) == 5  # 1/32 is less than 0.05, 1/16 more
    assert fewest_that_tell(43, 0.05) == 10
    assert fewest_that_tell(2, 0.5) == 2  # 2 × 1/4 is 0.5
    assert fewest_that_tell(43, 1) == 1


def interval(lost: int, gained: int, images: int) -> tuple[float, float]:
    drop = mean_drop(np.repeat([1.0, -1.0, 0.0], [lost, gained, images - lost - gained]))
    assert drop.share == pytest.approx((lost - gained) / images)
    return drop.low, drop.high


@given(lost=st.integers(0, 60), gained=st.integers(0, 60), others=st.integers(0, 400))
def test_the_interval_is_bonetts_and_prices(lost: int, gained: int, others: int) -> None:
    # As R's contingencytables has it (Fagerland, Lydersen & Laake, 2017, chapter 8).
    images = lost + gained + others + 2
    first, second = (lost + 1) / images, (gained + 1) / images
    error = math.sqrt((first + second - (first - second) ** 2) / images)
    expected = first - second + 1.959963984540054 * np.array([-error, error])
    if images > 2:  # with no image there is nothing to compare
        found = interval(lost, gained, images - 2)
        np.testing.assert_allclose(found, np.clip(expected, -1, 1), atol=1e-12)


def test_an_interval_from_a_textbook() -> None:
    # Bentur et al. (2009), as Fagerland et al. give it: of 21 patients 7 one way, 1 the other.
    assert interval(7, 1, 21) == pytest.approx((0.0134, 0.508), abs=5e-4)


@pytest.mark.parametrize(("lost", "gained"), [(0.0, 0.0), (0.02, 0.02), (0.05, 0.01), (0.3, 0.1)])
def test_the_interval_covers_the_truth_as_often_as_it_says(lost: float, gained: float) -> None:
    images, covered = 40, 0.0
    for b, c in product(range(images + 1), repeat=2):
        if b + c <= images:
            low, high = interval(b, c, images)
            ways = math.comb(images, b) * math.comb(images - b, c)
            chance = ways * lost**b * gained**c * (1 - lost - gained) ** (images - b - c)
            covered += chance * (low <= lost - gained <= high)
    assert covered >= 0.94
