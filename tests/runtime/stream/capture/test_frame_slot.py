import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from leansight.runtime.stream.capture.frame_slot import Frame, FrameSlot

# Writes pictures of one colour, large and small in turn, as fast as it can.
WRITER = """
import sys, numpy, itertools
from leansight.runtime.stream.capture.frame_slot import Frame, FrameSlot
slot = FrameSlot(int(sys.argv[1]))
for number in itertools.count(1):
    side = 700 if number % 2 else 300
    image = numpy.full((side, side, 3), number % 256, numpy.uint8)
    slot.write(Frame(image=image, number=number, time_s=float(number)))
    if number == 1: print("begun", flush=True)
"""


@pytest.fixture
def slot() -> Iterator[FrameSlot]:
    slot = FrameSlot.create()
    yield slot
    slot.close()


def test_an_empty_slot_gives_nothing(slot: FrameSlot) -> None:
    assert slot.read() is None


def test_the_newest_frame_is_given_with_its_number_and_times(slot: FrameSlot) -> None:
    generator = np.random.default_rng(1)
    for number, shape in [(1, (4, 6, 3)), (2, (480, 640, 3)), (3, (2, 3, 3))]:
        image = generator.integers(0, 256, shape).astype(np.uint8)
        slot.write(Frame(image=image, number=number, time_s=5.5, monotonic_s=7.25))
    frame = slot.read()
    assert frame is not None
    assert np.array_equal(frame.image, image)
    assert (frame.number, frame.time_s, frame.monotonic_s) == (3, 5.5, 7.25)


@pytest.mark.parametrize("position_s", [None, 0.0, 12.34])
def test_the_position_in_the_file_is_given(slot: FrameSlot, position_s: float | None) -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    slot.write(Frame(image=image, number=1, time_s=5.5, position_s=position_s))
    frame = slot.read()
    assert frame is not None
    assert frame.position_s == position_s


def test_a_frame_of_strided_memory_is_given_as_it_looks(slot: FrameSlot) -> None:
    wide = np.arange(4 * 10 * 3, dtype=np.uint8).reshape(4, 10, 3)
    slot.write(Frame(image=wide[::-1, ::2], number=1, time_s=0))
    frame = slot.read()
    assert frame is not None
    assert np.array_equal(frame.image, wide[::-1, ::2])


def test_a_frame_is_a_copy(slot: FrameSlot) -> None:
    slot.write(Frame(image=np.full((2, 2, 3), 1, np.uint8), number=1, time_s=0))
    first = slot.read()
    slot.write(Frame(image=np.full((2, 2, 3), 2, np.uint8), number=2, time_s=0))
    assert first is not None
    assert set(np.unique(first.image)) == {1}


def test_no_frame_is_read_half_written_not_even_of_a_writer_that_is_killed(
    slot: FrameSlot,
) -> None:
    command = [sys.executable, "-c", WRITER, str(slot.descriptor)]
    for _ in range(5):
        with subprocess.Popen(
            command, pass_fds=[slot.descriptor], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout
            writer.stdout.readline()
            begin = time.monotonic()
            numbers = set()
            try:
                while time.monotonic() < begin + 0.3 or len(numbers) <= 5:
                    assert time.monotonic() < begin + 30, "hardly any frame can be read"
                    numbers.add(number_of_a_whole(slot))
            finally:
                writer.kill()
        number_of_a_whole(slot)


def number_of_a_whole(slot: FrameSlot) -> int | None:
    """Return the number of the frame in the slot, None if there is none."""
    frame = slot.read()
    if frame is None:
        return None
    assert set(np.unique(frame.image)) == {frame.number % 256}
    assert frame.image.shape[0] == (700 if frame.number % 2 else 300)
    assert frame.time_s == frame.number
    return frame.number
