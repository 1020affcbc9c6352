"""Predictions of a trained run, or an exported bundle, on labelled images."""

import math
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from torch import nn

from leansight.exporters.conversion.inference import predict
from leansight.exporters.verification.selective import scores_of
from leansight.runtime.bundle import Bundle
from leansight.runtime.decision import DecisionPolicy, Task, are_sure, probabilities_of
from leansight.runtime.errors import DataError
from leansight.runtime.interpreter import Format, load_interpreter
from leansight.runtime.preprocessing import Image, Preprocessing
from leansight.sdk.augmentation.augment import augment, mirrored_labels
from leansight.sdk.augmentation.change import Change
from leansight.sdk.data.images import images_folder, read_sample, require_readable
from leansight.sdk.data.samples import Sample, classes_of
from leansight.sdk.evaluation.metrics import marks
from leansight.sdk.runs.run import Run
from leansight.sdk.system.progress import track
from leansight.sdk.system.text import first_five, printable

BATCH: Final = 16
_READ_AHEAD: Final = 4 * BATCH  # images in memory beside those that are being judged
_READERS: Final = 4


@dataclass(frozen=True, kw_only=True)
class AnsweringModel:
    """What is judged; `answer` takes pixels (N, S, S, C) uint8 to logits (N, K) float32.

    `network` is a run's, in torch; a bundle has none.
    """

    name: str
    labels: tuple[str, ...]
    task: Task
    preprocessing: Preprocessing
    policy: DecisionPolicy
    answer: Callable[[Image], NDArray[np.float32]]
    network: nn.Module | None = None


