from collections.abc import Iterator

import pytest
from doubles.stream_results import GRAY, event, seen, unlabelled
from gpiozero import Device
from gpiozero.pins.mock import MockFactory

from leansight.runtime.errors import LeansightError
from leansight.runtime.service.pin import Pin
from leansight.runtime.stream.capture.health import State


@pytest.fixture
def pins() -> Iterator[MockFactory]:
    """Pins that are not there, in place of a Raspberry Pi's."""
    before, Device.pin_factory = Device.pin_factory, MockFactory()
    yield Device.pin_factory
    Device.pin_factory.close()
    Device.pin_factory = before


def test_a_pin_is_on_while_an_event_of_its_label_lasts(pins: MockFactory) -> None:
    pin = Pin("stop", 17)
    states = [pins.pin(17).state]
    for events in (
        (),
        (event(1, "yield"),),
        (event(2, "stop"),),
        (),
        (event(1, "yield", end_s=9),),
        (event(3, "stop"),),
        (event(2, "stop", end_s=9),),
        (event(3, "stop", end_s=9),),
    ):
        pin.write(seen(events=events))
        states.append(pins.pin(17).state)
    assert states == [0, 0, 0, 1, 1, 1, 1, 1, 0]
    pin.close()


@pytest.mark.parametrize("state", ["stale", "frozen", "unusable", "reconnecting"])
def test_a_pin_is_off_where_no_label_is_given(pins: MockFactory, state: State) -> None:
    pin = Pin("stop", 17)
    pin.write(seen(events=(event(),)))
    assert pins.pin(17).state == 1
    pin.write(unlabelled(state, image=GRAY))
    assert pins.pin(17).state == 0
    pin.write(seen())  # the event has not ended
    assert pins.pin(17).state == 1
    pin.close()


def test_a_pin_is_off_at_the_end(pins: MockFactory) -> None:
    pin = Pin("stop", 17)
    pin.write(seen(events=(event(),)))
    pin.close()
    assert pins.pin(17).state != 1
    Pin("stop", 17).close()  # it is free again


def test_a_pin_that_is_not_there_is_one_clear_error(pins: MockFactory) -> None:
    assert pins.pins == {}
    with pytest.raises(LeansightError, match=r"pin 77 cannot be used: .*be in the group gpio"):
        Pin("stop", 77)
