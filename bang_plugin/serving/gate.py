"""What stands before the application: the token, limits on bodies, the count of answers, and errors without insides."""

import asyncio
import hmac
import logging
import time
from typing import Any, Callable, Optional

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .answers import encoded
from .jobs import Refused
from .metrics import Metrics

logger = logging.getLogger(__name__)


class Gate:
    """ASGI middleware; reads bodies whole, within their limits, before anything looks at them.

    Args:
        app: what stands behind.
        metrics: counts answers.
        path_of: the route that a request belongs to, so that clients cannot invent names for metrics.
        token: that every request under ``/v1`` and for ``/metrics`` has to bear; None: anyone may ask.
        max_body: bytes.
        seconds: within which a body has to come.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        path_of: Callable[[str], str],
        token: Optional[str],
        max_body: int,
        seconds: float,
    ):
        self.app, self.metrics, self.path_of = app, metrics, path_of
        self.expected = None if token is None else f"Bearer {token}".encode()
        self.max_body, self.seconds = max_body, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no web sockets here
        began, status, path = time.monotonic(), 0, self.path_of(scope["path"])
        in_progress = self.metrics.in_progress.labels(path)
        in_progress.inc()

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-content-type-options", b"nosniff")]}
            await send(message)

        try:
            self._check_token(scope)
            body = await self._body(scope, receive)
            if body is not None:
                await self.app(scope, self._again(body, receive), counted)
            else:
                status = 499
        except Refused as error:
            await _say(error, counted)
        except Exception:
            logger.exception("a request for %s failed", path)
            if status:
                raise  # the answer has begun: the connection is closed
            await _say(Refused(500, "the server failed; its log says why", "internal_error"), counted)
        finally:
            in_progress.dec()
            self.metrics.requests.labels(path, str(status or 499)).inc()
            self.metrics.request_seconds.labels(path).observe(time.monotonic() - began)

    def _check_token(self, scope: Scope) -> None:
        if self.expected is None or not scope["path"].startswith(("/v1", "/metrics")):
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, self.expected):
            headers = {"WWW-Authenticate": "Bearer"}
            raise Refused(401, "a bearer token is needed, and the right one", "invalid_api_key", headers=headers)

    async def _body(self, scope: Scope, receive: Receive) -> Optional[bytes]:
        """None if the client leaves before it is complete."""
        too_long = Refused(413, f"a body of more than {self.max_body} bytes", "too_large")
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self.max_body:
            raise too_long
        body = bytearray()
        try:
            async with asyncio.timeout(self.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self.max_body:
                        raise too_long
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise Refused(408, f"no whole body within {self.seconds:g} seconds", "slow_body") from None

    @staticmethod
    def _again(body: bytes, receive: Receive) -> Receive:
        given = False

        async def once() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        return once


async def _say(error: Refused, send: Send) -> None:
    body: Any = encoded(error.body())
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    if error.status in (408, 413):  # what is left of the body is not read
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
