"""Who may have a session's inputs: Host, Origin and token of every request."""

import hmac
import secrets

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDictProxy

from flowtape.stream.errors import InputError

TOKEN_LEAST = 16

_NAMES = {"127.0.0.1", "localhost", "[::1]"}


def token_of(given: str | None) -> str:
    """Return the token that was given, or a new one.

    Raises InputError for one that is short or would need quoting in a URL.
    """
    if given is None:
        return secrets.token_urlsafe(32)
    if len(given) < TOKEN_LEAST or not given.isascii() or not _is_plain(given):
        raise InputError(
            f"a hub's token must have {TOKEN_LEAST} letters, digits, - or _ or more; "
            "leave it out to have one made"
        )
    return given


def _is_plain(text: str) -> bool:
    return all(c.isalnum() or c in "-_" for c in text)


class HubGate:
    """The checks before every answer; each request carries the token, as `?token=`."""

    def __init__(self, token: str) -> None:
        self._token = token

    def refusal(self, request: web.Request) -> tuple[int, str] | None:
        """Return status and words for a request that is refused, or None."""
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or _name_of(hosts[0]) not in _NAMES:
            # A site whose name was made to lead here would have its own name in it.
            return 421, "This hub does not answer for that host name."
        if _is_of_a_browser(request.headers):
            return 403, "Browsers are refused: watch with flowtape watch."
        given = request.query.get("token")
        if given is None:
            return 401, "the token is missing; use the whole address that flowtape live printed"
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return 403, "the token is not the hub's; each start has a new one unless it was given"
        return None

    def middleware(self) -> Middleware:
        """Return what has an application refuse them."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            refused = self.refusal(request)
            if refused is not None:
                status, words = refused
                return web.Response(status=status, text=words)
            return await handler(request)

        return check


async def add_safe_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Keep other sites from making anything of an answer."""
    response.headers["Server"] = "flowtape"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"


def _name_of(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdecimal() else host.lower()


def _is_of_a_browser(headers: CIMultiDictProxy[str]) -> bool:
    return "Origin" in headers or "Sec-Fetch-Site" in headers
