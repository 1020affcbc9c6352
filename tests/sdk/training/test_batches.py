import os
import signal
from dataclasses import replace
from multiprocessing import active_children

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from leansight.runtime.preprocessing import Clahe, Preprocessing
from leansight.sdk.augmentation.change import Change
from leansight.sdk.augmentation.geometric import Affine, Mirror
from leansight.sdk.augmentation.photometric import Exposure
from leansight.sdk.augmentation.sharpness import Noise
from leansight.sdk.data.images import ImageSet
from leansight.sdk.training.batches import (
    EpochSampler,
    PreparedImages,
    TrainingScenes,
    scene_preprocessing,
    shifted_copy,
    training_batches,
)

GRAY = Preprocessing(size=16, colour="gray", clahe=Clahe())
CHANGES: tuple[Change, ...] = (Affine(rotation_degrees=20, shift=0.2), Noise(sigma=20))


@pytest.fixture
def scenes() -> ImageSet:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 24, 24, 3), dtype=np.uint8)
    return ImageSet(pixels=pixels, classes=np.arange(12, dtype=np.int64) % 3)


def epoch(
    scenes: TrainingScenes, number: int, workers: int = 0
) -> dict[int, tuple[NDArray[np.uint8], int]]:
    """Return what an epoch reads of each sample."""
    batches = training_batches(scenes, batch_size=4, seed=5, workers=workers)
    assert isinstance(batches.sampler, EpochSampler)
    batches.sampler.start_at(number)
    read = {}
    for batch in batches:
        for index, pixels, target in zip(
            batch.indices.tolist(), batch.pixels.numpy(), batch.targets.tolist(), strict=True
        ):
            read[index] = (pixels.copy(), target)
    return read


def test_every_sample_is_read_once_an_epoch_in_another_order() -> None:
    sampler = EpochSampler(50, seed=1)
    orders = []
    for number in (0, 1):
        sampler.start_at(number)
        positions = list(sampler)
        assert {e for e, _ in positions} == {number}
        orders.append([index for _, index in positions])
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(50))
    assert orders[0] != orders[1]
    again = EpochSampler(50, seed=1)
    assert [index for _, index in again] == orders[0]


def test_ctrl_c_is_left_to_the_training(scenes: ImageSet) -> None:
    batches = training_batches(
        TrainingScenes(scenes, (), None, GRAY), batch_size=1, seed=5, workers=1
    )
    read = 0
    for _ in batches:
        (reader,) = active_children()
        assert reader.pid
        os.kill(reader.pid, signal.SIGINT)  # a terminal sends it to all of its processes
        read += 1
    assert read == len(scenes.classes)


def test_what_is_read_depends_on_seed_epoch_and_sample_alone(scenes: ImageSet) -> None:
    def reader(seed: int) -> TrainingScenes:
        return TrainingScenes(scenes, CHANGES, [0, 1, 2], GRAY, seed=seed)

    first = epoch(reader(0), 3)
    torch.manual_seed(99)  # somebody else's randomness
    for workers in (0, 2):
        again = epoch(reader(0), 3, workers)
        assert all(np.array_equal(again[i][0], first[i][0]) for i in range(12))
    later, other = epoch(reader(0), 4), epoch(reader(1), 3)
    assert not any(np.array_equal(later[i][0], first[i][0]) for i in range(12))
    assert not any(np.array_equal(other[i][0], first[i][0]) for i in range(12))


def test_reading_leaves_torchs_generator_alone(scenes: ImageSet) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    TrainingScenes(scenes, CHANGES, [0, 1, 2], GRAY)[0, 0]
    assert torch.equal(torch.rand(3), expected)


def test_without_changes_a_scene_is_prepared_as_the_runtime_does(scenes: ImageSet) -> None:
    read = TrainingScenes(scenes, (), [0, 1, 2], GRAY)[0, 5]
    bgr = np.ascontiguousarray(scenes.pixels[5][..., ::-1])
    assert np.array_equal(read.pixels.permute(1, 2, 0).numpy(), GRAY(bgr)[0])
    assert read.targets == 2
    assert not read.teacher_pixels


