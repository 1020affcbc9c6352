"""Serves a page in a thread of its own, whose slow and dead visitors cost nobody anything."""

import asyncio
import socket
import threading
from pathlib import Path
from typing import Final

import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from leansight.runtime.service.web.address import Address
from leansight.runtime.service.web.guard import Guard

MOST_CONNECTIONS: Final = 64
# A connection that asks for nothing, or takes nothing, for so long is closed.
IDLE_S: Final = 10
STYLE: Final = Path(__file__).with_name("style.css")
_CONTENT_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


class WebServer:
    """Serves an ASGI application until it is closed.

    Connections are at most 64, each with at most one answer in memory.
    """

    def __init__(self, app: ASGIApp, address: Address, token: str | None, parameter: str) -> None:
        """Listen, and serve from now on; `parameter` is what gave the address.

        Raises:
            LeansightError: the address cannot be listened at.

        """
        self._socket = address.listen(parameter)
        # The kernel closes what takes nothing for so long, and what has lost its network.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, IDLE_S * 1000)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S)
        self.url = address.url(self._socket.getsockname()[1], token)
        self._server = _Server(_configuration(Guard(app, token)))
        self._failure = ""
        self._thread = threading.Thread(target=self._serve, name="leansight-web", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why nothing is served any more; "" while it is."""
        return self._failure

    def close(self) -> None:
        """Close all connections and end, within a second; a second time does nothing."""
        self._server.should_exit = True
        self._thread.join()

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception as error:  # noqa: BLE001 -- the stream goes on without its page
            self._failure = f"the page is no longer served: {error}"
        finally:
            self._socket.close()


class _Server(uvicorn.Server):
    """A server whose end waits for nobody."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drop all connections, and end."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)


class _Connection(H11Protocol):
    """A connection that is closed if there are too many, or if it asks for nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )


def _configuration(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=1,
    )


def static_file(path: Path) -> Response:
    """Return a page, a style or a script that lies beside the code."""
    content_type = f"{_CONTENT_TYPES[path.suffix]}; charset=utf-8"
    return Response(path.read_bytes(), media_type=content_type)
