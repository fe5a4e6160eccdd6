"""docs/EXECUTION.md rule by rule: instructions, brackets and pairs."""

from tests.kernel.config import (
    GROUP,
    OPTIMISTIC,
    PESSIMISTIC,
    PPM,
    Change,
    Config,
    Flag,
    Kind,
    Lane,
    Request,
    Tif,
)
from tests.kernel.conftest import MakeDesk
from tests.kernel.desk import BUY, SELL, Fill

MAKER, TAKER = "MAKER", "TAKER"


# Instructions


def test_ioc_fills_during_the_moment_of_its_first_print(desk: MakeDesk) -> None:
    d = desk(ioc_window_us=5)
    d.print(1000, 100, 5, BUY)
    order = d.market(BUY, 50, time_in_force=Tif.IOC)
    d.print(1010, 100, 5, BUY)
    d.print(1010, 101, 5, BUY)
    d.print(1015, 102, 5, BUY)
    d.print(1016, 103, 5, BUY)
    assert d.fills(order) == [Fill(100, 5, TAKER), Fill(101, 5, TAKER), Fill(102, 5, TAKER)]
    assert d.last(order) == "EXPIRED:NOTHING_LEFT"
    assert d.events(order, Change.EXPIRED)[0][:2] == (4, 1015)


def test_ioc_of_a_triggered_order_counts_from_its_first_print_after_the_trigger(
    desk: MakeDesk,
) -> None:
    d = desk(ioc_window_us=5)
    d.print(1000, 100, 5, BUY)
    order = d.order(Kind.STOP, BUY, 9, trigger_ticks=105, time_in_force=Tif.IOC)
    d.print(1001, 105, 5, BUY)
    d.print(1020, 105, 5, BUY)
    d.print(1026, 105, 5, BUY)
    assert d.fills(order) == [Fill(105, 5, TAKER)]
    assert d.story(order)[2:] == ["TRIGGERED", "TAKING", "EXPIRED:NOTHING_LEFT"]
    assert d.events(order, Change.EXPIRED)[0][1] == 1025


