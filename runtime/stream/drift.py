"""Drift: whether a stream still shows what its bundle was validated on."""

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Final

from leansight.runtime.decision import Prediction
from leansight.runtime.stream.capture.frame_slot import Frame
from leansight.runtime.stream.events import Event
from leansight.runtime.stream.reference import Reference
from leansight.runtime.stream.visibility import measure_exposure

WINDOW_S: Final = 86400.0
# Frames of a minute are alike: one counts.
EVERY_S: Final = 60.0
_FEWEST_SAMPLES: Final = 180  # three hours: a scene is no drift
_FEWEST_EVENTS: Final = 10
_MOST_EVENTS: Final = 1000
_CHANCE: Final = 0.001  # of a warning where the stream is as the validation images
_Z: Final = 3.0902  # which a standard normal value exceeds with that chance
_MARGIN: Final = 0.1  # by which the share of "not sure" may be greater
_MOST_GROUPS: Final = 1000  # as many bound a share to 3 points; more would take seconds to add up
_LARGE_PSI: Final = 0.25  # what is customarily called a large shift


@dataclass(frozen=True, kw_only=True)
class Drift:
    """A stream of late: `warnings` are lines for people, empty while all is as it was validated.

    `not_sure` is the share of the `samples` pictures; `brightness` and `contrast` their medians;
    `psi` the population stability index of the labels of the `events`, None of too few.
    """

    samples: int
    not_sure: float
    brightness: float
    contrast: float
    events: int
    psi: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Sample:
    clock_s: float
    is_sure: bool
    brightness: float
    contrast: float


class DriftMonitor:
    """Compares the last day of a stream with the validation images of its bundle.

    Pictures count once a minute and labels once an event, for frames of a second are alike.
    """

    def __init__(self, reference: Reference, *, compares_not_sure: bool = True) -> None:
        """Compare with `reference`; its share of "not sure" holds for the bundle's thresholds."""
        self.now: Drift | None = None  # in the first three hours
        self._reference = reference
        self._most_not_sure = min(1.0, _upper_bound(reference) + _MARGIN)
        self._compares_not_sure = compares_not_sure
        self._samples: deque[_Sample] = deque()
        self._labels: deque[tuple[float, str]] = deque(maxlen=_MOST_EVENTS)

    def add(self, frame: Frame, prediction: Prediction, events: Sequence[Event]) -> None:
        """Take a frame that was classified, and the events that began or ended with it."""
        clock_s = frame.monotonic_s if frame.position_s is None else frame.position_s
        self._labels.extend((clock_s, event.label) for event in events if event.end_s is None)
        passed_s = clock_s - self._samples[-1].clock_s if self._samples else EVERY_S
        if passed_s < 0:  # another file, or the same once more
            self._samples.clear()
            self._labels.clear()
        elif passed_s < EVERY_S:
            return
        exposure = measure_exposure(frame.image)
        sample = _Sample(
            clock_s=clock_s,
            is_sure=prediction.status == "sure",
            brightness=exposure.brightness,
            contrast=exposure.contrast,
        )
        self._samples.append(sample)
        while clock_s - self._samples[0].clock_s > WINDOW_S:
            self._samples.popleft()
        while self._labels and clock_s - self._labels[0][0] > WINDOW_S:
            self._labels.popleft()
        self.now = self._compare() if len(self._samples) >= _FEWEST_SAMPLES else None

    def _compare(self) -> Drift:
        """Return how the samples and events of the window compare with the reference."""
        samples = list(self._samples)
        not_sure = [not sample.is_sure for sample in samples]
        brightness = median(sample.brightness for sample in samples)
        contrast = median(sample.contrast for sample in samples)
        psi, mix = self._compare_labels()
        warnings = [
            *self._warn_of_not_sure(not_sure),
            *_warn_of_range("brightness", brightness, self._reference.brightness),
            *_warn_of_range("contrast", contrast, self._reference.contrast),
            *mix,
        ]
        return Drift(
            samples=len(samples),
            not_sure=fmean(not_sure),
            brightness=brightness,
            contrast=contrast,
            events=len(self._labels),
            psi=psi,
            warnings=tuple(warnings),
        )

    def _warn_of_not_sure(self, not_sure: Sequence[bool]) -> Iterator[str]:
        """Warn where that many would be rare, even if the reference's share were at its most."""
        share, independent = fmean(not_sure), _independent(not_sure)
        count = math.floor(share * independent)
        if self._compares_not_sure and _tail(count, independent, self._most_not_sure) < _CHANCE:
            yield (
                f"not sure of {share:.0%} of {len(not_sure)} pictures, of the validation images "
                f"{self._reference.not_sure:.0%}"
            )

    def _compare_labels(self) -> tuple[float | None, list[str]]:
        """Return the PSI of the labels of events, and a warning where it is large.

        With n events and m references of K labels, PSI is distributed as (1/n + 1/m) times
        chi-squared with K - 1 degrees of freedom where nothing has changed (Yurdakul and Naranjo,
        "Statistical properties of the population stability index", 2020).
        """
        given, events = self._reference.given, len(self._labels)
        counts = Counter(label for _, label in self._labels)
        names = sorted({*given, *counts})
        if events < _FEWEST_EVENTS or len(names) < 2:  # noqa: PLR2004 -- a mix has two
            return None, []
        groups = self._reference.groups
        psi, most = 0.0, ("", 0.0, 0.0, 0.0)
        for name in names:
            # Half an event and half an image more: no share is 0.
            now = (counts[name] + 0.5) / (events + len(names) / 2)
            then = (given.get(name, 0.0) * groups + 0.5) / (groups + len(names) / 2)
            part = (now - then) * math.log(now / then)
            psi += part
            most = max(most, (name, part, now, then), key=lambda entry: entry[1])
        by_chance = (1 / events + 1 / groups) * _chi_squared(len(names) - 1)
        if psi <= max(_LARGE_PSI, by_chance):
            return psi, []
        name, _, now, then = most
        shift = f"PSI {psi:.2f} over {events} events: {name} {now:.0%}, not {then:.0%}"
        return psi, [f"other labels than the validation images have ({shift})"]