def test_the_teacher_sees_the_same_scene_in_its_own_way(scenes: ImageSet) -> None:
    teacher = Preprocessing(size=24, colour="rgb")
    read = TrainingScenes(scenes, (Exposure(stops=1),), [0, 1, 2], GRAY, teachers=[teacher])[1, 4]
    scene = np.ascontiguousarray(read.teacher_pixels[0].permute(1, 2, 0).numpy()[..., ::-1])
    assert np.array_equal(GRAY(scene)[0], read.pixels.permute(1, 2, 0).numpy())
    assert not np.array_equal(scene[..., ::-1], scenes.pixels[4])


def test_a_mirror_image_gets_the_class_that_it_shows(scenes: ImageSet) -> None:
    plain = replace(GRAY, clahe=None, size=24, colour="rgb")
    # class 0 stays, 1 becomes 2; class 2 has no mirror image
    reader = TrainingScenes(scenes, (Mirror(probability=1),), [0, 2, -1], plain)
    for index, (target, mirrored) in enumerate([(0, True), (2, True), (2, False)]):
        read = reader[0, index]
        expected = scenes.pixels[index][:, ::-1] if mirrored else scenes.pixels[index]
        assert read.targets == target
        assert np.array_equal(read.pixels.permute(1, 2, 0).numpy(), expected)


def test_changes_are_made_as_often_as_their_probability_says(scenes: ImageSet) -> None:
    plain = replace(GRAY, clahe=None, size=24, colour="rgb")
    reader = TrainingScenes(scenes, (Mirror(probability=0.3),), None, plain)
    kept = [
        np.array_equal(reader[e, 0].pixels.permute(1, 2, 0).numpy(), scenes.pixels[0])
        for e in range(400)
    ]
    # 280 expected; the standard deviation is 9
    assert 245 < sum(kept) < 315


def test_many_labels_come_as_they_are(scenes: ImageSet) -> None:
    many = ImageSet(pixels=scenes.pixels, classes=np.eye(12, 4, dtype=np.int64))
    read = TrainingScenes(many, (Mirror(probability=1),), None, GRAY)[0, 1]
    assert read.targets.tolist() == [0, 1, 0, 0]


def test_the_shifted_copy_is_always_the_same(scenes: ImageSet) -> None:
    copies = [shifted_copy(scenes, CHANGES, [0, 1, 2], GRAY) for _ in range(2)]
    assert np.array_equal(copies[0].pixels, copies[1].pixels)
    assert copies[0].pixels.shape == (12, 16, 16, 1)
    assert np.array_equal(copies[0].classes, scenes.classes)
    plain = shifted_copy(scenes, (), [0, 1, 2], GRAY)
    assert not np.array_equal(copies[0].pixels, plain.pixels)


def test_scenes_keep_what_preprocessing_would_lose() -> None:
    given = Preprocessing(size=64, colour="gray", clahe=Clahe(), fit="letterbox")
    scene = scene_preprocessing(given, 1.5)
    assert scene == Preprocessing(size=96, colour="rgb", fit="letterbox")


def test_a_last_batch_of_one_is_left_out(scenes: ImageSet) -> None:
    reader = TrainingScenes(scenes, (), [0, 1, 2], GRAY)
    assert len(training_batches(reader, batch_size=11, seed=0, workers=0)) == 1
    assert len(training_batches(reader, batch_size=64, seed=0, workers=0)) == 1


def test_prepared_images_are_read_in_order(scenes: ImageSet) -> None:
    images = PreparedImages(scenes)
    assert len(images) == 12
    assert np.array_equal(images[3].pixels.permute(1, 2, 0).numpy(), scenes.pixels[3])
    assert images[4].targets == 1
