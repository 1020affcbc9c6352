"""Results as JSON, one object a line."""

import json
import sys
from typing import Any

from leansight.runtime.stream.classified_stream import StreamResult


class JsonLines:
    """Writes each result to standard output as one line of JSON."""

    trouble = ""

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        sys.stdout.write(json.dumps(to_json(result)) + "\n")
        sys.stdout.flush()

    def close(self) -> None:
        """See `Output`."""


def to_json(result: StreamResult) -> dict[str, Any]:
    """Return a result as plain JSON values; what there is none of is left out."""
    values: dict[str, Any] = {
        "state": result.health.state,
        "time": result.time_s,
        "monotonic": result.monotonic_s,
        "damaged": result.damaged,
    }
    if result.health.reason:
        values["reason"] = result.health.reason
    if result.frame is not None:
        values["frame"] = result.frame.number
    if result.age_ms is not None:
        values["age_ms"] = round(result.age_ms, 2)
    if result.prediction is not None:
        values |= result.prediction.to_dict()
    return values
