"""The HTTP and WebSocket side: Bokeh's own handlers behind the gate, narrowed to what we use."""

import asyncio
import contextlib
import json
from html import escape
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document.events import MessageSentEvent
from bokeh.protocol.message import Message
from bokeh.server.tornado import BokehTornado
from bokeh.server.views.doc_handler import DocHandler
from bokeh.server.views.static_handler import StaticHandler
from bokeh.server.views.ws import WSHandler
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler, StaticFileHandler
from tornado.websocket import WebSocketClosedError

from flowtape.dashboards.figures import PANES, fill_document
from flowtape.dashboards.frames import layout
from flowtape.dashboards.gate import Gate, Refusal, SafeHeaders, TokenBucket
from flowtape.dashboards.screens import Hub, Screen
from flowtape.dashboards.theme import SIDES, THEMES, css_variables, palette
from flowtape.stream.errors import InputError

SESSIONS_MAX = 8
MESSAGES_PER_S = 50.0
MESSAGES_BURST = 150.0
MESSAGE_BYTES_MAX = 256 * 1024
GOING_AWAY, POLICY_VIOLATION = 1001, 1008

_STATIC = files("flowtape.dashboards") / "static"


class FlowTornado(BokehTornado):
    """Bokeh's application with every request checked and every unused route closed."""

    def __init__(self, gate: Gate, hub: Hub, secret_key: bytes) -> None:
        self.gate = gate
        self.hub = hub
        self.sockets: set[ScreenSocket] = set()
        super().__init__(
            {"/": Application(FunctionHandler(fill_document))},
            extra_patterns=[(r"/assets/(.*)", AssetHandler, {"path": str(_STATIC)})],
            extra_websocket_origins=sorted(gate.hosts),
            secret_key=secret_key,
            sign_sessions=True,
            session_token_expiration=60,
            include_headers=[],
            include_cookies=[],
            check_unused_sessions_milliseconds=1000,
            unused_session_lifetime_milliseconds=10_000,
            websocket_max_message_size_bytes=MESSAGE_BYTES_MAX,
            compress_response=True,
            log_function=lambda _: None,
        )
        self.add_transform(SafeHeaders)

    def close_sockets(self) -> None:
        """Say good-bye to every browser."""
        for socket in list(self.sockets):
            socket.close(GOING_AWAY, "flowtape was stopped")

    def get_handler_delegate(
        self,
        request: HTTPServerRequest,
        target_class: type[RequestHandler],
        target_kwargs: dict[str, Any] | None = None,
        path_args: list[bytes] | None = None,
        path_kwargs: dict[str, bytes] | None = None,
    ) -> Any:
        """Return the handler of a request that passed the gate, or one that says why not."""
        refusal = self.gate.refusal(request)
        is_entry = target_class is DocHandler and "token" in request.query_arguments
        if refusal is None and not is_entry:
            refusal = self.gate.stranger(request)
        if refusal is None and target_class in {DocHandler, WSHandler}:
            refusal = self._crowded()
        if refusal is not None:
            return super().get_handler_delegate(request, RefusalHandler, {"refusal": refusal})
        if is_entry:
            return super().get_handler_delegate(request, EntryHandler, {"gate": self.gate})
        if target_class is DocHandler:
            target_class = PageHandler
        elif target_class is WSHandler:
            target_class = ScreenSocket
        elif target_class not in {AssetHandler, StaticHandler}:
            refusal = Refusal(HTTPStatus.NOT_FOUND, "There is nothing at this address.")
            return super().get_handler_delegate(request, RefusalHandler, {"refusal": refusal})
        return super().get_handler_delegate(
            request, target_class, target_kwargs, path_args, path_kwargs
        )

    def _crowded(self) -> Refusal | None:
        if len(self.sockets) < SESSIONS_MAX:
            return None
        return Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{SESSIONS_MAX} screens are open already; close one and reload.",
        )


class RefusalHandler(RequestHandler):
    """Says in plain words why a request is refused."""

    def initialize(self, refusal: Refusal) -> None:
        """Take what to say."""
        self._refusal = refusal

    def prepare(self) -> None:
        """Answer whatever the method is."""
        _refuse(self, self._refusal)


