"""The dashboard as something a command starts and stops."""

import asyncio
import contextlib
import errno
import secrets
import socket
from collections.abc import Callable, Sequence

from bokeh.server.server import BaseServer
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop

from flowtape.dashboards.gate import Gate, loopback_host
from flowtape.dashboards.screens import Hub
from flowtape.dashboards.web import FlowTornado
from flowtape.stream.errors import InputError
from flowtape.stream.ports import Feed

REQUEST_BYTES_MAX = 1 << 16
IDLE_CONNECTION_S = 60


class DashboardServer:
    """A running dashboard; made by `serve`."""

    def __init__(self, port: int, application: FlowTornado, http: HTTPServer) -> None:
        self.port = port
        self._application = application
        self._http = http
        self._bokeh = BaseServer(IOLoop.current(), application, http)
        self._bokeh.start()
        self._feeding = asyncio.create_task(application.hub.run())
        self.stopped = False

    @property
    def url(self) -> str:
        """The link that lets one browser in; each browser needs a fresh one."""
        return self._application.gate.link

    async def stop(self) -> None:
        """Close every connection and give the port back."""
        self.stopped = True
        self._feeding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._feeding
        self._application.close_sockets()
        self._bokeh.stop(wait=False)
        await self._http.close_all_connections()


async def serve(
    feeds: Sequence[Feed],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    on_link: Callable[[str], None] = lambda _: None,
) -> DashboardServer:
    """Start a dashboard for `feeds` on the running event loop.

    Args:
        feeds: what to show; with more than one the screen offers a switch between symbols.
        host: a loopback address; anything else raises InputError.
        port: 0 takes a free one.
        on_link: told the next link whenever one was used, so that people always have a valid one.

    Raises:
        InputError: when the address cannot be listened on, for example a port in use.
    """
    if not feeds:
        raise InputError("there is nothing to show: no feed was given")
    listening = _listen(loopback_host(host), port)
    actual_port = listening.getsockname()[1]
    gate = Gate(host, actual_port, on_link)
    hub = Hub(list(feeds), asyncio.get_running_loop().time)
    application = FlowTornado(gate, hub, secrets.token_bytes(32))
    http = HTTPServer(
        application, max_body_size=REQUEST_BYTES_MAX, idle_connection_timeout=IDLE_CONNECTION_S
    )
    http.add_socket(listening)
    return DashboardServer(actual_port, application, http)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise InputError(f"port must be 0 to 65535, was {port}")
    address = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address, port), family=family, backlog=128)
    except OSError as error:
        reason = {
            errno.EADDRINUSE: "is in use; choose another one, or 0 for any that is free",
            errno.EACCES: "may not be used by this account; choose one above 1023",
        }.get(error.errno or 0, f"cannot be listened on: {error.strerror}")
        raise InputError(f"port {port} on {host} {reason}") from error
    listening.setblocking(False)
    return listening
