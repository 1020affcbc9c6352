"""Who may open a page: requests from elsewhere, and those without the token, are refused."""

import hmac
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What programs of this machine call it, also through a forwarded port; any other name is one
# that a page elsewhere has made to point here (DNS rebinding).
_LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_MONTH_S: Final = 30 * 24 * 3600
_MOST_BODY_BYTES: Final = 10_000
_SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' blob: data:; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Lets through to `app` who may see it, and gives each answer the headers of security.

    With a token, the first visit has it in the address (`?token=`), and a cookie from then on;
    programs may send it as `Authorization: Bearer`. Without one, the name in the address must
    be the loopback's. Nothing is changed by a request that a page of another site has sent.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        request = Request(scope)
        answer = self._refusal(request) or self._welcome(request) or self._app

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY)
            await send(message)

        await answer(scope, receive, send_secured)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if self._token is None and _hostname(host) not in _LOOPBACK_NAMES:
            return PlainTextResponse("Open this page as localhost or 127.0.0.1.\n", 403)
        if self._token is not None and not self._has_token(request):
            return PlainTextResponse(
                "Open this page by the address with ?token= that leansight has printed.\n", 401
            )
        origin = request.headers.get("origin")
        if request.method not in ("GET", "HEAD") and origin and urlsplit(origin).netloc != host:
            return PlainTextResponse("This request is of another site.\n", 403)
        if int(request.headers.get("content-length", "0")) > _MOST_BODY_BYTES or (
            "transfer-encoding" in request.headers
        ):
            return PlainTextResponse("This request is too long.\n", 413)
        return None

    def _has_token(self, request: Request) -> bool:
        assert self._token is not None
        given = (
            request.query_params.get("token", ""),
            request.cookies.get(_cookie_of(request), ""),
            request.headers.get("authorization", "").removeprefix("Bearer "),
        )
        matches = [hmac.compare_digest(text.encode(), self._token.encode()) for text in given]
        return any(matches)

    def _welcome(self, request: Request) -> Response | None:
        """Return what moves the token from the page's address into a cookie."""
        if self._token is None or request.url.path != "/" or "token" not in request.query_params:
            return None
        response = RedirectResponse("/", 303)
        response.set_cookie(
            *(_cookie_of(request), self._token), _MONTH_S, httponly=True, samesite="lax"
        )
        return response


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _cookie_of(request: Request) -> str:
    """Return the cookie's name: those of one machine's ports would overwrite each other."""
    port = request.scope["server"][1]
    return f"leansight_{port}"
