"""The page that shows hard examples one by one, and takes their labels by single keys."""

from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from leansight.runtime.errors import DataError
from leansight.runtime.service.web.address import Address
from leansight.runtime.service.web.server import STYLE, WebServer, static_file
from leansight.sdk.labelling.session import LabellingSession

_HERE: Final = Path(__file__).parent
_FILES: Final = {
    "/": _HERE / "label.html",
    "/label.js": _HERE / "label.js",
    "/style.css": STYLE,
}


class LabellingPage:
    """Serves a session to a browser, until it is closed.

    `GET /state.json` is the current picture and what can be done with it; `POST /label` (of
    {"name", "label"}; null: none of these), `/skip` ({"name"}) and `/undo` ({}) answer with the
    next one. A name that is not the current picture's changes nothing and is answered with 409.
    """

    def __init__(self, session: LabellingSession, address: Address, token: str | None) -> None:
        """Serve from now on.

        Raises:
            LeansightError: the address cannot be listened at.

        """
        self._session = session
        files = [Route(path, self._answer_file) for path in _FILES]
        app = Starlette(
            routes=[
                *files,
                Route("/state.json", self._answer_state),
                Route("/pictures/{name}.jpg", self._answer_picture),
                Route("/{step}", self._answer_step, methods=["POST"]),
            ]
        )
        self._server = WebServer(app, address, token, parameter="web")
        self.url = self._server.url

    def close(self) -> None:
        """Serve no more."""
        self._server.close()

    async def _answer_file(self, request: Request) -> Response:
        return static_file(_FILES[request.url.path])

    async def _answer_state(self, _: Request) -> Response:
        return JSONResponse(self._state())

    async def _answer_picture(self, request: Request) -> Response:
        current = self._session.current
        if current is None or current.picture.stem != request.path_params["name"]:
            return Response(status_code=404)
        return Response(current.picture.read_bytes(), media_type="image/jpeg")

    async def _answer_step(self, request: Request) -> Response:
        """Take one step; there is no `await` in it after the question is read, so one at a time."""
        values = await _json_of(request)
        try:
            self._step(request.path_params["step"], values)
        except DataError as error:
            return JSONResponse({**self._state(), "error": str(error)}, status_code=409)
        except OSError as error:
            message = f"{error.filename or 'the folder'}: {error.strerror}"
            return JSONResponse({**self._state(), "error": message}, status_code=507)
        return JSONResponse(self._state())

    def _step(self, step: str, values: dict[str, Any]) -> None:
        current = self._session.current
        if step in ("label", "skip") and (
            current is None or values.get("name") != current.picture.stem
        ):
            raise DataError("this picture is done already")
        match step:
            case "label":
                self._session.label(values.get("label"))
            case "skip":
                self._session.skip()
            case "undo":
                self._session.undo()
            case _:
                raise HTTPException(404)

    def _state(self) -> dict[str, Any]:
        session, current = self._session, self._session.current
        return {
            "name": current and current.picture.stem,
            "doubt": current and current.doubt,
            "choices": session.choices,
            "labels": session.labels,
            "done": session.done,
            "left": session.left,
            "out": str(session.out),
        }


async def _json_of(request: Request) -> dict[str, Any]:
    """Return the values that were sent; a page of another site can send none of this type."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise HTTPException(415)
    try:
        values = await request.json()
    except ValueError as error:
        raise HTTPException(400) from error
    if not isinstance(values, dict):
        raise HTTPException(400)
    return values
