"""Live over the venue, with faults of the network and kills: what is kept leads to itself again."""

import re
import signal
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np

from flowtape.connectors.venue.faults import (
    Abort,
    Close,
    Delay,
    Drop,
    Duplicate,
    Garble,
    RestFault,
    Void,
)
from flowtape.connectors.venue.listing import Listing
from flowtape.connectors.venue.server import VenueServer
from flowtape.stream.session import Session
from flowtape.stream.trades import Trades
from tests.cli.command_line import flowtape
from tests.cli.test_live import (
    FIRST_ID,
    INSTRUMENT,
    command,
    kill_after,
    run_until,
    served,
    trades,
)

COUNT = 4_000
OTHER = replace(INSTRUMENT, symbol="ETHUSDT")
SHIFT = 1_000_000

FAULTS = [
    Drop(FIRST_ID + 300, FIRST_ID + 340),
    Duplicate(FIRST_ID + 420, 3),
    Delay(FIRST_ID + 500, 9),
    Garble(FIRST_ID + 560, "truncated"),
    Garble(FIRST_ID + 570, "binary"),
    Abort(FIRST_ID + 700),
    RestFault(status=503, count=2, at=FIRST_ID + 700),
    Close(FIRST_ID + 1_100, 1012),
    Drop(FIRST_ID + 1_300, FIRST_ID + 1_302, everywhere=True),
    Void(FIRST_ID + 1_500, FIRST_ID + 1_501),
]


def other_trades() -> Trades:
    """The other symbol's: the same market under other ids, a little later."""
    own = trades(COUNT)
    ids = own.agg_id + SHIFT
    return replace(own, agg_id=ids, first_id=ids, last_id=ids, ts_us=own.ts_us + 777)


def faulty_venue() -> AbstractContextManager[VenueServer]:
    """A venue of two symbols."""
    listed = [Listing(INSTRUMENT, trades(COUNT)), Listing(OTHER, other_trades())]
    return served(VenueServer(listed, speed=1.0, faults=FAULTS))


def test_live_with_faults_and_kills_leads_to_itself_again(tmp_path: Path) -> None:
    home = ("--home", tmp_path)
    live = ("live", "BTCUSDT", "ETHUSDT", "--no-dashboard", *home)
    strategy = ("--strategy", "tests.stream.strategies:Flipper", "--set", "every=9")
    with faulty_venue() as server:
        kill_after(command(server, *live, *strategy), 1.5)
        kill_after(command(server, *live, "--resume"), 2.5)
        code, out = run_until(
            command(server, *live, "--resume"), "goes on behind input", 7.0, signal.SIGINT
        )
    assert code == 0
    (folder,) = (tmp_path / "sessions").iterdir()
    session = Session.open(folder)
    letters = (folder / "meta" / "dead_letters.jsonl").read_text()
    assert "a binary frame" in letters
    assert '"symbol": "BTCUSDT"' in letters
    assert '"trades": ' in (folder / "meta" / "feed.jsonl").read_text()
    lost = set(range(FIRST_ID + 1_300, FIRST_ID + 1_303))
    void = {FIRST_ID + 1_500, FIRST_ID + 1_501}
    assert [(gap.symbol, gap.from_id, gap.to_id) for gap in session.gaps()] == [
        ("BTCUSDT", min(lost), max(lost))
    ]
    pieces = list(session.inputs())
    for number, sent in enumerate((trades(COUNT), other_trades())):
        got = Trades.concat([piece.trades(number) for piece in pieces])
        first, last = (int(got.agg_id[at]) for at in (0, -1))
        wanted = (sent.agg_id >= first) & (sent.agg_id <= last)
        if number == 0:
            assert last > FIRST_ID + 1_600
            wanted &= ~np.isin(sent.agg_id, sorted(lost | void))
        assert got.agg_id.tolist() == sent.agg_id[wanted].tolist()
        for name in ("price_ticks", "qty_lots", "side"):
            assert np.array_equal(getattr(got, name), getattr(sent, name)[wanted])
        # Streams say milliseconds unless they are asked for more.
        assert np.array_equal(got.ts_us // 1_000, sent.ts_us[wanted] // 1_000)
    (digest,) = re.findall("session [0-9A-Z]{26} digest ([0-9a-f]{64})", out)
    for words in (
        ("verify", "last", "--deep"),
        ("verify", "last", "--matrix"),
        ("replay", "last", "--no-dashboard", "--speed", "max"),
        ("backtest", "last", "--out", tmp_path / "report"),
    ):
        again = flowtape(*words, *home)
        assert again.returncode == 0, again.stderr
        assert digest in again.stdout, words
