"""What Home Assistant is told, so that a stream is a device there without any configuration.

Source: https://www.home-assistant.io/integrations/mqtt/ (device discovery payload, of 2024.11).
"""

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final, get_args

from leansight.runtime.stream.capture.health import LABELLING, State

_STATES: Final = list(get_args(State))


def discovery_topic(prefix: str) -> str:
    """Return the topic that Home Assistant reads, for the stream whose topics begin so."""
    return f"homeassistant/device/{_identifier(prefix)}/config"


def discovery_payload(prefix: str, labels: Sequence[str]) -> dict[str, Any]:
    """Return the device: label, score, state, frames a second, problem, and events of labels."""
    name = _identifier(prefix)
    components: dict[str, dict[str, Any]] = {
        "label": {
            "platform": "sensor",
            "name": "Label",
            "icon": "mdi:eye",
            "state_topic": f"{prefix}/label",
            "value_template": "{{ value_json.label or 'none' }}",
            "json_attributes_topic": f"{prefix}/label",
        },
        "score": {
            "platform": "sensor",
            "name": "Score",
            "state_topic": f"{prefix}/label",
            "value_template": "{{ (value_json.score * 100) | round(1) }}",
            "unit_of_measurement": "%",
            "state_class": "measurement",
        },
        "state": {
            "platform": "sensor",
            "name": "State",
            "device_class": "enum",
            "options": _STATES,
            "entity_category": "diagnostic",
            "state_topic": f"{prefix}/state",
            "value_template": "{{ value_json.state }}",
        },
        "problem": {
            "platform": "binary_sensor",
            "name": "Problem",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": f"{prefix}/state",
            "value_template": "{{ 'ON' if value_json.problem else 'OFF' }}",
            "json_attributes_topic": f"{prefix}/state",
        },
        "event": {
            "platform": "event",
            "name": "Event",
            "icon": "mdi:sign-caution",
            "event_types": list(labels),
            "state_topic": f"{prefix}/event",
        },
    }
    for key, component in components.items():
        component["unique_id"] = f"{name}_{key}"
    return {
        "device": {"identifiers": [name], "name": prefix, "manufacturer": "leansight"},
        "origin": {"name": "leansight", "sw_version": version("leansight")},
        "availability_topic": f"{prefix}/availability",
        "components": components,
    }


def is_problem(state: State) -> bool:
    """Return whether somebody should look at the camera: no labels come, or the board is hot."""
    return state not in LABELLING or state == "degraded"


def _identifier(prefix: str) -> str:
    """Return the prefix of the letters that a topic of Home Assistant may have."""
    return "leansight_" + re.sub(r"[^a-zA-Z0-9_-]", "_", prefix)
