"""The live page of a stream: the picture, what is seen in it, and how the stream is."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from leansight.runtime.service.web.address import Address
from leansight.runtime.service.web.server import WebServer, static_file
from leansight.runtime.stream.classified_stream import StreamResult
from leansight.runtime.stream.events import Event
from leansight.runtime.stream.figures import StreamFigures
from leansight.runtime.stream.jpeg import encode_jpeg
from leansight.runtime.system.board import read_board

_HERE: Final = Path(__file__).parent
STATIC: Final = ("style.css", "page.js")
# A picture is encoded at most so often, however many look, and only while somebody does.
PICTURE_INTERVAL_S: Final = 0.1
MOST_PX: Final = 1280  # of the longer side
MOST_EVENTS: Final = 24
EVENT_PX: Final = 320
# How long a request waits for the next picture, and how often it looks.
_WAIT_S: Final = 5.0
_LOOK_S: Final = 0.03


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """A frame as JPEG, and as JSON what was said of it."""

    number: int
    jpeg: bytes
    prediction: str


@dataclass(frozen=True, kw_only=True)
class _SeenEvent:
    """An event with its best picture as JPEG: the frame itself takes fifty times the memory."""

    event: dict[str, Any]
    jpeg: bytes


class WebPage:
    """An `Output` that shows the stream to whoever opens its page.

    It answers `/` (the page), `/status.json`, `/frame.jpg`, `/events/NUMBER.jpg` and `/healthz`,
    which is 200 while labels are given, and otherwise 503. The thread of the stream only notes its
    newest result; pictures are encoded in the page's own.
    """

    def __init__(
        self,
        address: Address,
        *,
        name: str,
        token: str | None = None,
        troubles: Mapping[str, str] | None = None,
    ) -> None:
        """Serve the page from now on.

        Args:
            address: where to listen.
            name: the bundle's, shown as the page's title.
            token: what a visitor has to know; None: nothing.
            troubles: of all outputs by their names; what is in it at the time is shown.

        Raises:
            LeansightError: the address cannot be listened at.
            MissingExtraError: nothing is installed that writes JPEG.

        """
        encode_jpeg(np.zeros((8, 8, 3), np.uint8))  # raises now if nothing can
        self._name = name
        self._troubles = {} if troubles is None else troubles
        self._figures = StreamFigures()
        self._events: dict[int, _SeenEvent] = {}
        self._picture: _Picture | None = None
        self._encoded_s = 0.0
        self._is_closing = False
        routes = {
            "/": self._answer_page,
            "/status.json": self._answer_status,
            "/frame.jpg": self._answer_frame,
            "/events/{number:int}.jpg": self._answer_event,
            "/healthz": self._answer_health,
            "/{name}": _answer_static,
        }
        app = Starlette(routes=[Route(path, answer) for path, answer in routes.items()])
        self._server = WebServer(app, address, token, parameter="web")
        self.url = self._server.url

    @property
    def trouble(self) -> str:
        """See `Output`."""
        return self._server.trouble

    def write(self, result: StreamResult) -> None:
        """See `Output`."""
        self._figures.add(result)
        for event in result.events:
            self._add_event(event)

    def close(self) -> None:
        """See `Output`."""
        self._is_closing = True
        self._server.close()

    def _add_event(self, event: Event) -> None:
        """Remember an event that began or ended; of too many, forget the first."""
        jpeg = encode_jpeg(event.best.image, most_px=EVENT_PX)
        self._events[event.number] = _SeenEvent(event=_event_json(event), jpeg=jpeg)
        while len(self._events) > MOST_EVENTS:
            del self._events[min(self._events)]

    def _newest_picture(self) -> _Picture | None:
        """Return the newest frame, or the one that was encoded a moment ago."""
        last, now_s = self._figures.last, time.monotonic()
        if last is None or last.frame is None or now_s - self._encoded_s < PICTURE_INTERVAL_S:
            return self._picture
        if self._picture is None or self._picture.number != last.frame.number:
            self._encoded_s = now_s
            self._picture = _Picture(
                number=last.frame.number,
                jpeg=encode_jpeg(last.frame.image, most_px=MOST_PX),
                prediction=json.dumps(last.prediction and last.prediction.to_dict()),
            )
        return self._picture

    async def _answer_page(self, _: Request) -> Response:
        return static_file(_HERE / "page.html")

    async def _answer_status(self, _: Request) -> Response:
        return JSONResponse(self._status())

    async def _answer_frame(self, request: Request) -> Response:
        """Answer with a picture, when there is another than the one `?after=` so many."""
        known = request.query_params.get("after")
        end_s = time.monotonic() + _WAIT_S
        while not self._is_closing and time.monotonic() < end_s:
            picture = self._newest_picture()
            if picture is not None and str(picture.number) != known:
                headers = {
                    "Frame-Number": str(picture.number),
                    "Frame-Prediction": picture.prediction,
                }
                return Response(picture.jpeg, media_type="image/jpeg", headers=headers)
            await asyncio.sleep(_LOOK_S)
        return Response(status_code=204)

    async def _answer_event(self, request: Request) -> Response:
        seen = self._events.get(request.path_params["number"])
        if seen is None:
            return Response(status_code=404)
        return Response(seen.jpeg, media_type="image/jpeg")

    async def _answer_health(self, _: Request) -> Response:
        figures = self._figures.now()
        values = {
            "state": figures.health.state,
            "reason": figures.health.reason,
            "seconds_since_last_result": _rounded(figures.since_frame_s, 3),
        }
        return JSONResponse(values, status_code=200 if figures.is_healthy else 503)

    def _status(self) -> dict[str, Any]:
        figures = self._figures.now()
        prediction = figures.last.prediction if figures.last and figures.is_healthy else None
        return {
            "name": self._name,
            "state": figures.health.state,
            "reason": figures.health.reason,
            "in_state_s": round(figures.in_state_s),
            "since_frame_s": _rounded(figures.since_frame_s, 1),
            "prediction": prediction.to_dict() if prediction else None,
            "frames": figures.frames,
            "frames_per_s": round(figures.frames_per_s, 1),
            "not_sure_share": _rounded(figures.not_sure_share, 4),
            "age_ms": _rounded(figures.age_ms, 1),
            "inference_ms": _rounded(figures.inference_ms, 1),
            "damaged": figures.damaged,
            "reconnects": figures.reconnects,
            "temperature_c": _rounded(read_board().temperature_c, 1),
            "troubles": {name: text for name, text in dict(self._troubles).items() if text},
            "events": [seen.event for seen in reversed(list(self._events.values()))],
        }


async def _answer_static(request: Request) -> Response:
    name = request.path_params["name"]
    return static_file(_HERE / name) if name in STATIC else Response(status_code=404)


def _event_json(event: Event) -> dict[str, Any]:
    return {
        "number": event.number,
        "label": event.label,
        "score": round(event.score, 4),
        "start": event.start_s,
        "end": event.end_s,
        "best_frame": event.best.number,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
