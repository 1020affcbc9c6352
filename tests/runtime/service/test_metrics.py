"""Figures as Prometheus reads them."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live.leaks import nothing_stays
from live.results import change, result, with_event
from live.visitors import ask, never_reads
from prometheus_client.parser import text_string_to_metric_families

from leansight.runtime.errors import LeansightError
from leansight.runtime.service import metrics as module
from leansight.runtime.service.metrics import Metrics
from leansight.runtime.service.web.address import Address
from leansight.runtime.system.board import read_board

__all__ = ["nothing_stays"]
ANYWHERE = Address(host="127.0.0.1", port=0)


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    metrics = Metrics(ANYWHERE, troubles={"mqtt": "no broker", "json": ""})
    yield metrics
    metrics.close()


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Return all values by name and values of labels, as Prometheus parses them."""
    answer = ask(f"http://127.0.0.1:{metrics.port}/", "/metrics")
    assert answer.status == 200
    families = list(text_string_to_metric_families(answer.body.decode()))
    assert all(family.name.startswith("leansight_") for family in families)
    assert all(family.documentation for family in families)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_predictions_are_counted_by_label_and_status(metrics: Metrics) -> None:
    for number, label in enumerate(["stop", "stop", None, "yield"]):
        metrics.write(result(number, label))
    seen = samples(metrics)
    assert seen["leansight_frames_total",] == 4
    assert seen["leansight_predictions_total", "stop", "sure"] == 2
    assert seen["leansight_predictions_total", "yield", "sure"] == 1
    assert seen["leansight_predictions_total", "", "not sure"] == 1
    assert seen["leansight_not_sure_ratio",] == 0.25


def test_times_are_histograms_in_seconds(metrics: Metrics) -> None:
    for number in range(3):
        metrics.write(result(number))  # 20 ms old, of which inference 8 ms
    seen = samples(metrics)
    assert seen["leansight_frame_age_seconds_count",] == 3
    assert seen["leansight_frame_age_seconds_sum",] == pytest.approx(0.06)
    assert seen["leansight_frame_age_seconds_bucket", "0.01"] == 0
    assert seen["leansight_frame_age_seconds_bucket", "0.025"] == 3
    assert seen["leansight_inference_seconds_sum",] == pytest.approx(0.024)
    assert seen["leansight_inference_seconds_bucket", "0.005"] == 0
    assert seen["leansight_inference_seconds_bucket", "0.01"] == 3


def test_the_state_is_one_of_them(metrics: Metrics) -> None:
    for state in ("running", "stale", "reconnecting"):
        metrics.write(change(state, "of this test") if state != "running" else result(0))
        seen = samples(metrics)
        states = {key[1]: value for key, value in seen.items() if key[0] == "leansight_state"}
        assert [name for name, value in states.items() if value] == [state]
        assert set(states.values()) == {0, 1}
        assert {"running", "degraded", "frozen", "unusable"} <= set(states)
    assert seen["leansight_reconnects_total",] == 1


def test_damage_events_and_troubles(metrics: Metrics) -> None:
    metrics.write(dataclasses.replace(with_event(1), damaged=7))
    metrics.write(dataclasses.replace(with_event(1, end_s=1.0), damaged=7))
    seen = samples(metrics)
    assert seen["leansight_damaged_frames_total",] == 7
    assert seen["leansight_events_total", "stop"] == 1
    assert seen["leansight_output_trouble", "mqtt"] == 1
    assert seen["leansight_output_trouble", "json"] == 0


def test_the_temperature_is_the_hottest_zones(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "read_board", lambda: read_board(tmp_path))
    assert ("leansight_temperature_celsius",) not in samples(metrics)
    for zone, text in enumerate(["48123\n", "61250\n", "not a number"]):
        folder = tmp_path / f"class/thermal/thermal_zone{zone}"
        folder.mkdir(parents=True)
        (folder / "temp").write_text(text)
    assert samples(metrics)["leansight_temperature_celsius",] == 61.25


def test_a_port_in_use_is_one_clear_line(metrics: Metrics) -> None:
    taken = Address(host="127.0.0.1", port=metrics.port)
    with pytest.raises(LeansightError, match=r"address already in use\. Choose another") as error:
        Metrics(taken)
    assert error.value.parameter == "metrics"


def test_visitors_that_ask_for_nothing_are_left_and_closing_waits_for_none(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module._Handler, "timeout", 0.5)  # noqa: SLF001
    metrics = Metrics(ANYWHERE)
    url = f"http://127.0.0.1:{metrics.port}/"
    before = threading.active_count()
    silent = [never_reads(url, "/metrics", requests=0) for _ in range(10)]
    for visitor in silent:
        visitor.sendall(b"GET /met")
    assert samples(metrics)["leansight_frames_total",] == 0
    assert {visitor.recv(1) for visitor in silent} == {b""}
    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
    begin_s = time.monotonic()
    metrics.close()
    assert time.monotonic() - begin_s < 3
    for visitor in silent:
        visitor.close()
    assert capfd.readouterr() == ("", "")
