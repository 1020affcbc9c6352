"""Figures of a stream for Prometheus."""

import threading
from collections.abc import Iterator, Mapping
from typing import Final, get_args
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from leansight.runtime.service.web.address import Address, cannot_listen
from leansight.runtime.stream.capture.health import State
from leansight.runtime.stream.classified_stream import StreamResult
from leansight.runtime.stream.figures import StreamFigures
from leansight.runtime.system.board import read_board

_AGE_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_INFERENCE_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


class Metrics:
    """An `Output` that answers Prometheus at /metrics.

    Names begin with `leansight_`; times are in seconds, temperatures in degrees Celsius, shares
    from 0 to 1. A label that was not given is "".
    """

    trouble = ""

    def __init__(self, address: Address, *, troubles: Mapping[str, str] | None = None) -> None:
        """Answer from now on; `troubles` are those of all outputs, by their names.

        Raises:
            LeansightError: the address cannot be listened at.

        """
        registry = CollectorRegistry()
        self._figures = StreamFigures()
        self._count_predictions = Counter(
            *("leansight_predictions", "Predictions by label and status", ("label", "status")),
            registry=registry,
        )
        self._count_events = Counter(
            "leansight_events", "Events that began, by label", ("label",), registry=registry
        )
        self._ages = Histogram(
            *("leansight_frame_age_seconds", "Age of a frame when its prediction was there"),
            buckets=_AGE_BUCKETS_S,
            registry=registry,
        )
        self._inferences = Histogram(
            *("leansight_inference_seconds", "Preprocessing, inference and decision of a frame"),
            buckets=_INFERENCE_BUCKETS_S,
            registry=registry,
        )
        registry.register(_Present(self._figures, {} if troubles is None else troubles))
        self._server, self._thread = _listen(address, registry)
        self.port = self._server.server_port

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        self._figures.add(result)
        if result.age_ms is not None:
            self._ages.observe(result.age_ms / 1000)
        if result.inference_ms is not None:
            self._inferences.observe(result.inference_ms / 1000)
        if result.prediction is not None:
            label, status = result.prediction.label or "", result.prediction.status
            self._count_predictions.labels(label=label, status=status).inc()
        for event in result.events:
            if event.end_s is None:
                self._count_events.labels(label=event.label).inc()

    def close(self) -> None:
        """See `Output`."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Present(Collector):
    """What is read when Prometheus asks."""

    def __init__(self, figures: StreamFigures, troubles: Mapping[str, str]) -> None:
        self._figures = figures
        self._troubles = troubles

    def collect(self) -> Iterator[Metric]:
        """Yield each figure (prometheus_client)."""
        now = self._figures.now()
        states = GaugeMetricFamily(
            "leansight_state", "1 for the state of the stream, 0 for the others", labels=["state"]
        )
        for state in get_args(State):
            states.add_metric([state], state == now.health.state)
        yield states
        outputs = GaugeMetricFamily(
            "leansight_output_trouble", "1 while an output does not work", labels=["output"]
        )
        for name, trouble in dict(self._troubles).items():
            outputs.add_metric([name], bool(trouble))
        yield outputs
        yield CounterMetricFamily("leansight_frames", "Frames seen", now.frames)
        yield CounterMetricFamily(
            "leansight_damaged_frames", "Frames that arrived damaged", now.damaged
        )
        yield CounterMetricFamily(
            "leansight_reconnects", "How often the source was lost", now.reconnects
        )
        for name, text, value in (
            ("leansight_not_sure_ratio", "Share of not sure, recently", now.not_sure_share),
            ("leansight_last_frame_age_seconds", "Since the last frame", now.since_frame_s),
            ("leansight_temperature_celsius", "Of the machine", read_board().temperature_c),
        ):
            if value is not None:
                yield GaugeMetricFamily(name, text, value)


def _listen(address: Address, registry: CollectorRegistry) -> tuple[WSGIServer, threading.Thread]:
    try:
        return start_http_server(address.port, address.host, registry)
    except OSError as error:
        raise cannot_listen(address, error, "metrics") from error