def load_model(
    path: Path, *, model_format: Format | None = None, threads: int = 1
) -> AnsweringModel:
    """Load a run (a folder with run.json) or a bundle.

    Raises:
        DataError: the run has not finished, or is damaged.
        BundleError: there is no bundle, it is damaged, or lacks the format.

    """
    if (path / "train.csv").is_file():
        run = Run.load(path)
        network = run.network()
        return AnsweringModel(
            name=f"{path.name} (torch float32)",
            labels=run.labels,
            task=run.recipe.task,
            preprocessing=run.recipe.preprocessing,
            policy=run.recipe.decision,
            answer=lambda pixels: predict(network, pixels),
            network=network,
        )
    bundle = Bundle.load(path)
    chosen = bundle.choose_format(model_format)
    interpreter = load_interpreter(
        bundle.read(f"model.{chosen}"), chosen, threads=threads, name=f"model.{chosen} of {path}"
    )
    return AnsweringModel(
        name=f"{path.name} ({chosen} {bundle.precision_text})",
        labels=bundle.labels,
        task=bundle.task,
        preprocessing=bundle.preprocessing,
        policy=bundle.decision,
        answer=lambda pixels: np.stack([interpreter(image[None]) for image in pixels]),
    )


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model said of `samples`: `logits` (N, K) float32, beside what they show.

    `classes` is (N,) int64, positions in `labels`; with many labels (N, K) of 0 and 1.
    """

    name: str
    labels: tuple[str, ...]
    task: Task
    policy: DecisionPolicy
    samples: tuple[Sample, ...]
    classes: NDArray[np.int64]
    logits: NDArray[np.float32]

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """Of each class, (N, K), at the policy's temperature."""
        return probabilities_of(self.logits, self.task, self.policy.temperature)

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """How sure of each image, (N,): of its best class, or of its least decided label."""
        return scores_of(self.probabilities, self.task)

    @cached_property
    def marks(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which labels are there and which are given, whatever the threshold, (N, K) each."""
        return marks(self.probabilities, self.classes, self.task)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether each image is right, (N,); with many labels, whether all of its labels are.

        The mean is the accuracy; with many labels the image accuracy (subset accuracy).
        """
        truth, given = self.marks
        right: NDArray[np.bool_] = (truth == given).all(axis=1)
        return right

    @property
    def sure(self) -> NDArray[np.bool_]:
        """Whether the policy accepts each image, (N,)."""
        return are_sure(self.probabilities, self.task, self.policy.thresholds_of(self.labels))

    @cached_property
    def videos(self) -> tuple[str, ...]:
        """Name the video of each image; one that belongs to none is its own."""
        return tuple(sample.group for sample in self.samples)

    def with_policy(self, policy: DecisionPolicy) -> "Answers":
        """Return the same answers, decided otherwise."""
        return replace(self, policy=policy)

    def only(self, chosen: NDArray[np.bool_]) -> "Answers":
        """Return the answers of some of the images, (N,)."""
        return replace(
            self,
            samples=tuple(s for s, c in zip(self.samples, chosen, strict=True) if c),
            classes=self.classes[chosen],
            logits=self.logits[chosen],
        )


def ask(
    model: AnsweringModel,
    root: Path,
    samples: Sequence[Sample],
    report_unreadable: Callable[[str], None] | None = None,
    *,
    shift: Sequence[Change] = (),
) -> Answers:
    """Return what the model says of every sample, read while it thinks, in constant memory.

    `report_unreadable` is told of each file that cannot be read, which is then left out. With
    `shift`, every image is changed first, at its own size, by amounts that follow from its file's
    name alone: two models are asked the same pictures, whatever the size of their inputs.

    Raises:
        DataError: no image at all, one without a label or with one that the model does not
            know, an answer that is not a finite number, or, without `report_unreadable`, one that
            cannot be read; each names the first five files.

    """
    if not samples:
        raise DataError("there is no image to judge by")
    classes = classes_of(samples, model.labels, model.task)
    problems: dict[int, str] = {}
    folder = images_folder(root)
    mirrored = mirrored_labels(shift, model.labels) if model.task == "classification" else None

    def read(index: int) -> Image | None:
        try:
            image = read_sample(folder, samples[index])
        except DataError as error:
            problems[index] = str(error)
            return None
        if shift:
            rng = np.random.default_rng(zlib.crc32(os.fsencode(samples[index].path)))
            image, classes[index] = _shifted(image, classes[index], shift, mirrored, rng)
        return model.preprocessing(image)

    batches = _batches(len(samples), read)
    count = math.ceil(len(samples) / BATCH)
    what = f"asking {escape(printable(model.name))}"
    bar = track(batches, what, count)
    given = [model.answer(pixels) for pixels in bar]
    if report_unreadable is None or not given:
        require_readable(problems, len(samples))
    elif problems:
        for problem in problems.values():
            report_unreadable(problem)
        readable = [index for index in range(len(samples)) if index not in problems]
        samples, classes = [samples[index] for index in readable], classes[readable]
    logits = np.concatenate(given)
    if logits.shape[1] != len(model.labels):
        raise DataError(
            f"{model.name} gives {logits.shape[1]} numbers for {len(model.labels)} labels"
        )
    broken = [
        str(s.path) for s, row in zip(samples, logits, strict=True) if not np.isfinite(row).all()
    ]
    if broken:
        raise DataError(
            f"{model.name} answers {len(broken)} images with what is not a finite number: "
            f"{first_five(broken)}"
        )
    return Answers(
        name=model.name,
        labels=model.labels,
        task=model.task,
        policy=model.policy,
        samples=tuple(samples),
        classes=classes,
        logits=logits,
    )


def _shifted(
    image: Image,
    target: np.int64 | Image,
    shift: Sequence[Change],
    mirrored: Sequence[int] | None,
    rng: np.random.Generator,
) -> tuple[Image, np.int64 | Image]:
    """Return an image (H, W, 3) uint8 BGR changed at random, with the class that it now shows."""
    rgb = np.ascontiguousarray(image[..., ::-1])
    changed, target = augment(rgb, target, shift, mirrored, rng)
    return np.ascontiguousarray(changed[..., ::-1]), target


def _batches(count: int, read: Callable[[int], Image | None]) -> Iterator[Image]:
    """Yield prepared images (up to BATCH, S, S, C) in order; threads read a little ahead."""
    waiting = iter(range(count))
    with ThreadPoolExecutor(_READERS) as pool:
        ahead: deque[Future[Image | None]] = deque(
            pool.submit(read, index) for index in islice(waiting, _READ_AHEAD)
        )
        while ahead:
            batch = []
            for _ in range(min(BATCH, len(ahead))):
                if (image := ahead.popleft().result()) is not None:
                    batch.append(image)
                ahead.extend(pool.submit(read, index) for index in islice(waiting, 1))
            if batch:
                yield np.concatenate(batch)
