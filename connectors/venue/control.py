"""The control messages of a market data connection, answered as Binance answers them."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from flowtape.connectors.binance.messages import (
    ApiError,
    ErrorReply,
    FlatErrorReply,
    Reply,
    Request,
    RequestId,
    encode,
)
from flowtape.connectors.venue.faults import Deny

STREAMS_MAX = 1_024
ID_CHARS_MAX = 36
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")

_request = msgspec.json.Decoder(Request)


@dataclass(slots=True)
class Subscriptions:
    """What one connection asked for; `flat_errors` answers in the form the documentation prints.

    `muted` streams bring nothing although they were asked for: until they are asked for again, or,
    where True, as long as the connection lives.
    """

    combined: bool
    micros: bool
    streams: dict[str, None] = field(default_factory=dict)
    flat_errors: bool = False
    streams_max: int = STREAMS_MAX
    muted: dict[str, bool] = field(default_factory=dict)

    def answer(self, text: str, deny: Deny | None = None) -> bytes | None:
        """Perform a control message and return its reply, if it is to have one.

        `deny` is what a SUBSCRIBE meets.
        """
        request_id: RequestId | UnsetType = UNSET
        try:
            request = _parse(text)
            request_id = _request_id(request)
            if deny is not None:
                if deny.how == "unanswered":
                    return None
                if deny.how == "error":
                    raise _RefusedError(deny.code, deny.msg)
                self.muted.update(dict.fromkeys(_names(request), True))
            return encode(Reply(self._perform(request), request_id))
        except _RefusedError as refused:
            error = refused.error
        if self.flat_errors:
            return encode(FlatErrorReply(error.code, error.msg, request_id))
        return encode(ErrorReply(error, request_id))

    def subscribe(self, names: list[str]) -> None:
        """Add streams; names of no stream are accepted and stay silent."""
        if len(self.streams.keys() | set(names)) > self.streams_max:
            raise _RefusedError(4, "Too many subscriptions")
        self.streams.update(dict.fromkeys(names))
        for name in names:
            if not self.muted.get(name, True):
                del self.muted[name]

    def _perform(self, request: Request) -> Any:
        match request.method:
            case "SUBSCRIBE":
                self.subscribe(_names(request))
            case "UNSUBSCRIBE":
                for name in _names(request):
                    self.streams.pop(name, None)
            case "LIST_SUBSCRIPTIONS":
                return list(self.streams)
            case "SET_PROPERTY":
                _, value = _property(request, 2)
                if not isinstance(value, bool):
                    raise _RefusedError(1, "Invalid value type: expected Boolean")
                self.combined = value
            case "GET_PROPERTY":
                _property(request, 1)
                return self.combined
        return None


def subscribes(text: str) -> bool:
    """Tell whether a control message asks for streams."""
    try:
        return _parse(text).method == "SUBSCRIBE"
    except _RefusedError:
        return False


class _RefusedError(Exception):
    def __init__(self, code: int, msg: str) -> None:
        super().__init__(msg)
        self.error = ApiError(code, msg)


def _parse(text: str) -> Request:
    try:
        request = _request.decode(text)
    except msgspec.ValidationError:
        raise _RefusedError(2, "Invalid request: method must be a string") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise _RefusedError(3, "Invalid JSON: expected value at line 1 column 1") from None
    where = f"at line 1 column {len(text)}"
    if request.method is UNSET:
        raise _RefusedError(2, f"Invalid request: missing field `method` {where}")
    if request.method not in METHODS:
        known = ", ".join(f"`{method}`" for method in METHODS)
        raise _RefusedError(
            2,
            f"Invalid request: unknown variant {request.method}, expected one of {known} {where}",
        )
    return request


def _request_id(request: Request) -> RequestId:
    request_id = request.id
    if request_id is None or (isinstance(request_id, str) and len(request_id) <= ID_CHARS_MAX):
        return request_id
    if isinstance(request_id, int) and not isinstance(request_id, bool):
        return request_id
    raise _RefusedError(2, "Invalid request: request ID must be an unsigned integer")


def _names(request: Request) -> list[str]:
    names = request.params
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _RefusedError(2, "Invalid request: params must be a list of strings")
    return names


def _property(request: Request, count: int) -> list[Any]:
    params = request.params if isinstance(request.params, list) else []
    if not params or not isinstance(params[0], str):
        raise _RefusedError(2, "Invalid request: property name must be a string")
    if len(params) > count:
        raise _RefusedError(2, "Invalid request: too many parameters")
    if params[0] != "combined":
        raise _RefusedError(0, "Unknown property")
    return params + [None] * (count - len(params))
