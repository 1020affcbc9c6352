"""What people get wrong about a network from elsewhere: tried, where its accuracy is suspicious."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from leansight.exporters.conversion.inference import predict
from leansight.exporters.importers.normalisation import Normalisation, NormalisedNetwork
from leansight.exporters.options import StepProgress
from leansight.exporters.verification.label_order import matched_order, reordered, usual_orders
from leansight.exporters.verification.report import LabelledImages
from leansight.exporters.verification.skill import Skill, marks, measure_skill
from leansight.runtime.decision import Task

# From here on a mistake could cost five points at most: nothing is tried.
FINE: Final = 0.95
TRIED_IMAGES: Final = 200  # with each normalisation
# A remedy gains so much accuracy, and by chance no more often than this, whatever is tried.
_LEAST_GAIN: Final = 0.05
# To a network without skill it leaves at most this share of the errors of guessing: random
# features tell colours apart, and under other names an untrained network gains much.
_LEAST_SHARE: Final = 0.5
_P: Final = 0.01
# Of several that are about as good, the one that changes least.
_ABOUT: Final = 0.02
_IMAGENET: Final = (123.675, 116.28, 103.53)
# What networks want of pixels from 0 to 255, in words, by mean and std.
_USUAL: Final[Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "pixels from 0 to 1 and no other normalisation": ((0.0,), (255.0,)),
    "pixels from 0 to 255 and no normalisation": ((0.0,), (1.0,)),
    "pixels from -1 to 1": ((127.5,), (127.5,)),
    "the mean and std of ImageNet": (_IMAGENET, (58.395, 57.12, 57.375)),
    "the mean of ImageNet and no std": (_IMAGENET, (1.0,)),
}


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What would make a network right, in words (`name`, `advice`) and as parameters to set.

    `logits` (M, K) are what it would say then of the images `chosen` (M,).
    """

    name: str
    advice: str
    settings: Mapping[str, str]
    chosen: NDArray[np.int64]
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Trial:
    """The images on which remedies are tried, and what the network says of them as it is."""

    images: LabelledImages
    logits: NDArray[np.float32]
    labels: Sequence[str]
    task: Task

    def skill(self, logits: NDArray[np.float32], chosen: NDArray[np.int64]) -> Skill:
        """Return the skill of logits for the images `chosen`."""
        return measure_skill(logits, self.images.classes[chosen], self.labels, self.task)

    def gain(self, remedy: Remedy) -> float:
        """Return how much accuracy the remedy gains on its images."""
        before = self.skill(self.logits[remedy.chosen], remedy.chosen)
        return self.skill(remedy.logits, remedy.chosen).accuracy - before.accuracy

    def helps(self, remedy: Remedy) -> bool:
        """Return whether the remedy gains enough accuracy to be one."""
        before = self.skill(self.logits[remedy.chosen], remedy.chosen)
        after = self.skill(remedy.logits, remedy.chosen)
        least = before.accuracy + _LEAST_GAIN
        if before.doubt:
            least = 1 - _LEAST_SHARE * (1 - max(before.accuracy, before.guessed))
        return not after.doubt and after.accuracy >= least

    def p_value(self, remedy: Remedy) -> float:
        """Return how likely its gains are by chance: a sign test of images gained and lost."""
        classes = self.images.classes[remedy.chosen]
        before, after = (
            np.sum(np.equal(*marks(logits, classes, self.task)), axis=1)
            for logits in (self.logits[remedy.chosen], remedy.logits)
        )
        gained, lost = int((after > before).sum()), int((after < before).sum())
        if not gained:
            return 1.0
        return float(binomtest(gained, gained + lost, alternative="greater").pvalue)


@dataclass(frozen=True)
class Finding:
    """A remedy that helps, and the skill that the network has with it."""

    remedy: Remedy
    skill: Skill

    def __str__(self) -> str:
        """Return what would help, how much, and what to do."""
        return (
            f"With {self.remedy.name} it would be {self.skill.accuracy:.1%} "
            f"({self.skill.images} images). Nothing was written: {self.remedy.advice}"
        )


def is_suspicious(skill: Skill) -> bool:
    """Return whether a network from elsewhere is so bad that a mistake may be the reason."""
    return skill.accuracy < FINE or bool(skill.doubt)


def find_remedy(network: NormalisedNetwork, trial: Trial, progress: StepProgress) -> Finding | None:
    """Return what makes a network from elsewhere clearly better, None where nothing does.

    Tried are the usual orders of the labels, the order that suits the answers best, and the usual
    normalisations, with the colours in both orders. What is best of these must gain 5 points (of
    a network without skill: halve the errors of guessing), by an exact test that is corrected for
    all that was tried (Bonferroni), and show skill.
    """
    usual = list(usual_orders(trial.labels))
    others = list(_normalisations(network.normalisation, network.channels))
    remedies = [
        *_best_usual_order(trial, usual),
        _best_normalisation(trial, network, others, progress),
        *_matched_order(trial, [order for _, order in usual]),
    ]
    limit = _P / (len(usual) + len(others) + 1)
    better = [r for r in remedies if trial.helps(r) and trial.p_value(r) <= limit]
    found = [Finding(remedy, trial.skill(remedy.logits, remedy.chosen)) for remedy in better]
    if not found:
        return None
    return found[_first_about_best([finding.skill.accuracy for finding in found])]


