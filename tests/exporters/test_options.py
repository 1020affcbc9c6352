import math
from typing import Any

import pytest

from leansight.exporters.options import ExportOptions, Promise


@pytest.mark.parametrize("name", ["max_drop", "max_class_drop"])
@pytest.mark.parametrize("points", [-0.1, math.nan, math.inf])
def test_a_promise_is_a_number_of_points(name: str, points: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be 0 points or more, not "):
        Promise(**{name: points})
    assert Promise(max_drop=0, max_class_drop=0).max_class_drop == 0


@pytest.mark.parametrize("level", [0.0, -0.05, 1.01, math.nan])
def test_a_level_of_significance_is_a_probability(level: float) -> None:
    with pytest.raises(ValueError, match=r"^significance must be above 0, 1 at most, not "):
        Promise(significance=level)
    assert Promise(significance=1).significance == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"effort": "more"}, "effort must be one of calibration, ranges, .*, not 'more'"),
        ({"target": "pi3"}, "target must be one of pi4, pi5, x86, not 'pi3'"),
        ({"temperature": "warm"}, "temperature must be fit, or a number above 0, not 'warm'"),
        ({"temperature": 0}, "temperature must be fit, or a number above 0, not 0"),
        ({"temperature": math.nan}, "temperature must be fit, or a number above 0, not nan"),
    ],
)
def test_an_option_that_there_is_not_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        ExportOptions(**options)
