"""People's orders, as the engine's own thread carries them out."""

from flowtape.stream.engine import Engine
from flowtape.stream.errors import InputError
from flowtape.stream.orders import Orders, Request
from flowtape.stream.ports import Ticket


def carry_out(engine: Engine, ticket: Ticket, clock_us: int) -> int:
    """Do what a person asks for at a time; returns the order's number, 0 when there is none.

    Nobody can ask before stream time: an earlier `clock_us` is that. Raises InputError for what
    makes no sense and KernelError with the venue's reason, and then nothing has changed.
    """
    if not 0 <= ticket.market < len(engine.markets):
        raise InputError(f"there is no instrument {ticket.market} here")
    if engine.ended:
        raise InputError("the session has ended; there is nothing left to trade on")
    orders = engine.orders_of_person(clock_us)
    market = engine.markets[ticket.market]
    market.look_again()
    order_id = _do(orders, ticket, market.position_lots)
    engine.show()
    return order_id


def _do(orders: Orders, ticket: Ticket, position_lots: int) -> int:
    if ticket.kind == "cancel_all":
        orders.cancel_all(ticket.market)
    elif ticket.kind == "cancel":
        orders.cancel(ticket.order_id)
    elif ticket.kind == "flatten":
        return orders.flatten(position_lots, ticket.market) or 0
    else:
        request = Request(
            side=ticket.side,
            qty_lots=ticket.qty_lots,
            limit_ticks=ticket.limit_ticks,
            market=ticket.market,
        )
        return orders.place(request)[0]
    return 0