def _best_usual_order(
    trial: Trial, orders: Sequence[tuple[str, tuple[str, ...]]]
) -> Iterator[Remedy]:
    every = np.arange(len(trial.logits))
    remedies = [_order(trial, name, order, every) for name, order in orders]
    if remedies:
        yield max(remedies, key=trial.gain)


def _matched_order(trial: Trial, usual: Sequence[tuple[str, ...]]) -> Iterator[Remedy]:
    """Give the order that suits the answers to one half of the images, for the other half.

    On the images that it was found with, it would make a network that guesses seem to know.
    """
    shuffled = _shuffled(trial.images.classes)
    search, confirmation = shuffled[::2], shuffled[1::2]
    truth, given = marks(trial.logits[search], trial.images.classes[search], trial.task)
    order = matched_order(given, truth, trial.labels)
    if len(confirmation) and order not in (tuple(trial.labels), *usual):
        yield _order(trial, "in another order", order, confirmation)


def _order(trial: Trial, name: str, order: tuple[str, ...], chosen: NDArray[np.int64]) -> Remedy:
    return Remedy(
        name=f"the labels {name}",
        advice=f"give the labels in the order {'; '.join(order)}",
        settings={"labels": "FILE"},
        chosen=chosen,
        logits=reordered(trial.logits[chosen], trial.labels, order),
    )


def _best_normalisation(
    trial: Trial,
    network: NormalisedNetwork,
    others: Sequence[tuple[str, Normalisation]],
    progress: StepProgress,
) -> Remedy:
    chosen = _shuffled(trial.images.classes)[:TRIED_IMAGES]
    pixels, plain = trial.images.pixels[chosen], copy.deepcopy(network.network)
    remedies: list[Remedy] = []
    for name, wanted in others:
        settings = _settings(network.normalisation, wanted)
        module = NormalisedNetwork(plain, wanted, network.channels)
        remedy = Remedy(
            name=name,
            advice="set " + " and ".join(f"{key} to {value}" for key, value in settings.items()),
            settings=settings,
            chosen=chosen,
            logits=predict(module, pixels),
        )
        remedies.append(remedy)
        progress("trying other normalisations", len(remedies), len(others))
    return remedies[_first_about_best([trial.gain(remedy) for remedy in remedies])]


def _first_about_best(values: Sequence[float]) -> int:
    """Return where the first value is that is about as large as the largest."""
    return next(n for n, value in enumerate(values) if value >= max(values) - _ABOUT)


def _shuffled(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the images in random order, the classes in turn as far as they go."""
    shuffled = np.random.default_rng(0).permutation(len(classes))
    if classes.ndim > 1:
        return shuffled
    turn = np.zeros(len(classes), np.int64)
    for k in np.unique(classes):
        members = classes[shuffled] == k
        turn[members] = np.arange(members.sum())
    return shuffled[np.argsort(turn, kind="stable")]


def _normalisations(given: Normalisation, channels: int) -> Iterator[tuple[str, Normalisation]]:
    """Give other normalisations with their names, those that change least first."""
    known = {given}
    for name, other in _all_normalisations(given):
        fits = {len(other.mean), len(other.std)} <= {1, channels}
        if fits and other not in known and (channels > 1 or not other.bgr):
            known.add(other)
            yield name, other


def _all_normalisations(given: Normalisation) -> Iterator[tuple[str, Normalisation]]:
    swap = "red and blue swapped"
    other = replace(given, bgr=not given.bgr)
    yield swap, other
    yield f"{swap}, mean and std as well", _turned(other)
    for name, (mean, std) in _USUAL.items():
        rgb = Normalisation(mean=mean, std=std)
        bgr = _turned(replace(rgb, bgr=True))
        same, swapped = (bgr, rgb) if given.bgr else (rgb, bgr)
        yield name, same
        yield f"{swap}, {name}", swapped


def _turned(normalisation: Normalisation) -> Normalisation:
    return replace(normalisation, mean=normalisation.mean[::-1], std=normalisation.std[::-1])


def _settings(given: Normalisation, wanted: Normalisation) -> dict[str, str]:
    """Return the parameters of an import that differ, as they are typed."""
    settings = {} if given.bgr == wanted.bgr else {"colour": "bgr" if wanted.bgr else "rgb"}
    for name in ("mean", "std"):
        if getattr(given, name) != (numbers := getattr(wanted, name)):
            settings[name] = ",".join(f"{number:g}" for number in numbers)
    return settings
