"""What a bundle is asked for, of a run or of a network from elsewhere. No torch is imported."""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from leansight.exporters.options import ExportOptions
from leansight.runtime.bundle import Precision


@dataclass(frozen=True, kw_only=True)
class DeploymentOptions(ExportOptions):
    """How an export is made where the images are labelled folders.

    `precision`: of the files; `calibration_images`: how many training images are drawn for the
    ranges; `threshold`: the probability from which on a bundle is sure, None for the recipe's;
    `golden`: folder of the photos that travel with the bundle, None for some of the validation
    images; `card`: file of a text for the model card, such as whose the images are;
    `temperature_country`: of whose validation images alone the scores are calibrated, None for all.

    Raises:
        ValueError: a value is none of these, or out of its range.

    """

    precision: Precision = "int8"
    calibration_images: int = 500
    threshold: float | None = None
    golden: Path | None = None
    card: Path | None = None
    temperature_country: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision not in (known := get_args(Precision)):
            raise ValueError(f"precision must be one of {', '.join(known)}, not {self.precision!r}")
        if self.calibration_images < 1:
            raise ValueError(
                f"calibration_images must be 1 or more, not {self.calibration_images!r}"
            )
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be from 0 to 1, not {self.threshold!r}")
