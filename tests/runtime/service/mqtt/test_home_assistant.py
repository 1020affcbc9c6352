"""Held against the keys that Home Assistant's documentation and its schemas (2025.1) have.

https://www.home-assistant.io/integrations/mqtt/, sensor.mqtt, binary_sensor.mqtt, event.mqtt.
"""

import re

from leansight.runtime.service.mqtt.home_assistant import discovery_payload, discovery_topic

ENTITY = {"availability_topic", "entity_category", "icon", "json_attributes_topic", "unique_id"}
ENTITY |= {"platform", "name", "state_topic", "value_template"}
KEYS = {
    "sensor": ENTITY | {"device_class", "options", "state_class", "unit_of_measurement"},
    "binary_sensor": ENTITY | {"device_class", "payload_on", "payload_off"},
    "event": ENTITY | {"device_class", "event_types"},
}
REQUIRED = {
    "sensor": {"state_topic", "unique_id"},
    "binary_sensor": {"state_topic", "unique_id"},
    "event": {"state_topic", "unique_id", "event_types"},
}


def test_the_topic_has_the_letters_that_home_assistant_takes() -> None:
    topic = discovery_topic("garden/Küche 1")
    assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", topic)
    assert topic != discovery_topic("garden/Stube 1")


def test_each_entity_has_the_keys_of_its_platform_and_no_others() -> None:
    components = discovery_payload("garden", ["stop", "yield"])["components"]
    assert {component["platform"] for component in components.values()} == set(KEYS)
    for component in components.values():
        assert set(component) <= KEYS[component["platform"]]
        assert set(component) >= REQUIRED[component["platform"]]
    assert len({component["unique_id"] for component in components.values()}) == len(components)


def test_the_device_has_what_it_must_have() -> None:
    payload = discovery_payload("garden", ["stop", "yield"])
    assert set(payload) == {"device", "origin", "availability_topic", "components"}
    assert payload["device"]["identifiers"]
    assert payload["origin"]["name"]


def test_the_event_knows_each_label_and_the_state_each_state() -> None:
    components = discovery_payload("garden", ["stop", "yield"])["components"]
    assert components["event"]["event_types"] == ["stop", "yield"]
    assert components["state"]["device_class"] == "enum"  # then no unit_of_measurement may be
    assert set(components["state"]["options"]) >= {"running", "stale", "frozen", "reconnecting"}
