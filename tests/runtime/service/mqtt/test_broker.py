import pytest

from leansight.runtime.errors import DataError
from leansight.runtime.service.mqtt.broker import MqttBroker


def test_the_parts_of_a_url() -> None:
    assert MqttBroker.from_url("mqtt://pi@broker.local:1999/a/b/", prefix="x") == MqttBroker(
        host="broker.local", port=1999, prefix="a/b", user="pi"
    )


def test_what_a_url_leaves_out() -> None:
    broker = MqttBroker.from_url("mqtts://[::1]", prefix="leansight/pi")
    assert broker == MqttBroker(host="::1", port=8883, prefix="leansight/pi", is_encrypted=True)
    assert MqttBroker.from_url("mqtt://broker", prefix="x").port == 1883


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mqtt://pi:secret@broker", "a password does not belong into the URL"),
        ("http://broker", "no URL such as mqtt://"),
        ("mqtt://", "no URL such as mqtt://"),
        ("broker", "no URL such as mqtt://"),
        ("mqtt://broker:99999", "no URL: Port out of range"),
        ("mqtt://broker/a/%23", "no URL such as mqtt://"),
    ],
)
def test_what_is_no_url_of_a_broker_is_refused(url: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        MqttBroker.from_url(url, prefix="x")
    assert "secret" not in str(refused.value)
