"""What the scores of a bundle are worth: its temperature, and what thresholds keep."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leansight.exporters.verification.intervals import Interval, mean_interval
from leansight.exporters.verification.selective import THRESHOLDS, scores_of
from leansight.exporters.verification.temperature import (
    TemperatureFit,
    are_wrong,
    cross_entropies,
    cross_fit,
    find_temperature,
)
from leansight.runtime.decision import Task, probabilities_of


@dataclass(frozen=True, kw_only=True)
class ThresholdReport:
    """What a threshold keeps: the share `kept`, and the share `right` of that, over videos.

    `right` is None where nothing is kept.
    """

    threshold: float
    kept: Interval
    right: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, rounded to 1e-6."""
        return {
            "threshold": self.threshold,
            "kept": _rounded(self.kept),
            "right": self.right and _rounded(self.right),
        }

    @property
    def shares(self) -> tuple[str, str]:
        """Write the shares kept and right in percent, with their intervals."""
        return _percent(self.kept), _percent(self.right) if self.right else "nothing"


@dataclass(frozen=True, kw_only=True)
class ScoreCalibration:
    """The temperature of a bundle's scores, and what thresholds keep of `images` of `videos`.

    `interval` holds the fitted temperature at 95 %; None where it was not fitted, for a `reason`.
    `country` is whose images these are, "" for all validation images.
    `cross_entropy` is the mean of an image in nats, `unscaled` the same at temperature 1.
    Where the temperature was fitted, both the cross-entropy and the thresholds are cross-fitted:
    each video is scored at a temperature that was fitted on others.
    """

    temperature: float
    interval: tuple[float, float] | None
    reason: str
    images: int
    videos: int
    cross_entropy: float
    unscaled: float
    thresholds: tuple[ThresholdReport, ...]
    country: str = ""

    @property
    def scored(self) -> str:
        """Say of what the cross-entropy and the thresholds are."""
        if self.interval is None:
            return f"These are {self.shown}."
        return "Each of these images is scored at a temperature fitted on others of them."

    @property
    def shown(self) -> str:
        """Name the images: how many, and of how many videos where frames share one."""
        of = f" of {self.videos:,} videos" if self.videos < self.images else ""
        return f"{self.images:,} validation images{of}" + f" of {self.country}" * bool(self.country)

    def __str__(self) -> str:
        """Say in a sentence what the temperature is, and where it comes from."""
        if self.interval is None:
            return f"temperature {self.temperature:g}, not fitted: {self.reason}"
        low, high = self.interval
        return (
            f"temperature {self.temperature:.3f} ({low:.2f} to {high:.2f}), fitted on "
            f"{self.shown}; cross-entropy {self.cross_entropy:.4f}, {self.unscaled:.4f} without"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, rounded to 1e-6."""
        rounded = ("cross_entropy", "unscaled")
        return {
            **vars(self),
            **{name: round(getattr(self, name), 6) for name in rounded},
            "interval": self.interval and [round(end, 4) for end in self.interval],
            "thresholds": [report.to_dict() for report in self.thresholds],
        }


def calibrate_scores(
    logits: NDArray[np.floating[Any]],
    classes: NDArray[np.int64],
    videos: Sequence[str],
    task: Task,
    *,
    temperature: float = 1.0,
    unfitted: str = "",
    country: str = "",
) -> ScoreCalibration:
    """Return the temperature for these held-out images (N, K), and what thresholds keep of them.

    Args:
        logits: of the file that is shipped.
        classes: (N,) what the images show; with many labels (N, K) of 0 and 1.
        videos: of each image; images of the same one are not independent.
        task: one label an image, or many.
        temperature: holds where none is fitted.
        unfitted: why none is to be fitted; "" fits one, if the images can tell it.
        country: that all of these images are of, "" if of several or none.

    """
    fit = TemperatureFit(reason=unfitted)
    if not unfitted:
        fit = find_temperature(logits, classes, videos, task)
    if fit.temperature is None:
        scaled = logits / temperature
    else:
        found = cross_fit(logits, classes, videos, task, otherwise=temperature)
        scaled = logits / found[:, None]
    scores = scores_of(probabilities_of(scaled, task), task)
    return ScoreCalibration(
        temperature=fit.temperature or temperature,
        interval=fit.interval,
        reason=fit.reason,
        images=len(classes),
        videos=len(set(videos)),
        cross_entropy=float(cross_entropies(scaled, classes, task).mean()),
        unscaled=float(cross_entropies(logits, classes, task).mean()),
        thresholds=judge_thresholds(scores, ~are_wrong(logits, classes, task), videos),
        country=country,
    )


def judge_thresholds(
    scores: NDArray[np.float64], right: NDArray[np.bool_], videos: Sequence[str]
) -> tuple[ThresholdReport, ...]:
    """Return what each of `THRESHOLDS` keeps of images of `videos` with these scores (N,)."""
    names, reports = np.asarray(videos), []
    for threshold in THRESHOLDS:
        kept = scores >= threshold
        reports.append(
            ThresholdReport(
                threshold=threshold,
                kept=mean_interval(kept, videos),
                right=mean_interval(right[kept], names[kept].tolist()) if kept.any() else None,
            )
        )
    return tuple(reports)


def _percent(interval: Interval) -> str:
    mean, low, high = (100 * share for share in (interval.mean, interval.low, interval.high))
    return f"{mean:.2f}% ({low:.1f} to {high:.1f})"


def _rounded(interval: Interval) -> dict[str, float]:
    ends = ("mean", "low", "high")
    return {name: round(getattr(interval, name), 6) for name in ends} | {"videos": interval.videos}
