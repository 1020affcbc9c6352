from typing import Any

import pytest

from leansight.sdk.deployment.options import DeploymentOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "precision must be one of .*int8.*, not 'int4'"),
        ({"calibration_images": 0}, "calibration_images must be 1 or more, not 0"),
        ({"threshold": 1.1}, "threshold must be from 0 to 1, not 1.1"),
        ({"threshold": float("nan")}, "threshold must be from 0 to 1, not nan"),
        ({"target": "pi3"}, "target must be one of pi4, pi5, x86, not 'pi3'"),
    ],
)
def test_an_impossible_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        DeploymentOptions(**options)


@pytest.mark.parametrize("threshold", [None, 0, 0.4, 1])
def test_a_threshold_is_a_probability_or_the_recipes(threshold: float | None) -> None:
    assert DeploymentOptions(threshold=threshold).threshold == threshold
