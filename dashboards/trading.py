"""The tickets of a screen: each is carried out once, in order, and answered."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from flowtape.dashboards.gate import TokenBucket
from flowtape.dashboards.messages import Cancel, CancelAll, Flatten, Order, Trading
from flowtape.stream.errors import FlowError
from flowtape.stream.ports import Feed, Ticket

ORDERS_PER_S = 5.0
COMMANDS_KEPT = 4096

Answer = tuple[str, dict[str, str | int]]
"""The kind of a note, `order_done` or `order_refused`, and its content."""

_log = logging.getLogger(__name__)


class Tickets:
    """What one screen asked for.

    A command that comes again is answered again and not carried out again; that holds for the
    newest `COMMANDS_KEPT` of them. No more than `ORDERS_PER_S` are taken a second.
    """

    def __init__(self, answer: Callable[[Answer], Awaitable[None]], now_s: float) -> None:
        self._answer = answer
        self._bucket = TokenBucket(ORDERS_PER_S, ORDERS_PER_S, now_s)
        self._answers: dict[str, Answer | None] = {}

    async def take(self, feed: Feed, message: Trading, turn: asyncio.Lock, now_s: float) -> None:
        """Carry out what a person asked for once it is its `turn`, and answer."""
        cmd_id = message.cmd_id
        if cmd_id in self._answers:
            earlier = self._answers[cmd_id]
            if earlier is not None:
                await self._answer(earlier)
            return
        if not self._bucket.take(now_s):
            reason = f"more than {ORDERS_PER_S:.0f} in a second; this one was not sent"
            await self._answer(_refused(cmd_id, reason))
            return
        self._answers[cmd_id] = None
        if len(self._answers) > COMMANDS_KEPT:
            del self._answers[next(iter(self._answers))]
        async with turn:
            answer = await _carry_out(feed, message)
        self._answers[cmd_id] = answer
        await self._answer(answer)


async def _carry_out(feed: Feed, message: Trading) -> Answer:
    if feed.desk is None:
        return _refused(message.cmd_id, "this screen may look, but not trade")
    if feed.transport.state().looking_back:
        return _refused(message.cmd_id, "the screen looks back; jump to now to trade")
    try:
        order_id = await asyncio.to_thread(feed.desk.ask, _ticket(message, feed.market))
    except FlowError as error:
        return _refused(message.cmd_id, str(error))
    except Exception:
        _log.exception("the order desk failed")
        reason = "the order desk failed, and it is not known how far it came; look at the orders"
        return _refused(message.cmd_id, reason)
    return "order_done", {"cmd_id": message.cmd_id, "order_id": order_id}


def _refused(cmd_id: str, reason: str) -> Answer:
    return "order_refused", {"cmd_id": cmd_id, "reason": reason}


def _ticket(message: Trading, market: int) -> Ticket:
    match message:
        case Order():
            return Ticket(
                "order",
                market,
                side=message.side,
                qty_lots=message.qty_lots,
                limit_ticks=message.limit_ticks,
            )
        case Cancel():
            return Ticket("cancel", market, order_id=message.order_id)
        case CancelAll():
            return Ticket("cancel_all", market)
        case Flatten():
            return Ticket("flatten", market)
