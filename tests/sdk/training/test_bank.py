"""A bank holds what a training would have read and been taught; another one is refused."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.special import softmax
from tiny_run import HERE, shortened

from leansight.runtime.errors import DataError
from leansight.sdk.augmentation.geometric import Affine
from leansight.sdk.augmentation.sharpness import Noise
from leansight.sdk.models.build import build_network
from leansight.sdk.models.networks import network_input
from leansight.sdk.recipes.schema import Distillation, Recipe
from leansight.sdk.runs.begin import begin
from leansight.sdk.runs.run import Run, RunConfig, TrainingOptions, read_split
from leansight.sdk.training.bank import Bank, open_bank
from leansight.sdk.training.batches import augmented_scenes, read_images
from leansight.sdk.training.train import train


class Trainings:
    """Trainings of one data set that begin in a folder, with one bank."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.folder = data, folder
        self.bank = folder / "bank"

    def begin(self, recipe: Recipe, *teachers: Run, views: int = 2) -> tuple[RunConfig, Path]:
        out = self.folder / f"run-{len(list(self.folder.iterdir()))}"
        paths = tuple(teacher.path for teacher in teachers)
        options = TrainingOptions(teachers=paths, bank=self.bank, bank_views=views)
        return begin(self.data, recipe, out, options), out

    def open(self, recipe: Recipe, *teachers: Run, views: int = 2, workers: int = 0) -> Bank:
        start, out = self.begin(recipe, *teachers, views=views)
        split = read_split(out)
        scenes = read_images(start, split, folder=out).scenes
        return open_bank(start, split.train, scenes, teachers, workers=workers)


@pytest.fixture
def augmented(recipe: Recipe) -> Recipe:
    """The recipe of the shapes, with changes of the images."""
    return replace(recipe, augmentation=(Affine(shift=0.1), Noise(sigma=9)))


@pytest.fixture
def trainings(data: Path, tmp_path: Path) -> Trainings:
    return Trainings(data, tmp_path)


def untrained(recipe: Recipe, data: Path, out: Path, *, seed: int) -> Run:
    start = begin(data, recipe, out, TrainingOptions())
    run = Run(path=out, data=data, recipe=recipe, labels=start.labels, metrics={})
    torch.manual_seed(seed)
    channels = recipe.preprocessing.channels
    run.save(build_network(recipe.model, classes=len(start.labels), channels=channels))
    return run


def files(bank: Path) -> dict[str, tuple[int, bytes]]:
    views = sorted(bank.glob("view-*"))
    return {view.name: (view.stat().st_mtime_ns, view.read_bytes()) for view in views}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_view_is_what_an_epoch_would_have_read(
    trainings: Trainings, augmented: Recipe, workers: int
) -> None:
    bank = trainings.open(augmented, workers=workers)
    start, out = trainings.begin(augmented)
    split = read_split(out)
    scenes = augmented_scenes(
        start, read_images(start, split, folder=out).scenes, seed=0, teachers=()
    )
    assert len(bank) == len(scenes) == len(split.train)
    for epoch in (0, 1):
        for index in range(len(bank)):
            found, expected = bank[epoch, index], scenes[epoch, index]
            assert torch.equal(found.pixels, expected.pixels)
            assert found.targets == expected.targets
            assert found.indices == index
            assert not found.teacher_logits.numel()
    assert torch.equal(bank[2, 5].pixels, bank[0, 5].pixels)
    assert not torch.equal(bank[1, 5].pixels, bank[0, 5].pixels)


def test_teachers_have_answered_what_they_say_of_the_view(
    trainings: Trainings, augmented: Recipe, data: Path, tmp_path: Path
) -> None:
    runs = [untrained(augmented, data, tmp_path / f"t{seed}", seed=seed) for seed in (1, 2)]
    bank = trainings.open(augmented, *runs)
    for index in (0, 7):
        read = bank[1, index]
        answers = [run.network()(network_input(read.pixels[None])) for run in runs]
        each = [softmax(a.detach().numpy()[0]) for a in answers]
        np.testing.assert_allclose(
            softmax(read.teacher_logits.numpy()), np.mean(each, axis=0), rtol=3e-3
        )
    assert np.abs(each[0] - each[1]).max() > 0.02


def test_a_bank_is_made_once_and_grows(trainings: Trainings, augmented: Recipe) -> None:
    trainings.open(augmented, views=1)
    first = files(trainings.bank)
    learnt_otherwise = replace(
        shortened(augmented, seed=7, batch_size=5), distillation=Distillation(share=0.2)
    )
    trainings.open(learnt_otherwise, views=3)
    grown = files(trainings.bank)
    assert list(grown) == ["view-000.npy", "view-001.npy", "view-002.npy"]
    assert grown["view-000.npy"] == first["view-000.npy"]
    assert grown["view-001.npy"][1] != grown["view-002.npy"][1]
    trainings.open(augmented, views=2)
    assert files(trainings.bank) == grown


