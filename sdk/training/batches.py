"""Data loading and augmentation: scenes changed at random, then prepared as on the Pi.

What a sample becomes depends on the seed, the epoch and its index alone, so that a training
that was killed goes on as if it had not been, whatever the number of worker processes.
"""

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from leansight.runtime.preprocessing import Image, Preprocessing
from leansight.sdk.augmentation.augment import augment, mirrored_labels
from leansight.sdk.augmentation.change import Change
from leansight.sdk.data.images import ImageSet
from leansight.sdk.data.samples import Split
from leansight.sdk.runs.images import read_part
from leansight.sdk.runs.run import RunConfig
from leansight.sdk.training.readers import reader_options


class Batch(NamedTuple):
    """Pixels (N, C, S, S) uint8, targets (N,) or (N, K) int64, sample indices (N,) int64.

    `teacher_pixels` are the same scenes as each teacher's preprocessing shows them, none without
    teachers; `teacher_logits` (N, K) float32 what teachers have answered already, else (N, 0).
    """

    pixels: Tensor
    targets: Tensor
    indices: Tensor
    teacher_pixels: Sequence[Tensor]
    teacher_logits: Tensor


class EpochDataset(Dataset[Batch], Sized):
    """Training images that are read by (epoch, index), in another view in each epoch."""


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, index) in an order of its own for each epoch; it counts them itself.

    Lightning's own count (`set_epoch`) is one behind when a run is resumed. Where a training has
    several processes, each reads its share of the same order, all as many.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed, self._epoch = count, seed, 0

    def __len__(self) -> int:
        return self._count // _processes()[1]

    def start_at(self, epoch: int) -> None:
        """Choose the epoch that is read next."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self._epoch
        self._epoch += 1
        order = np.random.default_rng([self._seed, epoch]).permutation(self._count)
        process, processes = _processes()
        share = order[process::processes][: len(self)]
        return ((epoch, int(index)) for index in share)


class TrainingScenes(EpochDataset):
    """Scenes (RGB, not yet prepared) that are changed and prepared each time they are read.

    Args:
        scenes: pixels (N, S', S', 3) uint8 RGB with their classes.
        changes: in the order in which they are made.
        mirrored: for each class the one that its mirror image shows, or -1; many labels: None.
        preprocessing: the network's, of a size up to S'.
        teachers: the preprocessing of each teacher.
        seed: of the changes.

    """

    def __init__(
        self,
        scenes: ImageSet,
        changes: Sequence[Change],
        mirrored: Sequence[int] | None,
        preprocessing: Preprocessing,
        *,
        teachers: Sequence[Preprocessing] = (),
        seed: int = 0,
    ) -> None:
        self._scenes = scenes
        self._changes = changes
        self._mirrored = mirrored
        self._preprocessing = preprocessing
        self._teachers = teachers
        self._seed = seed

    def __len__(self) -> int:
        return len(self._scenes.classes)

    def __getitem__(self, position: tuple[int, int]) -> Batch:
        epoch, index = position
        scene, target = augment(
            self._scenes.pixels[index],
            self._scenes.classes[index],
            self._changes,
            self._mirrored,
            np.random.default_rng((self._seed, epoch, index)),
        )
        bgr = np.ascontiguousarray(scene[..., ::-1])
        return Batch(
            pixels=_channels_first(self._preprocessing(bgr)),
            targets=torch.as_tensor(target),
            indices=torch.tensor(index),
            teacher_pixels=tuple(_channels_first(teacher(bgr)) for teacher in self._teachers),
            teacher_logits=torch.empty(0),
        )


class PreparedImages(Dataset[Batch]):
    """Images that are already what the network sees, read in order: for validation."""

    def __init__(self, images: ImageSet) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images.classes)

    def __getitem__(self, index: int) -> Batch:
        return Batch(
            pixels=_channels_first(self._images.pixels[index][None]),
            targets=torch.as_tensor(self._images.classes[index]),
            indices=torch.tensor(index),
            teacher_pixels=(),
            teacher_logits=torch.empty(0),
        )


def scene_preprocessing(preprocessing: Preprocessing, scale: float) -> Preprocessing:
    """Return what makes scenes: the fit and interpolation of `preprocessing`, nothing that loses.

    Scenes are RGB, `scale` times the network's sides, without CLAHE or derived channels.
    """
    size = round(scale * preprocessing.height), round(scale * preprocessing.width)
    return replace(
        preprocessing, size=size, colour="rgb", clahe=None, difference_of_gaussians=False
    )


def shifted_copy(
    scenes: ImageSet,
    changes: Sequence[Change],
    mirrored: Sequence[int] | None,
    preprocessing: Preprocessing,
) -> ImageSet:
    """Return prepared images as another country's camera might have taken them, always the same."""
    pixels = np.empty((len(scenes.classes), *preprocessing.shape[1:]), np.uint8)
    classes = scenes.classes.copy()
    copies = TrainingScenes(scenes, changes, mirrored, preprocessing)
    for index in range(len(copies)):
        copy = copies[0, index]
        pixels[index] = copy.pixels.permute(1, 2, 0).numpy()
        classes[index] = copy.targets.numpy()
    return ImageSet(pixels=pixels, classes=classes)


@dataclass(frozen=True, kw_only=True)
class Images:
    """What a training reads: scenes to learn from, prepared images to judge by."""

    scenes: ImageSet
    validation: ImageSet
    shifted: ImageSet | None


def read_images(start: RunConfig, split: Split, *, folder: Path) -> Images:
    """Read what a run learns from and chooses by; the scenes lie in a nameless file in `folder`."""
    recipe = start.recipe
    scene = scene_preprocessing(recipe.preprocessing, recipe.training.scene_scale)
    shifted = None
    if recipe.shift and split.validation:
        shifted = shifted_copy(
            read_part(start, start.data, split.validation, "validation", preprocessing=scene),
            recipe.shift,
            mirrored_classes(start, recipe.shift),
            recipe.preprocessing,
        )
    return Images(
        scenes=read_part(
            start, start.data, split.train, "training", preprocessing=scene, folder=folder
        ),
        validation=read_part(start, start.data, split.validation, "validation"),
        shifted=shifted,
    )


def augmented_scenes(
    start: RunConfig, scenes: ImageSet, *, seed: int, teachers: Sequence[Preprocessing]
) -> TrainingScenes:
    """Return scenes as the run's recipe changes and prepares them."""
    recipe = start.recipe
    mirrored = mirrored_classes(start, recipe.augmentation)
    return TrainingScenes(
        scenes, recipe.augmentation, mirrored, recipe.preprocessing, teachers=teachers, seed=seed
    )


def training_batches(
    scenes: EpochDataset, *, batch_size: int, seed: int, workers: int
) -> DataLoader[Batch]:
    """Return the batches of every epoch, read by `workers` processes (0: by this one)."""
    return DataLoader(
        scenes,
        batch_size,
        sampler=EpochSampler(len(scenes), seed),
        # A last batch of one image would have no variance to normalise by.
        drop_last=len(scenes) // _processes()[1] > batch_size,
        persistent_workers=workers > 0,
        **reader_options(workers),
    )


def mirrored_classes(start: RunConfig, changes: Sequence[Change]) -> list[int] | None:
    """Return for each class the one that its mirror image shows, or -1; many labels: None."""
    if start.recipe.task == "multilabel":
        return None
    return mirrored_labels(changes, start.labels)


def _processes() -> tuple[int, int]:
    """Return the number of this process (from 0) among those of one training, and how many."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def _channels_first(prepared: Image) -> Tensor:
    return torch.from_numpy(prepared[0]).permute(2, 0, 1).contiguous()
