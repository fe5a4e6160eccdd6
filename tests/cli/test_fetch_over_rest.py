"""What an archive lacks is fetched over REST."""

from datetime import date, timedelta

import numpy as np

from flowtape.connectors.venue.archive_tree import ArchiveTree
from flowtape.replay.tapes import TapeStore
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades
from tests.cli.fetch_runs import TODAY, WEEK, fetch, found, joined, tape_of
from tests.connectors.archive_bench import (
    BTC,
    DAY_ROWS,
    ArchiveBench,
    Fault,
    day_trades,
    days,
    same,
    without,
)


async def test_what_the_archive_lacks_comes_over_rest(tmp_path):
    """A hole, a day cut short, a day that is not served, and both ends of the range."""

    def of_day(day):
        if day not in WEEK or day == WEEK[3]:
            return None
        trades = day_trades(day)
        first_id = int(trades.agg_id[0])
        holes = {
            WEEK[0]: range(first_id, first_id + 30),
            WEEK[1]: range(first_id + 100, first_id + 103),
            WEEK[5]: range(first_id + 300, first_id + DAY_ROWS),
            WEEK[6]: range(first_id + 390, first_id + DAY_ROWS),
        }
        return without(trades, holes.get(day, range(0)))

    around = joined([WEEK[0] - timedelta(days=1), *WEEK, WEEK[6] + timedelta(days=1)])
    async with ArchiveBench(ArchiveTree({BTC: of_day}), around) as bench:
        alone = found(await fetch(bench, tmp_path, rest=False))
        assert not alone.complete
        assert [gap.to_id - gap.from_id + 1 for gap in alone.missing] == [3, DAY_ROWS, 100]
        assert alone.states[WEEK[3]] == "unserved"
        bench.asked.clear()
        filled = found(await fetch(bench, tmp_path))
        assert filled.complete
        assert filled.states[WEEK[3]] == "refilled"
        assert filled.refilled.trade_count == 3 + DAY_ROWS + 100 + 30 + 10
        assert filled.refilled.problem == ""
        assert not bench.requests(".zip")
        assert same(tape_of(tmp_path), joined(WEEK))


async def test_ids_that_rest_lacks_too_stay_missing(tmp_path):
    lost = range(int(day_trades(WEEK[1]).agg_id[0]) + 5, int(day_trades(WEEK[1]).agg_id[0]) + 25)
    half = range(lost.start, lost.start + 10)
    tree = ArchiveTree({BTC: lambda day: without(day_trades(day), lost) if day in WEEK else None})
    async with ArchiveBench(tree, without(joined(WEEK), half)) as bench:
        result = found(await fetch(bench, tmp_path))
        assert not result.complete
        assert result.refilled.trade_count == 10
        (gap,) = result.missing
        assert (gap.from_id, gap.to_id) == (half.start, half.stop - 1)


async def test_many_small_holes_take_few_queries(tmp_path):
    odd = day_trades(WEEK[0])
    ids = set(odd.agg_id[1:-1:2].tolist())

    def of_day(day):
        trades = day_trades(day)
        for agg_id in ids if day == WEEK[0] else ():
            trades = without(trades, range(agg_id, agg_id + 1))
        return trades

    async with ArchiveBench(ArchiveTree({BTC: of_day}), joined(WEEK)) as bench:
        result = found(await fetch(bench, tmp_path, WEEK[:2]))
        assert result.complete
        assert result.refilled.trade_count == len(ids)
        assert same(tape_of(tmp_path), joined(WEEK[:2]))
        assert len(bench.requests("aggTrades")) <= 4


async def test_times_from_rest_are_no_finer_than_those_of_old_files(tmp_path):
    day = date(2024, 6, 1)
    trades = day_trades(day)
    lost = range(int(trades.agg_id[50]), int(trades.agg_id[60]))
    tree = ArchiveTree({BTC: lambda asked: without(trades, lost) if asked == day else None})
    exact = Trades(
        trades.agg_id, trades.ts_us + 789, *(getattr(trades, n) for n in Trades.__slots__[2:])
    )
    async with ArchiveBench(tree, exact) as bench:
        assert found(await fetch(bench, tmp_path, [day])).complete
    assert same(tape_of(tmp_path), trades)


