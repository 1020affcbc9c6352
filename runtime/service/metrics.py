"""Figures of a stream for Prometheus."""

import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from socketserver import ThreadingMixIn
from typing import Final, get_args
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication

from prometheus_client import CollectorRegistry, Counter, Histogram, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from leansight.runtime.service.web.address import Address
from leansight.runtime.stream.capture.health import State
from leansight.runtime.stream.classified_stream import StreamResult
from leansight.runtime.stream.figures import StreamFigures
from leansight.runtime.system.board import read_board

# A visitor that asks for nothing, or takes nothing, for so long is left.
IDLE_S: Final = 10
_POLL_S: Final = 0.1  # how long closing may take
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
        self._server = _Server(address.listen("metrics"), make_wsgi_app(registry))
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="leansight-metrics"
        )
        self._thread.start()

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


class _Server(ThreadingMixIn, WSGIServer):
    """Answers on a socket that listens already; prometheus-client's waits for each visitor."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, app: WSGIApplication) -> None:
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = listening.getsockname()[:2]
        self.setup_environ()
        self.set_app(app)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a visitor that went away, or asked for nothing."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(WSGIRequestHandler):
    timeout = IDLE_S

    def log_message(self, *_: object) -> None:
        """Say nothing of what goes as it should."""
