from collections.abc import Mapping

import numpy as np
import pytest

from leansight.exporters.errors import PruningError
from leansight.exporters.pruning.allocation import (
    Cut,
    search,
    spread_globally,
)
from leansight.exporters.pruning.channels import (
    ChannelGroup,
)
from leansight.sdk.pruning.target import PruningTarget

HEAD = ("head",)


def group(name: str, *scores: float, step: int = 1) -> ChannelGroup:
    return ChannelGroup(name=name, step=step, scores=np.array(scores, float))


@pytest.mark.parametrize(
    ("channels", "step", "wanted", "kept"),
    [
        (64, 1, 30, 32),
        (64, 1, 1, 8),
        (64, 1, 60, 64),
        (4, 1, 1, 4),
        (12, 1, 9, 8),
        (128, 32, 10, 64),
    ],
)
def test_channels_are_kept_in_eights(channels: int, step: int, wanted: int, kept: int) -> None:
    assert group("a", *[1.0] * (channels // step), step=step).rounded(wanted) == kept


def test_globally_the_least_important_go_wherever_they_are() -> None:
    strong = group("strong", *np.linspace(0.9, 1.1, 32))
    uneven = group("uneven", *[0.01] * 24, *[5.0] * 8)
    assert spread_globally([strong, uneven], 24 / 64) == {"strong": 32, "uneven": 8}
    assert spread_globally([strong, uneven], 0) == {"strong": 32, "uneven": 32}


CUTS = [
    Cut(name="a", channels=24, rise=0.1),
    Cut(name="a", channels=8, rise=0.4),
    Cut(name="b", channels=16, rise=0.2),
    Cut(name="b", channels=8, rise=0.9),
]


def channels_left(kept: dict[str, int]) -> float:
    return kept.get("a", 32) + kept.get("b", 32)


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        (60, {"a": 24}),
        (50, {"a": 24, "b": 16}),
        (30, {"a": 8, "b": 16}),
        (16, {"a": 8, "b": 8}),
    ],
)
def test_the_search_cuts_no_deeper_than_it_must(target: float, kept: dict[str, int]) -> None:
    asked: list[float] = []

    def cost(channels: Mapping[str, int]) -> float:
        asked.append(channels_left(dict(channels)))
        return asked[-1]

    told: list[tuple[int, int]] = []
    assert search(CUTS, cost, target, progress=lambda n, of: told.append((n, of))) == kept
    assert [done for done, _ in told] == list(range(len(asked) + 1))
    assert told[0][1] == 3  # the deepest cuts, then two halvings of four limits
    assert told[-1] == (len(asked), len(asked))  # the bar ends full


def test_what_cannot_be_reached_is_said() -> None:
    with pytest.raises(PruningError, match=r"15 cannot be reached .* the deepest cuts leave 16$"):
        search(CUTS, channels_left, 15)
    with pytest.raises(
        PruningError, match=r"0.015 KB cannot be .* the deepest cuts leave 0.016 KB"
    ):
        search(CUTS, channels_left, 15, say=PruningTarget(kind="size", value=15).say)