def test_a_bank_made_from_something_else_is_refused(
    trainings: Trainings, augmented: Recipe, data: Path, tmp_path: Path
) -> None:
    trainings.open(augmented, views=1)
    other_split = replace(augmented.split, seed=5)
    smaller = replace(augmented.preprocessing, size=augmented.preprocessing.size - 8)
    for changed, name in (
        (replace(augmented, split=other_split), "images"),
        (replace(augmented, augmentation=(Affine(shift=0.2), Noise(sigma=9))), "augmentation"),
        (replace(augmented, preprocessing=smaller), "preprocessing"),
        (shortened(augmented, scene_scale=1.25), "scene_scale"),
    ):
        with pytest.raises(DataError, match=f"made from other {name}: choose another folder"):
            trainings.open(changed, views=1)
    with pytest.raises(DataError, match="made from other teachers: choose another folder"):
        trainings.open(augmented, untrained(augmented, data, tmp_path / "t", seed=0), views=1)


def test_a_folder_with_something_else_in_it_is_refused(
    trainings: Trainings, augmented: Recipe
) -> None:
    trainings.bank.mkdir()
    (trainings.bank / "letter.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds letter\.txt and no bank: choose another folder"):
        trainings.open(augmented)
    (trainings.bank / "letter.txt").rename(trainings.bank / "bank.json")
    with pytest.raises(DataError, match=r"bank\.json is damaged"):
        trainings.open(augmented)


def test_a_damaged_view_is_named(trainings: Trainings, augmented: Recipe) -> None:
    trainings.open(augmented, views=1)
    view = trainings.bank / "view-000.npy"
    whole = view.read_bytes()
    view.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"view-000\.npy is damaged .*: remove it"):
        trainings.open(augmented, views=1)
    np.save(view, np.zeros(3))
    with pytest.raises(DataError, match=r"view-000\.npy is of another bank: remove it"):
        trainings.open(augmented, views=1)


def test_a_full_disk_is_one_line_and_leaves_whole_views(
    trainings: Trainings, augmented: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings.open(augmented, views=1)
    before = files(trainings.bank)

    def full(descriptor: int, start: int, size: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".part":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(descriptor, start, size)

    allocate = os.posix_fallocate
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(DataError, match=r"\.part takes \d+ MB on a disk .*: no space left"):
            trainings.open(augmented, views=2)
    assert files(trainings.bank) == before
    trainings.open(augmented, views=2)
    assert len(files(trainings.bank)) == 2


def weights(run: Run) -> dict[str, NDArray[np.float32]]:
    return {
        name: value.numpy() for name, value in load_file(run.path / "model.safetensors").items()
    }


@pytest.mark.slow
def test_with_a_view_for_each_epoch_a_bank_trains_the_same_network(
    data: Path, augmented: Recipe, tmp_path: Path
) -> None:
    short = shortened(augmented, epochs=2, seed=0)
    runs = [
        train(
            data,
            short,
            out=tmp_path / name,
            options=TrainingOptions(bank=bank, bank_views=views),
            hardware=HERE,
        )
        for name, bank, views in (
            ("without", None, 2),
            ("with", tmp_path / "bank", 2),
            ("one view", tmp_path / "bank", 1),
        )
    ]
    without, same, other = map(weights, runs)
    for name, value in without.items():
        np.testing.assert_array_equal(same[name], value)
    assert any((other[name] != value).any() for name, value in without.items())


@pytest.mark.slow
def test_a_bank_teaches_what_its_teacher_would(
    run: Run, data: Path, augmented: Recipe, tmp_path: Path
) -> None:
    taught = replace(
        shortened(augmented, epochs=1, seed=0),
        distillation=replace(augmented.distillation, share=1),
    )
    made = []
    for name, bank in (("asked", None), ("told", tmp_path / "bank")):
        options = TrainingOptions(teachers=(run.path,), lists=run.path, bank=bank, bank_views=1)
        made.append(
            weights(train(data, taught, out=tmp_path / name, options=options, hardware=HERE))
        )
    # Its answers are rounded to float16.
    for name, value in made[0].items():
        np.testing.assert_allclose(made[1][name], value, atol=2e-3, rtol=1e-2)
    assert RunConfig.load(tmp_path / "told").options.bank == (tmp_path / "bank").resolve()
