"""What an export is asked for: limits, effort, target. No torch is imported."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from leansight.runtime.errors import LeansightError

Effort = Literal["calibration", "ranges", "training", "float layers"]
"""What is tried to make int8 files keep their promise."""
EFFORTS: tuple[Effort, ...] = get_args(Effort)
"""Every `Effort`, in the order in which they are tried."""
Target = Literal["pi4", "pi5", "x86"]
"""Where the files are to run fastest; they run everywhere."""
TARGETS: tuple[Target, ...] = get_args(Target)
"""Every `Target`."""


class ExportRefusedError(LeansightError):
    """The exported network decides too differently from the trained one; nothing was written."""


class ImportMistakeError(ExportRefusedError):
    """A network from elsewhere would be far better if its import had other `settings`.

    They are names of parameters of the import with what should be typed for them.
    """

    def __init__(self, message: str, settings: Mapping[str, str]) -> None:
        super().__init__(message)
        self.settings = settings


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a file may lose against torch, in points (hundredths).

    `max_drop` of accuracy and of coverage, as they are measured; `max_class_drop` of a single
    class's accuracy, where its images show at the level `significance` that it is worse (an exact
    paired test, corrected for the number of classes). With a level of 1 every class is held to
    the drop as it is measured.

    Raises:
        ValueError: a limit is negative or no number, or the level is not above 0 to 1.

    """

    max_drop: float = 1.0
    max_class_drop: float = 5.0
    significance: float = 0.05

    def __post_init__(self) -> None:
        for name in ("max_drop", "max_class_drop"):
            if not 0 <= (points := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} must be 0 points or more, not {points!r}")
        if not 0 < self.significance <= 1:
            raise ValueError(f"significance must be above 0, 1 at most, not {self.significance!r}")


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How int8 files are made, and what each file may lose.

    `promise`: what each file may lose on the validation images; `effort`: the most that is tried
    to keep it in int8; `target`: where ONNX Runtime is to run the file fastest (it runs
    everywhere); `all_int8`: refuse a network of which any layer would stay in float;
    `accept_untrained`: export a network whatever its accuracy; `temperature`: of the scores, "fit"
    for the one with the least cross-entropy on the validation images; None fits it unless the
    network may have learnt them.

    Raises:
        ValueError: there is no such effort or target, or the temperature is not above 0.

    """

    promise: Promise = Promise()
    effort: Effort = EFFORTS[-1]
    target: Target = "x86"
    all_int8: bool = False
    accept_untrained: bool = False
    temperature: float | Literal["fit"] | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("effort", self.effort, EFFORTS),
            ("target", self.target, TARGETS),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        if self.temperature in (None, "fit"):
            return
        if isinstance(self.temperature, str) or not 0 < self.temperature < math.inf:
            raise ValueError(
                f"temperature must be fit, or a number above 0, not {self.temperature!r}"
            )


@dataclass(frozen=True, kw_only=True)
class NextEffort:
    """An effort that is about to be made: why (`refusal` of what came before), and its cost.

    `expected_seconds` count from now to the end of the verification of its files.
    """

    effort: Effort
    refusal: str
    expected_seconds: float


StepProgress = Callable[[str, int, int], None]
"""Told a step's name, how many of its parts are done, and of how many."""
