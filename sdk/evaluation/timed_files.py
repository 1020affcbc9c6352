"""How often the very files are right that a benchmark times, each in a process of its own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leansight.benchmarks.bare_input import BareInput, bare_input
from leansight.benchmarks.machines import ThisMachine
from leansight.benchmarks.models import Model
from leansight.benchmarks.results.estimates import Estimate
from leansight.benchmarks.results.result import Accuracy, Benchmark
from leansight.exporters.verification.intervals import LEVEL, Interval, mean_interval
from leansight.runtime.bundle import Bundle
from leansight.runtime.decision import DecisionPolicy
from leansight.runtime.errors import DataError, LeansightError
from leansight.runtime.preprocessing import CHANNELS, Image
from leansight.runtime.system.whole_files import scratch_folder
from leansight.sdk.data.images import images_folder, read_sample
from leansight.sdk.data.samples import Sample
from leansight.sdk.evaluation.answers import AnsweringModel, Answers, ask

_TIMED_IMAGES: Final = 50  # frames are of these, in turn
_REDRAWS: Final = 2000


def some_images(root: Path, samples: Sequence[Sample]) -> list[Image]:
    """Return up to 50 images, from all over the data, to time models on."""
    places = np.linspace(0, len(samples) - 1, min(len(samples), _TIMED_IMAGES)).round()
    return [read_sample(images_folder(root), samples[int(place)]) for place in places]


def with_accuracy(
    found: Benchmark,
    models: Sequence[Model],
    root: Path,
    samples: Sequence[Sample],
    *,
    threads: int = 1,
    hang_s: float = 60.0,
) -> Benchmark:
    """Return the benchmark with the accuracy of each file on labelled images.

    `models` are those that were measured, failures among them. Where one cannot be judged, because
    it crashes, hangs, or knows other labels, its result says so.
    """
    model_of = {(model.name, model.format): model for model in models}
    results = []
    for result in found.results:
        model = model_of[result.name, result.format]
        try:
            accuracy = measure_accuracy(_answers(model, root, samples, threads, hang_s))
            results.append(replace(result, accuracy=accuracy))
        except LeansightError as error:
            results.append(replace(result, accuracy_failure=str(error)))
    return replace(found, results=tuple(results))


def measure_accuracy(answers: Answers) -> Accuracy:
    """Return how often the answers are right, of all images and of those that are kept."""
    right, sure = answers.right, answers.sure
    videos = np.asarray(answers.videos)
    is_single = answers.task == "classification"
    return Accuracy(
        images=len(videos),
        videos=len(set(answers.videos)),
        accuracy=_estimate(mean_interval(right, answers.videos)),
        balanced=balanced_accuracy(right, answers.classes, videos) if is_single else None,
        threshold=answers.policy.threshold,
        kept=_estimate(mean_interval(sure, answers.videos)),
        right=_estimate(mean_interval(right[sure], videos[sure].tolist())) if sure.any() else None,
    )


def balanced_accuracy(
    right: NDArray[np.bool_], classes: NDArray[np.int64], videos: NDArray[Any]
) -> Estimate:
    """Return the mean over classes of the share that is right, of images (N,), with its interval.

    Whole videos are drawn again; a class that a draw lacks does not count in it. Where all videos
    are alike, that shows no doubt, and the interval is as wide as the accuracy's.
    """
    _, video = np.unique(videos, return_inverse=True)
    _, label = np.unique(classes, return_inverse=True)
    counts = np.zeros((2, video.max() + 1, label.max() + 1))
    np.add.at(counts[0], (video, label), right)
    np.add.at(counts[1], (video, label), 1)
    value = float(_mean_recall(counts.sum(axis=1)))
    random, size = np.random.default_rng(0), counts.shape[1]
    drawn = random.multinomial(size, np.full(size, 1 / size), size=_REDRAWS)
    redrawn = _mean_recall(np.einsum("dv,cvk->cdk", drawn, counts))
    low, high = np.quantile(redrawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if low == high:
        same = mean_interval(right, videos.tolist())
        low, high = same.low, same.high
    return Estimate(value=value, low=float(low), high=float(high))


def _mean_recall(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean recall over the last axis, of how many are right and how many there are."""
    right, there = counts
    recalls = np.divide(right, there, out=np.zeros_like(right), where=there > 0)
    means: NDArray[np.float64] = recalls.sum(axis=-1) / (there > 0).sum(axis=-1)
    return means


def _answers(
    model: Model, root: Path, samples: Sequence[Sample], threads: int, hang_s: float
) -> Answers:
    with scratch_folder() as folder:
        one = _with_labels(model, samples).in_one_file(folder / "model")
        pictures, pixels = folder / "images.npz", folder / "pixels.npy"
        np.savez(pictures, *some_images(root, samples[:1]))
        brought = ThisMachine().bring(one, pictures, threads=threads, hang_s=hang_s)
        with brought as launch, launch() as running:

            def answer(batch: Image) -> NDArray[np.float32]:
                np.save(pixels, batch)
                return np.array(running.ask({"pixels": str(pixels)})["logits"], np.float32)

            return ask(_described(one, running.start["input_shape"], answer), root, samples)


def _with_labels(model: Model, samples: Sequence[Sample]) -> Model:
    """Give a bare file that has none the labels of the images, by the alphabet.

    Of several outputs, their number picks the logits.
    """
    if model.digest is not None or model.labels:
        return model
    return replace(model, labels=tuple(sorted({label for s in samples for label in s.labels})))


def _described(
    model: Model,
    shape: tuple[int, int, int, int],
    answer: Callable[[Image], NDArray[np.float32]],
) -> AnsweringModel:
    """Describe a bundle's file, or a bare one that has labels."""
    if model.digest is not None:
        bundle = Bundle.load(model.path)
        return AnsweringModel(
            name=model.name,
            labels=bundle.labels,
            task=bundle.task,
            preprocessing=bundle.preprocessing,
            policy=bundle.decision,
            answer=answer,
        )
    _, height, width, channels = shape
    preprocessing = bare_input(height, width, channels)
    if isinstance(preprocessing, BareInput) and channels not in CHANNELS.values():
        raise DataError(f"how pictures become its {channels} channels is not known")
    return AnsweringModel(
        name=model.name,
        labels=model.labels,
        task="classification",
        preprocessing=preprocessing,
        policy=DecisionPolicy(),
        answer=answer,
    )


def _estimate(interval: Interval) -> Estimate:
    return Estimate(value=interval.mean, low=interval.low, high=interval.high)
