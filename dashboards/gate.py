"""Who may talk to the server: Host, Origin and cookie of every request, and the safe headers."""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform

from flowtape.stream.errors import InputError


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served."""

    status: HTTPStatus
    text: str


_NO_LINK = "Open the link that flowtape printed in the terminal; it holds the key to this screen."
_USED_LINK = (
    "This link was used already or belongs to an earlier start. flowtape prints a new one in the "
    "terminal each time a link is used."
)


def loopback_host(host: str) -> str:
    """Return `host` if it is a loopback address; raises InputError for every other one."""
    if host == "localhost":
        return host
    try:
        if ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise InputError(
        f"the dashboard listens on this computer only: {host!r} is not 127.0.0.1, ::1 or localhost"
    )


class Gate:
    """The checks of one running server.

    A person gets in by a link whose key works once; it is exchanged for a cookie that scripts
    cannot read and other sites cannot send. Key and cookie are random and new at every start.
    """

    def __init__(self, host: str, port: int, on_link: Callable[[str], None]) -> None:
        names = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host}
        self.hosts = frozenset(f"{name}:{port}" for name in names) | (
            names if port == 80 else frozenset()
        )
        self._base = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._key = secrets.token_urlsafe(32)
        self._cookie = secrets.token_urlsafe(32)
        self._on_link = on_link
        self.cookie_name = f"flowtape_{port}"

    @property
    def link(self) -> str:
        """The address that lets one browser in; a used link is replaced by a new one."""
        return f"{self._base}/?token={self._key}"

    def refusal(self, request: HTTPServerRequest) -> Refusal | None:
        """Return why a request is refused before anyone asks who sent it, or None."""
        hosts = request.headers.get_list("Host")
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return Refusal(
                HTTPStatus.MISDIRECTED_REQUEST, "This server does not answer for that host name."
            )
        if request.method not in {"GET", "HEAD"}:
            return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is served here.")
        origins = request.headers.get_list("Origin")
        is_socket = request.headers.get("Upgrade", "").lower() == "websocket"
        if (is_socket or origins) and origins != [f"http://{hosts[0]}"]:
            return Refusal(HTTPStatus.FORBIDDEN, "Requests of other sites are refused.")
        return None

    def redeem(self, key: str) -> str | None:
        """Return the cookie's value for a valid key, which from then on is void."""
        if not hmac.compare_digest(key.encode(), self._key.encode()):
            return None
        self._key = secrets.token_urlsafe(32)
        self._on_link(self.link)
        return self._cookie

    def stranger(self, request: HTTPServerRequest) -> Refusal | None:
        """Return why the sender is not let in, or None for the owner of the cookie."""
        cookie = request.cookies.get(self.cookie_name)
        if cookie is None:
            return Refusal(HTTPStatus.UNAUTHORIZED, _NO_LINK)
        if not hmac.compare_digest(cookie.value.encode(), self._cookie.encode()):
            return Refusal(HTTPStatus.FORBIDDEN, _USED_LINK)
        return None

    @property
    def void_link(self) -> Refusal:
        """What the holder of a used or wrong key gets."""
        return Refusal(HTTPStatus.FORBIDDEN, _USED_LINK)


class SafeHeaders(OutputTransform):
    """Adds the headers that keep other sites and injected scripts out to every response."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self._host = request.headers.get("Host", "")

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Add the headers and leave the rest alone."""
        socket = "" if status_code == HTTPStatus.MISDIRECTED_REQUEST else f" ws://{self._host}"
        headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
            f"img-src 'self' data:; connect-src 'self'{socket}; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
        headers["X-Frame-Options"] = "DENY"
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers.pop("Server", None)
        return status_code, headers, chunk


class TokenBucket:
    """A limit of `rate_per_s` on average, with bursts of up to `burst_count`."""

    def __init__(self, rate_per_s: float, burst_count: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst_count = burst_count
        self._level = burst_count
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Count one event and tell whether it is within the limit."""
        filled = self._level + (now_s - self._at_s) * self._rate_per_s
        self._level = min(self._burst_count, filled)
        self._at_s = now_s
        if self._level < 1:
            return False
        self._level -= 1
        return True
