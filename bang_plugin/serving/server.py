"""The HTTP server: listens, and on SIGTERM answers what it has taken before it ends."""

import asyncio
import contextlib
import socket
from typing import Iterator, Tuple

import uvicorn
from starlette.types import ASGIApp

from ..errors import BangError


class Server(uvicorn.Server):
    """uvicorn, which ends with status 0 after SIGTERM or SIGINT; a second SIGINT does not wait."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn, which would raise the signal again when all is done."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    def run_on(self, listener: socket.socket) -> None:
        """Until it is told to end, in uvloop's event loop where that is installed."""
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self.serve(sockets=[listener]))


def listen(host: str, port: int) -> Tuple[socket.socket, str]:
    """A listening socket, bound before anything slow is done, and its address for people.

    Raises:
        BangError: if it cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        # only where the protocol is named does asyncio send small parts at once, else each may wait 40 ms for the last
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.set_inheritable(True)
    except OSError as error:
        raise BangError(f"--host {host} --port {port}: {error.strerror}") from error
    shown = f"[{host}]" if ":" in host else host
    return listener, f"http://{shown}:{listener.getsockname()[1]}"


def config(app: ASGIApp, time_limit: float) -> uvicorn.Config:
    """uvicorn's; whoever has not read an answer some seconds after its time limit is left when the server ends."""
    return uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # nothing asks who a client is
        timeout_graceful_shutdown=int(time_limit) + 10,
        timeout_keep_alive=30,
        ws="none",
    )


def serve(app: ASGIApp, listener: socket.socket, time_limit: float) -> None:
    """Until SIGTERM or SIGINT."""
    Server(config(app, time_limit)).run_on(listener)
