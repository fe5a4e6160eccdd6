"""Keys of a paper account, and signed queries checked against them as Binance does."""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from flowtape.connectors.binance.decode import MICROSECONDS_FROM
from flowtape.connectors.venue.paper_sent import missing
from flowtape.connectors.venue.queries import BadQueryError

KEY_CHARS = 64
AHEAD_US = 1_000_000
WINDOW_MS, WINDOW_MS_MAX = 5_000, 60_000

_LETTERS = string.ascii_letters + string.digits
_KEY = re.compile(rf"[A-Za-z0-9]{{{KEY_CHARS}}}")
_WINDOW = re.compile(r"\d{1,9}(\.\d{1,3})?", re.ASCII)
_TIME = re.compile(r"\d{1,18}", re.ASCII)


def made_key() -> str:
    """Return a new random key of the form of Binance's."""
    return "".join(secrets.choice(_LETTERS) for _ in range(KEY_CHARS))


@dataclass(frozen=True, slots=True)
class PaperKeys:
    """What names a paper account and what its queries are signed with; good on one venue only."""

    api_key: str
    secret: str

    @classmethod
    def made(cls) -> "PaperKeys":
        """Return new random keys."""
        return cls(made_key(), made_key())

    def check_key(self, given: str) -> None:
        """Refuse a key that is not the account's."""
        if not _KEY.fullmatch(given):
            raise BadQueryError(-2014, "API-key format invalid.", status=401)
        if not hmac.compare_digest(given, self.api_key):
            raise BadQueryError(
                -2015, "Invalid API-key, IP, or permissions for action.", status=401
            )

    def check_signature(self, given: str, *messages: bytes) -> None:
        """Refuse a signature that is of none of the messages."""
        for message in messages:
            made = hmac.new(self.secret.encode(), message, hashlib.sha256).hexdigest()
            if hmac.compare_digest(made.encode(), given.lower().encode()):
                return
        raise BadQueryError(-1022, "Signature for this request is not valid.")


def parameters(query: bytes, body: bytes) -> tuple[dict[str, str], bytes]:
    """Return a query's parameters and what its signature is of.

    That is the text of the query followed by that of the body, as sent, without the signature.
    """
    values: dict[str, str] = {}
    signed = b""
    for part in (query, body):
        signed += b"&".join(
            one for one in part.split(b"&") if one and not one.startswith(b"signature=")
        )
        seen: set[str] = set()
        for name, value in parse_qsl(part.decode("utf-8", "replace"), keep_blank_values=True):
            if name in seen:
                raise BadQueryError(-1101, f"Duplicate values for parameter '{name}' detected.")
            seen.add(name)
            values.setdefault(name, value)
    return values, signed


def socket_messages(values: Mapping[str, str]) -> tuple[bytes, ...]:
    """Return what the signature of a request over a WebSocket may be of."""
    pairs = sorted((name, value) for name, value in values.items() if name != "signature")
    plain = "&".join(f"{name}={value}" for name, value in pairs)
    return plain.encode("utf-8", "replace"), urlencode(pairs, errors="replace").encode()


def check_time(values: Mapping[str, str], *now_us: int) -> None:
    """Refuse a timestamp that is in the window of none of the clocks."""
    window_text = values.get("recvWindow", str(WINDOW_MS))
    if not _WINDOW.fullmatch(window_text):
        raise BadQueryError(
            -1100,
            "Illegal characters found in parameter 'recvWindow'; "
            r"legal range is '^\d{1,9}(\.\d{1,3})?$'.",
        )
    window_us = round(float(window_text) * 1_000)
    if window_us > WINDOW_MS_MAX * 1_000:
        raise BadQueryError(-1131, f"recvWindow must be less than {WINDOW_MS_MAX}.")
    text = values.get("timestamp", "")
    if not _TIME.fullmatch(text):
        raise missing("timestamp")
    sent_us = int(text) if int(text) >= MICROSECONDS_FROM else int(text) * 1_000
    late = [now - sent_us for now in now_us]
    if any(-AHEAD_US < by <= window_us for by in late):
        return
    if all(by <= -AHEAD_US for by in late):
        msg = "Timestamp for this request was 1000ms ahead of the server's time."
    else:
        msg = "Timestamp for this request is outside of the recvWindow."
    raise BadQueryError(-1021, msg)
