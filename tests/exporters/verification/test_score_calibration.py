"""What the scores of a bundle are worth is said as it is counted by hand."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from leansight.exporters.verification.score_calibration import calibrate_scores


def shy(count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Draw logits (N, 4) at twice the temperature at which they would be true."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (count, 4))
    classes = np.array([rng.choice(4, p=row) for row in softmax(logits, axis=1)])
    return logits / 2, classes


def separate(count: int) -> list[str]:
    return [f"video-{index}" for index in range(count)]


def test_a_given_temperature_is_not_fitted_and_thresholds_are_counted_at_it() -> None:
    logits, classes = shy(200)
    found = calibrate_scores(
        logits, classes, separate(200), "classification", temperature=0.8, unfitted="it was given"
    )
    assert (found.temperature, found.interval, found.videos) == (0.8, None, 200)
    assert str(found) == "temperature 0.8, not fitted: it was given"
    scores = softmax(logits / 0.8, axis=1).max(axis=1)
    right = logits.argmax(axis=1) == classes
    assert [report.threshold for report in found.thresholds] == [0.5, 0.75, 0.9, 0.95, 0.99]
    for report in found.thresholds:
        kept = scores >= report.threshold
        assert report.kept.mean == pytest.approx(kept.mean())
        assert report.kept.low <= kept.mean() <= report.kept.high
        assert report.right is not None
        assert report.right.mean == pytest.approx(right[kept].mean())
        assert report.right.videos == kept.sum()


def test_a_fitted_temperature_keeps_more_and_has_less_cross_entropy() -> None:
    logits, classes = shy(600)
    videos = [name for name in separate(200) for _ in range(3)]
    found = calibrate_scores(logits, classes, videos, "classification")
    assert found.temperature == pytest.approx(0.5, rel=0.15)
    assert found.reason == ""
    assert found.cross_entropy < found.unscaled
    assert str(found).startswith(f"temperature {found.temperature:.3f} (")
    assert "fitted on 600 validation images of 200 videos; cross-entropy 0." in str(found)
    at_one = calibrate_scores(logits, classes, videos, "classification", unfitted="as it was")
    assert at_one.cross_entropy == at_one.unscaled == found.unscaled
    for mine, unscaled in zip(found.thresholds, at_one.thresholds, strict=True):
        assert mine.kept.mean > unscaled.kept.mean
    # Of what is kept at a score at least that share is right.
    assert all(r.right and r.right.high >= r.threshold for r in found.thresholds)


def test_where_the_images_cannot_tell_it_the_given_temperature_holds() -> None:
    logits = np.tile([4.0, 0.0], (50, 1))
    classes = np.zeros(50, np.int64)
    found = calibrate_scores(logits, classes, separate(50), "classification", temperature=2)
    assert (found.temperature, found.interval) == (2, None)
    assert "no image is wrong" in found.reason
    assert [r.kept.mean for r in found.thresholds] == [1, 1, 0, 0, 0]  # 0.881
    assert found.thresholds[-1].right is None
    assert found.thresholds[-1].shares == ("0.00% (0.0 to 7.1)", "nothing")


def test_many_labels_are_kept_by_their_least_decided_one() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (300, 3))
    classes = (rng.uniform(size=logits.shape) < expit(logits)).astype(np.int64)
    found = calibrate_scores(
        logits, classes, separate(300), "multilabel", temperature=1.0, unfitted="as it was"
    )
    probabilities = expit(logits)
    kept = np.all((probabilities >= 0.9) | (probabilities <= 0.1), axis=1)
    report = found.thresholds[2]
    assert report.kept.mean == pytest.approx(kept.mean())
    right = ((probabilities >= 0.5) == classes).all(axis=1)
    assert report.right is not None
    assert report.right.mean == pytest.approx(right[kept].mean())


def test_it_is_plain_json() -> None:
    logits, classes = shy(100)
    found = calibrate_scores(logits, classes, separate(100), "classification")
    values = json.loads(json.dumps(found.to_dict()))
    assert values["temperature"] == found.temperature
    assert values["thresholds"][0]["kept"]["videos"] == 100