async def test_rest_that_does_not_answer_is_said_and_harms_nothing(tmp_path):
    tree = ArchiveTree({BTC: lambda day: None if day == WEEK[1] else day_trades(day)})
    async with ArchiveBench(tree) as bench:
        result = found(await fetch(bench, tmp_path, WEEK[:3]))
        assert "answered 404" in result.refilled.problem
        assert result.days_that("unserved") == [WEEK[1]]
        assert [gap.to_id - gap.from_id + 1 for gap in result.missing] == [DAY_ROWS]
        assert not result.complete


async def test_rest_may_fail_for_a_while_or_have_finer_numbers(tmp_path):
    """A tape's grid is as coarse as its trades allow, and a missing one may need a finer one."""
    fine = joined(WEEK)
    lost = range(int(fine.agg_id[500]), int(fine.agg_id[503]))
    inside = (fine.agg_id >= lost.start) & (fine.agg_id < lost.stop)
    coarse = Trades(
        fine.agg_id,
        fine.ts_us,
        np.where(inside, fine.price_ticks, fine.price_ticks // 100 * 100),
        np.where(inside, fine.qty_lots, fine.qty_lots // 1_000 * 1_000 + 1_000),
        *(getattr(fine, name) for name in Trades.__slots__[4:]),
    )

    def of_day(day):
        row = WEEK.index(day) * DAY_ROWS
        return without(coarse.slice(row, row + DAY_ROWS), lost)

    async with ArchiveBench(ArchiveTree({BTC: of_day}), coarse) as bench:
        bench.faults = [Fault("aggTrades", status=503)]
        assert found(await fetch(bench, tmp_path)).complete
    assert TapeStore(tmp_path).open("BTCUSDT").instrument == BTC
    assert same(tape_of(tmp_path), coarse)


async def test_what_came_over_rest_is_kept_when_it_fails_later(tmp_path):
    ids = [int(day_trades(day).agg_id[100]) for day in (WEEK[0], WEEK[5])]

    def of_day(day):
        trades = day_trades(day)
        for first_id in ids:
            trades = without(trades, range(first_id, first_id + 10))
        return trades if day in WEEK else None

    async with ArchiveBench(ArchiveTree({BTC: of_day}), joined(WEEK)) as bench:
        bench.faults = [Fault("aggTrades"), Fault("aggTrades", status=400)]
        result = found(await fetch(bench, tmp_path))
        assert result.refilled.trade_count == 10
        assert "answered 400" in result.refilled.problem
        assert [gap.from_id for gap in result.missing] == ids[1:]
        assert found(await fetch(bench, tmp_path)).complete
    assert same(tape_of(tmp_path), joined(WEEK))


async def test_futures_are_refilled_but_old_ends_are_not_asked_about(tmp_path):
    """REST has the last two days of futures only."""
    future = Instrument("BTCUSDT", "um", 2, 5)
    newest = days(3, TODAY - timedelta(days=3))
    lost = range(int(day_trades(newest[1]).agg_id[7]), int(day_trades(newest[1]).agg_id[9]))
    tree = ArchiveTree({future: lambda day: without(day_trades(day), lost)})
    exact = joined(newest)
    coarse = Trades(
        exact.agg_id,
        exact.ts_us // 1_000 * 1_000,
        *(getattr(exact, name) for name in Trades.__slots__[2:]),
    )
    async with ArchiveBench(tree, exact) as bench:
        assert found(await fetch(bench, tmp_path / "old", days(3), market="um")).complete
        assert not bench.requests("aggTrades")
        assert found(await fetch(bench, tmp_path / "new", newest, market="um")).complete
        assert bench.requests("aggTrades")
    assert same(tape_of(tmp_path / "new"), coarse)