class EntryHandler(RequestHandler):
    """Exchanges the key in a link for the cookie."""

    def initialize(self, gate: Gate) -> None:
        """Take the gate that made the link."""
        self._gate = gate

    def get(self) -> None:
        """Set the cookie and lead on to the screen, or refuse."""
        cookie = self._gate.redeem(self.get_query_argument("token"))
        if cookie is None:
            _refuse(self, self._gate.void_link)
            return
        self.set_header("Cache-Control", "no-store")
        self.set_cookie(self._gate.cookie_name, cookie, path="/", httponly=True, samesite="Strict")
        self.redirect("/", status=HTTPStatus.SEE_OTHER)


class AssetHandler(StaticFileHandler):
    """Serves our scripts and style sheet."""

    def set_extra_headers(self, path: str) -> None:
        """Make browsers ask again, so that an upgraded package is seen at once."""
        self.set_header("Cache-Control", "no-cache")


class PageHandler(DocHandler):
    """Serves the page of a new session."""

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Write the page with everything the scripts need to start."""
        session = await self.get_session()
        roots = {root.name: root.id for root in session.document.roots}
        boot = {
            "token": session.token,
            "roots": {roots[pane]: f"pane-{pane}" for pane in PANES},
            "panes": {pane: roots[pane] for pane in PANES},
            "layout": layout(),
            "feeds": [
                {
                    "symbol": cutter.view.instrument.symbol,
                    "market": cutter.view.instrument.market,
                    "venue": cutter.view.instrument.venue,
                    "price_decimals": cutter.view.instrument.price_decimals,
                    "qty_decimals": cutter.view.instrument.qty_decimals,
                    "bar_ms": cutter.view.bar_us / 1000,
                    "trade": cutter.feed.desk is not None,
                }
                for cutter in self.application.hub.cutters
            ],
            "themes": {
                theme: {sides: palette(theme, sides) for sides in SIDES[theme]} for theme in THEMES
            },
        }
        text = json.dumps(boot).replace("<", "\\u003c")
        page = (_STATIC / "page.html").read_text(encoding="utf-8")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(page.replace("{{css}}", css_variables()).replace("{{boot}}", text))


class ScreenSocket(WSHandler):
    """The socket of one browser; of Bokeh's protocol it serves only what a screen needs.

    Changes that a browser makes to its copy of the document are not applied: nothing reads them.
    """

    _screen: Screen | None = None
    _bucket: TokenBucket | None = None

    def open(self) -> None:
        """Begin to serve a browser."""
        self.application.sockets.add(self)
        super().open()

    async def _handle(self, message: Message[Any]) -> Any:
        now_s = asyncio.get_running_loop().time()
        if self._bucket is None:
            self._bucket = TokenBucket(MESSAGES_PER_S, MESSAGES_BURST, now_s)
        if not self._bucket.take(now_s):
            self.close(POLICY_VIOLATION, "too many messages")
            return None
        if message.msgtype in {"PULL-DOC-REQ", "SERVER-INFO-REQ"}:
            return await super()._handle(message)
        try:
            if message.msgtype != "PATCH-DOC":
                raise InputError(f"a browser sent {message.msgtype}")
            for event in message.content["events"]:
                if event["kind"] == "MessageSent" and event["msg_type"] == "flowtape":
                    self._receive_text(event["msg_data"], now_s)
        except (InputError, KeyError, TypeError) as error:
            self.close(POLICY_VIOLATION, str(error)[:120])
            return None
        return self.connection.ok(message)

    def _receive_text(self, text: str, now_s: float) -> None:
        if self._screen is None:
            self._screen = self.application.hub.add(self._send)
        self._screen.receive(text, now_s)

    async def _send(self, kind: str, content: bytes | str) -> None:
        if self.connection is not None:
            document = self.connection.session.document
            await self.connection.send_patch_document(MessageSentEvent(document, kind, content))

    async def send_message(self, message: Message[Any]) -> None:
        """Send unless the browser has just left, which is no news."""
        with contextlib.suppress(WebSocketClosedError):
            await message.send(self)

    def on_close(self) -> None:
        """Forget the screen."""
        self.application.sockets.discard(self)
        if self._screen is not None:
            self.application.hub.drop(self._screen)
        super().on_close()


def _refuse(handler: RequestHandler, refusal: Refusal) -> None:
    page = (_STATIC / "refusal.html").read_text(encoding="utf-8")
    title = f"{refusal.status} {refusal.status.phrase}"
    handler.set_status(refusal.status)
    handler.set_header("Cache-Control", "no-store")
    handler.finish(page.replace("{{title}}", title).replace("{{text}}", escape(refusal.text)))
