"""A stream's labels, events and state, published for an MQTT broker."""

import json
import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from leansight.runtime.extras import require
from leansight.runtime.service.json_lines import event_to_json
from leansight.runtime.service.mqtt.broker import MqttBroker
from leansight.runtime.service.mqtt.home_assistant import (
    discovery_payload,
    discovery_topic,
    is_problem,
)
from leansight.runtime.stream.classified_stream import StreamResult

if TYPE_CHECKING:
    from paho.mqtt.client import Client
    from paho.mqtt.reasoncodes import ReasonCode

_KEEPALIVE_S: Final = 15
_RETRY_S: Final = (1, 30)  # the first wait, doubled up to the last
_WAITING: Final = 100  # events that may wait for the broker
_LABEL_EVERY_S: Final = 1.0
_CLOSE_S: Final = 0.4
_AT_LEAST_ONCE: Final = 1
_REFUSED: Final = "the broker refuses the connection"


class MqttPublisher:
    """Publishes below the broker's prefix, from a thread that reconnects for ever.

    Retained, the newest of each: PREFIX/availability ("online", and "offline" as the last will),
    PREFIX/state and PREFIX/label. Not retained: PREFIX/event when an event begins, PREFIX/event/end
    when it ends. While the broker is away a hundred events wait for it, and newer ones are lost.
    """

    def __init__(self, broker: MqttBroker, labels: Sequence[str]) -> None:
        """Begin to connect; the broker may be away. MissingExtraError without paho-mqtt."""
        mqtt: Any = require("paho.mqtt.client", package="paho-mqtt", extra="mqtt")
        self._connection_trouble = ""
        self._lost = 0
        self._prefix = broker.prefix
        self._labels = labels
        self._lock = threading.Lock()
        self._retained: dict[str, str] = {}
        self._label_key: object = None
        self._next_label_s = 0.0
        # Numbers of messages: events that have not arrived yet, and what has, which the thread of
        # the connection tells, perhaps before `publish` has told the number.
        self._waiting = set[int]()
        self._arrived = deque[int]()
        client: Client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client = client
        client.username_pw_set(broker.user, broker.password)
        if broker.is_encrypted:
            client.tls_set()
        client.will_set(self._topic("availability"), "offline", _AT_LEAST_ONCE, retain=True)
        client.reconnect_delay_set(*_RETRY_S)
        client.on_connect = self._connected
        client.on_connect_fail = self._failed
        client.on_disconnect = self._disconnected
        client.on_publish = lambda _client, _data, number, *_: self._arrived.append(number)
        client.connect_async(broker.host, broker.port, _KEEPALIVE_S)
        client.loop_start()

    @property
    def trouble(self) -> str:
        """See `Output`."""
        lost = "events were lost, as too many waited for the broker" if self._lost else ""
        return "; ".join(filter(None, (self._connection_trouble, lost)))

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        while self._arrived:
            self._waiting.discard(self._arrived.popleft())
        state = result.health.state
        reason = result.health.reason
        self._retain("state", {"state": state, "reason": reason, "problem": is_problem(state)})
        self._write_label(result)
        for event in result.events:
            topic = "event" if event.end_s is None else "event/end"
            self._publish(topic, {"event_type": event.label, **event_to_json(event)})

    def close(self) -> None:
        """See `Output`."""
        self._client.on_disconnect = None  # the end is no trouble
        if self._client.is_connected():
            topic = self._topic("availability")
            sent = self._client.publish(topic, "offline", _AT_LEAST_ONCE, retain=True)
            sent.wait_for_publish(_CLOSE_S)
        self._client.disconnect()
        # It waits for the thread, which may be connecting; that one is a daemon.
        stop = threading.Thread(target=self._client.loop_stop, daemon=True, name="leansight mqtt")
        stop.start()
        stop.join(_CLOSE_S)

    def _topic(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _write_label(self, result: StreamResult) -> None:
        """Tell of other labels than before, once a second at most; that there are none at once."""
        prediction = result.prediction
        key = (prediction.labels, prediction.status) if prediction else result.health.state
        if key == self._label_key or (prediction and result.monotonic_s < self._next_label_s):
            return
        self._label_key, self._next_label_s = key, result.monotonic_s + _LABEL_EVERY_S
        self._retain(
            "label",
            {
                "label": (", ".join(prediction.labels) or None) if prediction else None,
                "score": round(prediction.score, 4) if prediction else 0.0,
                "status": prediction.status if prediction else result.health.state,
                "time": result.time_s,
            },
        )

    def _retain(self, name: str, values: dict[str, Any]) -> None:
        """Publish what has changed; what the broker misses it gets when it is back."""
        payload = json.dumps(values)
        with self._lock:
            is_new = self._retained.get(name) != payload
            self._retained[name] = payload
            if is_new and self._client.is_connected():
                self._client.publish(self._topic(name), payload, _AT_LEAST_ONCE, retain=True)

    def _publish(self, name: str, values: dict[str, Any]) -> None:
        """Publish an event, unless too many have not arrived yet."""
        if len(self._waiting) >= _WAITING:
            self._lost += 1
            return
        sent = self._client.publish(self._topic(name), json.dumps(values), _AT_LEAST_ONCE)
        self._waiting.add(sent.mid)

    def _connected(
        self, client: "Client", _data: object, _flags: object, code: "ReasonCode", _: object
    ) -> None:
        """Tell the broker everything that stays, after each connection."""
        if code.is_failure:
            self._connection_trouble = f"{_REFUSED}: {code}"
            return
        discovery = json.dumps(discovery_payload(self._prefix, self._labels))
        client.publish(discovery_topic(self._prefix), discovery, _AT_LEAST_ONCE, retain=True)
        with self._lock:
            for name, payload in self._retained.items():
                client.publish(self._topic(name), payload, _AT_LEAST_ONCE, retain=True)
        client.publish(self._topic("availability"), "online", _AT_LEAST_ONCE, retain=True)
        self._connection_trouble, self._lost = "", 0

    def _failed(self, _client: "Client", _data: object) -> None:
        self._connection_trouble = "the broker cannot be reached"

    def _disconnected(
        self, _client: "Client", _data: object, _flags: object, code: "ReasonCode", _: object
    ) -> None:
        if not self._connection_trouble.startswith(_REFUSED):
            self._connection_trouble = f"the connection to the broker was lost: {code}"