def _warn_of_range(name: str, value: float, ends: tuple[float, float] | None) -> Iterator[str]:
    """Warn where a median is outside: more than half of the pictures are, of the others 2 %."""
    if ends is not None and not ends[0] <= value <= ends[1]:
        side = "less" if value < ends[0] else "more"
        yield (
            f"{side} {name} than the validation images have: {value:.0f}, not {ends[0]:.0f} to "
            f"{ends[1]:.0f}"
        )


def _independent(marks: Sequence[bool]) -> int:
    """Return how many independent marks tell as much as these, of which neighbours are alike.

    The effective sample size of a series of the first order, n (1 - r) / (1 + r), where r is the
    correlation of neighbours. Where all are equal, all count.
    """
    mean = fmean(marks)
    variance = mean * (1 - mean)
    if variance == 0:
        return len(marks)
    covariance = fmean((a - mean) * (b - mean) for a, b in pairwise(marks))
    correlation = min(max(covariance / variance, 0.0), 0.99)
    return max(1, math.floor(len(marks) * (1 - correlation) / (1 + correlation)))


def _upper_bound(reference: Reference) -> float:
    """Return the highest share of "not sure" that the reference allows (Clopper and Pearson)."""
    groups = min(reference.groups, _MOST_GROUPS)
    count = round(reference.not_sure * groups)
    low, high = reference.not_sure, 1.0
    for _ in range(40):  # halvings
        middle = (low + high) / 2
        is_allowed = 1 - _tail(count + 1, groups, middle) > 0.025  # noqa: PLR2004 -- 95 %
        low, high = (middle, high) if is_allowed else (low, middle)
    return high


def _tail(least: int, count: int, share: float) -> float:
    """Return the probability of at least so many of `count` independent draws (binomial)."""
    if least <= 0 or share >= 1:
        return 1.0
    if share <= 0:
        return 0.0
    log_all = math.lgamma(count + 1)
    return min(1.0, math.fsum(
        math.exp(
            log_all - math.lgamma(k + 1) - math.lgamma(count - k + 1)
            + k * math.log(share) + (count - k) * math.log1p(-share)
        )
        for k in range(least, count + 1)
    ))  # fmt: skip


def _chi_squared(degrees: int) -> float:
    """Return what chi-squared exceeds with the chance of a warning (Wilson and Hilferty, 1931)."""
    spread = 2 / (9 * degrees)
    return degrees * (1 - spread + _Z * math.sqrt(spread)) ** 3
