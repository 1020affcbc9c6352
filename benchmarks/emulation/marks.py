"""What the counter of instructions printed, read: the instructions of each step of a frame."""

import json
from itertools import pairwise
from typing import Final

# Marks 0 to 4 of a frame are around: nothing, preprocessing, inference, all of it by one call.
MARKS_PER_FRAME: Final = 5


def read_marks(text: str) -> tuple[dict[str, str], dict[str, int]]:
    """Return the versions of the packages, and the instructions of each step of a frame.

    The steps: preprocessing, inference, and the rest, which is mostly the decision.

    Raises:
        ValueError: the lines are not those of `frames.py` under the counter.

    """
    packages, counts = dict[str, str](), list[int]()
    for line in text.splitlines():
        match line.split():
            case ["instructions", number, count]:
                if int(number) != len(counts) % MARKS_PER_FRAME:
                    raise ValueError(f"mark {number} came out of turn")
                counts.append(int(count))
            case [first, *_] if first.startswith("{"):
                packages = json.loads(line)
    if not counts or not packages or len(counts) % MARKS_PER_FRAME:
        raise ValueError("there are no whole frames in what count-instructions printed")
    frames = [counts[i : i + MARKS_PER_FRAME] for i in range(0, len(counts), MARKS_PER_FRAME)]
    # The least of each: a frame now and then has a little of the memory's upkeep as well.
    mark, preprocessing, inference, call = (
        min(after - before for before, after in pairs)
        for pairs in zip(*(pairwise(frame) for frame in frames), strict=True)
    )
    steps = {"preprocessing": preprocessing - mark, "inference": inference - mark}
    return packages, {**steps, "rest": call - mark - sum(steps.values())}