def test_ioc_that_is_not_marketable_expires_at_once(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    at_arrival = d.limit(BUY, 5, 99, time_in_force=Tif.IOC)
    at_a_print = d.limit(BUY, 5, 100, time_in_force=Tif.IOC)
    d.print(1001, 101, 5, BUY)
    assert d.story(at_arrival) == ["PLACED", "EXPIRED:NOTHING_LEFT"]
    assert d.story(at_a_print) == ["PLACED", "TAKING", "EXPIRED:NOTHING_LEFT"]


def test_fok_takes_all_from_its_first_print_or_nothing_in_each_lane(desk: MakeDesk) -> None:
    """Of a print of 10 the lanes get at most 10, 5 and 2."""
    d = desk(Config())
    d.print(1000, 100, 10, BUY)
    six, two = (
        d.limit(BUY, 6, 100, time_in_force=Tif.FOK),
        d.market(BUY, 2, time_in_force=Tif.FOK),
    )
    away = d.limit(BUY, 1, 99, time_in_force=Tif.FOK)
    d.print(1001, 100, 10, BUY)
    assert d.filled(six) == (6, 0, 0)
    assert d.filled(two) == (2, 2, 2)
    assert [d.last(six, lane) for lane in range(3)] == [
        "FILLED",
        "EXPIRED:NOT_ENOUGH",
        "EXPIRED:NOT_ENOUGH",
    ]
    assert d.last(away) == "EXPIRED:NOT_ENOUGH"


def test_post_only_is_rejected_when_it_would_take(desk: MakeDesk) -> None:
    d = desk()
    d.side.clock(900)
    before_any = d.limit(BUY, 1, 100, flags=Flag.POST_ONLY)
    d.print(1000, 100, 5, BUY)
    takes = d.limit(BUY, 1, 100, flags=Flag.POST_ONLY)
    rests = d.limit(BUY, 1, 99, flags=Flag.POST_ONLY)
    stop = d.order(Kind.STOP_LIMIT, BUY, 1, 107, trigger_ticks=105, flags=Flag.POST_ONLY)
    d.print(1001, 106, 5, BUY)
    assert d.story(before_any)[:2] == ["PLACED", "RESTING"]
    assert d.story(takes) == ["PLACED", "REJECTED:WOULD_TAKE"]
    assert d.story(rests) == ["PLACED", "RESTING"]
    assert d.story(stop) == ["PLACED", "WAITING", "TRIGGERED", "REJECTED:WOULD_TAKE"]


def test_reduce_only_needs_a_position_and_never_turns_it(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    without = d.market(SELL, 5, flags=Flag.REDUCE_ONLY)
    d.market(BUY, 3)
    d.print(1001, 100, 5, BUY)
    assert d.story(without) == ["PLACED", "REJECTED:NOTHING_TO_REDUCE"]
    order = d.market(SELL, 5, flags=Flag.REDUCE_ONLY)
    d.print(1002, 100, 5, SELL)
    assert d.fills(order) == [Fill(100, 3, TAKER)]
    assert d.is_open(order)
    d.print(1003, 100, 5, SELL)
    assert d.last(order) == "CANCELED:NOTHING_TO_REDUCE"
    assert d.position() == 0


def test_close_position_asks_each_lane_for_what_it_holds(desk: MakeDesk) -> None:
    """Of a print of 20 the lanes hold 8 (all asked), 8 and 4."""
    d = desk(Config())
    d.print(1000, 100, 20, BUY)
    d.market(BUY, 8, time_in_force=Tif.IOC)
    d.print(1001, 100, 20, BUY)
    assert [d.position(lane) for lane in range(3)] == [8, 8, 4]
    order = d.market(SELL, 0, flags=Flag.CLOSE_POSITION)
    for ts in (1002, 1003):
        d.print(ts, 100, 20, SELL)
    assert d.filled(order) == (8, 8, 4)
    assert [d.position(lane) for lane in range(3)] == [0, 0, 0]
    assert not d.is_open(order)


def test_close_position_of_a_stop_sizes_itself_at_the_trigger(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 9, BUY)
    d.market(BUY, 3)
    d.print(1001, 100, 9, BUY)
    stop = d.order(Kind.STOP, SELL, 0, trigger_ticks=95, flags=Flag.CLOSE_POSITION)
    d.market(BUY, 4)
    d.print(1002, 100, 9, BUY)
    d.print(1003, 95, 9, SELL)
    d.print(1004, 94, 9, SELL)
    assert d.fills(stop) == [Fill(94, 7, TAKER)]
    assert d.position() == 0


def test_close_position_without_a_position_is_rejected(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 9, BUY)
    order = d.market(SELL, 0, flags=Flag.CLOSE_POSITION)
    d.side.clock(1001)
    assert d.story(order) == ["PLACED", "REJECTED:NOTHING_TO_REDUCE"]


def test_iceberg_fills_a_part_on_show_at_its_price_and_all_through_it(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    order = d.limit(BUY, 20, 99, display_lots=3)
    d.print(1001, 99, 50, SELL)
    d.print(1002, 99, 2, SELL)
    d.print(1003, 99, 50, SELL)
    assert d.fills(order) == [Fill(99, 3, MAKER), Fill(99, 2, MAKER), Fill(99, 1, MAKER)]
    assert d.story(order) == ["PLACED", "RESTING", "SLICED", "SLICED"]
    d.print(1004, 98, 50, SELL)
    assert d.fills(order)[3:] == [Fill(99, 14, MAKER)]
    assert d.last(order) == "FILLED"


def test_icebergs_next_part_goes_behind_an_untouched_level(desk: MakeDesk) -> None:
    """Levels of 6 are ahead; 4 of the present one have traded when the order comes to rest."""
    d = desk(Config(lane_count=1, lanes=(Lane(500_000, PPM),) * 3))
    bottom = d.break_levels(1000, SELL, 6)
    d.print(1001, bottom + 20, 1, BUY)
    d.print(1002, bottom + 9, 4, SELL)  # a new level, higher
    order = d.limit(BUY, 10, bottom + 9, display_lots=3)
    d.print(1003, bottom + 20, 1, BUY)
    assert d.queue(order) == 2
    d.print(1004, bottom + 9, 9, SELL)  # 2 ahead, 3 on show
    assert d.filled(order) == (3,)
    assert d.queue(order) == 6
    d.print(1005, bottom + 9, 6, SELL)
    assert d.filled(order) == (3,)
    d.print(1006, bottom + 9, 1, SELL)
    assert d.filled(order) == (4,)


# Brackets and pairs


def bracket(entry: int, exits: tuple[int, int], qty: int) -> tuple[Request, ...]:
    """An entry at a limit price with a take-profit and a stop that form a pair."""
    profit, loss = exits
    return (
        Request(kind=Kind.LIMIT, side=BUY, qty_lots=qty, price_ticks=entry),
        Request(kind=Kind.LIMIT, side=SELL, qty_lots=qty, price_ticks=profit, parent_id=GROUP),
        Request(
            kind=Kind.STOP,
            side=SELL,
            qty_lots=qty,
            trigger_ticks=loss,
            parent_id=GROUP,
            sibling_id=GROUP + 1,
        ),
    )


def test_bracket_waits_for_its_parent_and_grows_with_it(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    entry, profit, loss = d.place(*bracket(99, (105, 90), 10))
    d.print(1001, 99, 4, SELL)
    assert d.filled(entry) == (4,)
    assert d.story(profit) == ["PLACED", "RELEASED", "RESTING"]
    assert d.story(loss) == ["PLACED", "RELEASED", "WAITING"]
    d.print(1002, 99, 3, SELL)
    assert [row[7] for row in d.events(profit, Change.RELEASED)] == [4, 3]
    d.print(1003, 106, 5, BUY)
    assert d.fills(profit) == [Fill(105, 5, MAKER)]
    assert [row[7] for row in d.events(loss, Change.REDUCED)] == [5]
    assert d.position() == 2


def test_a_pair_ends_together_once_all_is_filled(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    entry, profit, loss = d.place(*bracket(99, (105, 90), 4))
    d.print(1001, 98, 9, SELL)
    d.print(1002, 106, 3, BUY)
    assert d.is_open(loss)
    d.print(1003, 106, 3, BUY)
    assert d.last(entry) == d.last(profit) == "FILLED"
    assert d.story(loss)[-2:] == ["REDUCED", "CANCELED:BY_SIBLING"]
    assert d.position() == 0


def test_a_trigger_ends_the_sibling_in_all_lanes(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    _, profit, loss = d.place(*bracket(99, (105, 90), 4))
    d.print(1001, 98, 9, SELL)
    d.print(1002, 90, 9, SELL)
    assert d.last(profit) == "CANCELED:BY_SIBLING"
    d.print(1003, 88, 9, SELL)
    assert d.fills(loss) == [Fill(88, 4, TAKER)]


def test_a_parent_that_ends_without_a_fill_ends_its_children(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    entry, profit, loss = d.place(*bracket(99, (105, 90), 4))
    d.side.clock(1001)
    d.cancel(entry)
    d.side.clock(1002)
    assert d.last(entry) == "CANCELED:BY_COMMAND"
    assert d.last(profit) == d.last(loss) == "CANCELED:BY_PARENT"
    assert d.side.orders() == []


def test_children_keep_what_a_canceled_parent_has_filled(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    entry, profit, _ = d.place(*bracket(99, (105, 90), 4))
    d.print(1001, 99, 1, SELL)
    d.cancel(entry)
    d.print(1002, 106, 9, BUY)
    assert d.fills(profit) == [Fill(105, 1, MAKER)]
    assert d.last(profit) == "FILLED"
    assert d.side.orders() == []


def test_a_child_filled_up_waits_for_more_of_its_parent(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    entry, profit, loss = d.place(*bracket(99, (105, 90), 4))
    d.print(1001, 99, 1, SELL)
    d.print(1002, 106, 9, BUY)
    assert d.filled(profit) == (1,)
    assert d.is_open(profit)
    assert d.is_open(loss)
    d.print(1003, 99, 3, SELL)
    assert d.last(entry) == "FILLED"
    d.print(1004, 106, 9, BUY)
    assert d.filled(profit) == (4,)
    assert d.last(loss) == "CANCELED:BY_SIBLING"


def test_the_base_lane_decides_about_the_release(desk: MakeDesk) -> None:
    """At 100 only the optimistic lane is first in line; a print through 100 fills all lanes."""
    d = desk(Config())
    d.print(1000, 101, 5, BUY)
    entry, profit, _ = d.place(*bracket(100, (105, 90), 10))
    d.print(1001, 100, 4, SELL)
    assert d.filled(entry) == (4, 0, 0)
    assert d.story(profit, OPTIMISTIC) == ["PLACED", "RELEASED"]
    d.print(1002, 99, 4, SELL)
    assert d.filled(entry) == (8, 2, 1)
    assert d.story(profit) == ["PLACED", "RELEASED", "RESTING"]
    d.print(1003, 106, 20, BUY)
    assert d.filled(profit) == (8, 2, 1)


def test_a_child_arrives_after_its_own_latency_or_with_its_parents_fill(desk: MakeDesk) -> None:
    """With seed 7 order 1 draws value 28 of the table for its way, and order 2 value 32."""
    table = [0] * 64
    table[32] = 50
    d = desk(seed=7, latencies_us=tuple(table))
    d.print(1000, 100, 5, BUY)
    entry = Request(kind=Kind.MARKET, qty_lots=5)
    stop = Request(kind=Kind.STOP, side=SELL, qty_lots=5, trigger_ticks=90, parent_id=GROUP)
    _, child = d.place(entry, stop)
    d.print(1001, 100, 5, BUY)
    assert d.story(child) == ["PLACED", "RELEASED"]
    d.print(1020, 80, 5, SELL)
    d.side.clock(1060)
    assert d.story(child)[2:] == ["WAITING"]
    assert d.events(child, Change.WAITING)[0][1] == 1050
    d.print(1061, 80, 5, SELL)
    assert d.last(child) == "TAKING"


def test_a_child_placed_late_asks_for_what_its_parent_has_filled(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    entry = d.limit(BUY, 10, 99)
    d.print(1001, 99, 4, SELL)
    child = d.limit(SELL, 10, 105, parent_id=entry)
    d.print(1002, 106, 9, BUY)
    assert d.fills(child) == [Fill(105, 4, MAKER)]
    assert d.is_open(child)


def test_a_trigger_of_a_ghost_ends_its_sibling_only_where_it_is_open_itself(
    desk: MakeDesk,
) -> None:
    """The stop of 5 is used up by its sibling's fills of 10 and 5, but not by 2."""
    d = desk(Config())
    d.print(1000, 100, 10, BUY)
    stop, limit = d.place(
        Request(kind=Kind.STOP, qty_lots=5, trigger_ticks=110),
        Request(qty_lots=20, price_ticks=99, sibling_id=GROUP),
    )
    d.print(1001, 98, 10, SELL)
    assert d.filled(limit) == (10, 5, 2)
    d.print(1002, 110, 10, BUY)
    assert [d.last(limit, lane) for lane in range(3)] == [
        "RESTING",
        "RESTING",
        "CANCELED:BY_SIBLING",
    ]
    assert d.last(stop, PESSIMISTIC) == "TAKING"


def test_a_parent_without_a_fill_in_a_lane_ends_a_sized_child_there_too(desk: MakeDesk) -> None:
    """A position of 3, 3 and 2 is held; the entry's only print is of the other side, so the
    pessimistic lane gets nothing of it, and its close-position child goes with it.
    """
    d = desk(Config())
    d.print(1000, 100, 10, BUY)
    d.market(BUY, 3, time_in_force=Tif.IOC)
    d.print(1001, 100, 10, BUY)
    d.side.clock(1002)
    entry = Request(kind=Kind.MARKET, qty_lots=8, time_in_force=Tif.IOC)
    close = Request(kind=Kind.MARKET, side=SELL, flags=Flag.CLOSE_POSITION, parent_id=GROUP)
    _, child = d.place(entry, close)
    d.print(1003, 100, 3, SELL)
    d.side.clock(1004)
    assert d.last(child, PESSIMISTIC) == "CANCELED:BY_PARENT"
    assert d.last(child) == "TAKING"


def test_the_trigger_of_a_child_is_not_tested_at_its_release(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    _, _, loss = d.place(*bracket(99, (105, 101), 4))
    d.print(1001, 98, 9, SELL)
    assert d.last(loss) == "WAITING"
    d.print(1002, 98, 9, SELL)
    assert d.last(loss) == "TAKING"


def test_a_pair_reduces_each_other_by_what_fills(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    low, high = d.place(
        Request(qty_lots=6, price_ticks=98), Request(qty_lots=6, price_ticks=97, sibling_id=GROUP)
    )
    d.print(1001, 98, 2, SELL)
    assert [row[7] for row in d.events(high, Change.REDUCED)] == [2]
    assert [row[5] for row in d.events(high, Change.REDUCED)] == [4]
    d.print(1002, 96, 9, SELL)
    assert d.filled(low) == (6,)
    assert d.filled(high) == (0,)
    assert d.last(high) == "CANCELED:BY_SIBLING"


def test_links_are_checked(desk: MakeDesk) -> None:
    d = desk()
    d.print(1000, 100, 5, BUY)
    one = d.limit(BUY, 1, 90)
    d.place(Request(qty_lots=1, price_ticks=91, sibling_id=one))
    for asked, status in (
        (Request(qty_lots=1, price_ticks=9, parent_id=99), "UNKNOWN_ORDER"),
        (Request(qty_lots=1, price_ticks=9, sibling_id=99), "UNKNOWN_ORDER"),
        (Request(qty_lots=1, price_ticks=9, sibling_id=GROUP), "UNKNOWN_ORDER"),
        (Request(qty_lots=1, price_ticks=9, sibling_id=one), "BAD_ORDER"),
        (Request(qty_lots=1, price_ticks=9, side=SELL, sibling_id=one), "BAD_ORDER"),
    ):
        assert d.refusal(asked) == status
