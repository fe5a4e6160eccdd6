"""What was asked of the venue, written down so that it can be asked again."""

from collections.abc import Iterator
from enum import IntEnum

import numpy as np

from flowtape._kernel import Kernel
from flowtape.stream.errors import FlowError
from flowtape.stream.records import Records

ALL_MARKETS = 0xFFFF_FFFF


class CommandKind(IntEnum):
    """What a command asks for."""

    PLACE = 1
    CANCEL = 2
    CANCEL_ALL = 3
    AMEND = 4
    ANCHOR = 5


class Origin(IntEnum):
    """Who asked."""

    STRATEGY = 1
    PERSON = 2


class DiffersError(FlowError):
    """A session does not lead again to what it led to."""


def calls_of(commands: Records) -> Iterator[Records]:
    """Yield commands in their order, those of one call together."""
    if len(commands) <= 1:
        if len(commands):
            yield commands
        return
    new = (np.diff(commands["input"]) != 0) | (np.diff(commands["place"].astype(np.int64)) != 0)
    yield from np.split(commands, np.flatnonzero(new) + 1)


def repeat(kernel: Kernel, call: Records) -> None:
    """Ask a kernel again for what one call asked for.

    Raises KernelError where it refuses, DiffersError where orders get other ids.
    """
    first, request = call[0], call[0]["request"]
    ts_us, market = int(first["ts_us"]), int(request["market"])
    kind = CommandKind(int(first["kind"]))
    if kind is CommandKind.PLACE:
        requests = np.ascontiguousarray(call["request"]).view(np.uint8)
        ids, recorded = kernel.place(ts_us, requests), call["order_id"].tolist()
        for then, now in zip(recorded, ids, strict=True):
            if then != now:
                raise DiffersError(
                    f"behind input {int(first['input'])} an order was number {then}, now it is "
                    f"{now}"
                )
    elif kind is CommandKind.CANCEL:
        kernel.cancel(ts_us, int(first["order_id"]))
    elif kind is CommandKind.CANCEL_ALL:
        kernel.cancel_all(ts_us, -1 if market == ALL_MARKETS else market)
    elif kind is CommandKind.AMEND:
        new = (int(request[name]) for name in ("qty_lots", "price_ticks", "trigger_ticks"))
        kernel.amend(ts_us, int(first["order_id"]), *new)
    else:
        kernel.anchor(int(request["client_id"]), market)
