"""Against a real Mosquitto, of Debian's package; without it the tests are skipped."""

import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from doubles.stream_results import event, seen, unlabelled

from leansight.runtime.service.mqtt.broker import MqttBroker
from leansight.runtime.service.mqtt.client import MqttPublisher

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
LONG_S = 60.0  # by then everything has happened, on however busy a machine
pytestmark = pytest.mark.skipif(
    MOSQUITTO is None, reason="there is no mosquitto: sudo apt install mosquitto"
)
PUBLISH_AND_WAIT = """
import sys, time
from leansight.runtime.service.mqtt.broker import MqttBroker
from leansight.runtime.service.mqtt.client import MqttPublisher
broker = MqttBroker(host="127.0.0.1", port=int(sys.argv[1]), prefix="garden")
publisher = MqttPublisher(broker, ["stop"])
time.sleep(600)
"""
Message = tuple[str, Any, bool]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


class Mosquitto:
    """A broker that can go and come back at the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.settings = ["allow_anonymous true"]
        self._file = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        listener = f"listener {self.port} 127.0.0.1"
        self._file.write_text("\n".join([listener, "user root", *self.settings, ""]))
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers)

    def _answers(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def wait_for_label(self) -> None:
        subscriber = Subscriber(self.port)
        subscriber.until("garden/label", label="stop")
        subscriber.close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None


class Subscriber:
    """Reads everything that a broker has, as (topic, value, whether it was retained)."""

    def __init__(self, port: int) -> None:
        self.messages = queue.Queue[Message]()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.on_message = self._receive
        self._client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _receive(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        text = message.payload.decode()
        value = json.loads(text) if text.startswith("{") else text
        self.messages.put((message.topic, value, message.retain))

    def until(self, topic: str, **wanted: object) -> Message:
        """Return the next message of a topic that has these values; drop those before it."""
        while True:
            message = self.messages.get(timeout=LONG_S)
            value = message[1]
            if message[0] == topic and (
                value == wanted.get("text")
                or (isinstance(value, dict) and wanted.items() <= value.items())
            ):
                return message

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def publisher(broker: Mosquitto) -> Iterator[MqttPublisher]:
    output = publisher_to(broker)
    yield output
    output.close()


def publisher_to(broker: Mosquitto, user: str | None = None) -> MqttPublisher:
    where = MqttBroker(host="127.0.0.1", port=broker.port, prefix="garden", user=user)
    return MqttPublisher(where, ["stop", "yield"])


def test_label_state_and_availability_are_there_for_who_comes_later(
    broker: Mosquitto, publisher: MqttPublisher
) -> None:
    early = Subscriber(broker.port)
    publisher.write(seen("stop", at_s=1))
    missing = {"garden/label", "garden/state", "garden/availability"}
    while missing:  # in an order that depends on when the connection is made
        missing.discard(early.messages.get(timeout=LONG_S)[0])
    early.close()
    late = Subscriber(broker.port)
    found = {}
    while len(found) < 4:
        topic, value, is_retained = late.messages.get(timeout=LONG_S)
        assert is_retained
        found[topic] = value
    late.close()
    assert found["garden/availability"] == "online"
    assert found["garden/state"] == {"state": "running", "reason": "", "problem": False}
    assert found["garden/label"] == {
        "label": "stop",
        "score": 0.98,
        "status": "sure",
        "time": 1001.0,
    }
    assert found["homeassistant/device/leansight_garden/config"]["components"]["label"]


def test_labels_come_once_a_second_and_that_there_are_none_at_once(
    broker: Mosquitto, publisher: MqttPublisher
) -> None:
    subscriber = Subscriber(broker.port)
    subscriber.until("garden/availability", text="online")
    for number in range(30):  # in three seconds
        publisher.write(seen(("stop", "yield")[number % 2], at_s=number / 10))
    publisher.write(unlabelled("stale", "no frame for 2 s", at_s=2.95))
    labels = []
    while True:
        topic, value, _ = subscriber.messages.get(timeout=LONG_S)
        if topic == "garden/label":
            labels.append(value["label"])
            if value["status"] == "stale":
                break
    subscriber.close()
    assert labels == ["stop", "yield", "stop", None]


def test_events_are_not_retained_and_end_at_a_topic_of_their_own(
    broker: Mosquitto, publisher: MqttPublisher
) -> None:
    subscriber = Subscriber(broker.port)
    subscriber.until("garden/availability", text="online")
    publisher.write(seen(events=(event(7),)))
    publisher.write(seen(events=(event(7, end_s=1002.5),)))
    _, begun, begun_retained = subscriber.until("garden/event", event_type="stop")
    _, ended, ended_retained = subscriber.until("garden/event/end", event_type="stop")
    subscriber.close()
    assert (begun["number"], begun["end"], begun_retained) == (7, None, False)
    assert (ended["end"], ended_retained) == (1002.5, False)


def test_a_broker_that_is_lost_and_back_gets_what_it_missed(
    broker: Mosquitto, publisher: MqttPublisher
) -> None:
    publisher.write(seen())
    broker.wait_for_label()
    broker.stop()
    wait_until(lambda: publisher.trouble)
    begin_s = time.monotonic()
    for number in range(500):
        publisher.write(seen("yield", at_s=number))
    publisher.write(seen(events=(event(3),)))
    assert time.monotonic() - begin_s < 5, "it waited for the broker"
    broker.start()
    subscriber = Subscriber(broker.port)
    wanted = {"garden/event", "garden/state", "garden/availability", "garden/label"}
    got: dict[str, Any] = {}
    while not wanted <= set(got):
        topic, value, _ = subscriber.messages.get(timeout=LONG_S)
        got[topic] = value
    subscriber.close()
    assert got["garden/label"]["label"] == "yield"
    assert got["garden/event"]["number"] == 3
    wait_until(lambda: publisher.trouble == "")


def test_what_waits_for_a_broker_is_bounded_and_what_is_lost_is_said(
    broker: Mosquitto, publisher: MqttPublisher
) -> None:
    publisher.write(seen())
    broker.wait_for_label()
    broker.stop()
    wait_until(lambda: publisher.trouble)
    for number in range(300):
        publisher.write(seen(at_s=number, events=(event(number),)))
    assert "events were lost" in publisher.trouble
    broker.start()
    subscriber = Subscriber(broker.port)
    subscriber.until("garden/availability", text="online")
    subscriber.close()
    assert publisher.trouble == ""


def test_a_program_that_is_killed_leaves_its_last_will(broker: Mosquitto) -> None:
    program = PUBLISH_AND_WAIT, str(broker.port)
    subscriber = Subscriber(broker.port)
    with subprocess.Popen([sys.executable, "-c", *program]) as process:
        subscriber.until("garden/availability", text="online")
        process.kill()
    subscriber.until("garden/availability", text="offline")
    subscriber.close()


def test_the_end_is_told(broker: Mosquitto) -> None:
    subscriber = Subscriber(broker.port)
    output = publisher_to(broker)
    subscriber.until("garden/availability", text="online")
    output.close()
    subscriber.until("garden/availability", text="offline")
    subscriber.close()


def test_a_broker_that_is_not_there_holds_up_nothing(tmp_path: Path) -> None:
    output = publisher_to(Mosquitto(tmp_path))
    output.write(seen())
    wait_until(lambda: "cannot be reached" in output.trouble)
    begin_s = time.monotonic()
    output.close()
    assert time.monotonic() - begin_s < 5


def test_a_broker_that_wants_a_password_is_trouble(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    broker.settings = ["allow_anonymous false"]
    broker.start()
    output = publisher_to(broker, user="pi")
    wait_until(lambda: "the broker refuses the connection: Not authorized" in output.trouble)
    output.close()
    broker.stop()


def test_the_end_of_the_stream_is_no_trouble(broker: Mosquitto) -> None:
    output = publisher_to(broker)
    output.write(seen("stop"))
    broker.wait_for_label()
    output.close()
    assert not output.trouble
