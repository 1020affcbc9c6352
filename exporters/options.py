"""What an export is asked for: limits, effort, target. No torch is imported."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from leansight.runtime.errors import LeansightError

# What is tried, in this order, until the int8 files keep their promise.
Effort = Literal["calibration", "ranges", "training", "float layers"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
Target = Literal["pi4", "pi5", "x86"]  # where they are to run fastest


class ExportRefusedError(LeansightError):
    """The exported network decides too differently from the trained one; nothing was written."""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a file may lose against torch, in points (hundredths).

    `max_drop` of accuracy and of coverage; `max_class_drop` of a single class's accuracy, where
    one image may always be lost.
    """

    max_drop: float = 1.0
    max_class_drop: float = 5.0


# Told the step's name, and how many of how many are done.
StepProgress = Callable[[str, int, int], None]
