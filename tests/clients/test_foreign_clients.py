"""Clients that others wrote take the venue for Binance."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from flowtape.replay.generate import GeneratorConfig, generate
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.stream.trades import SELL, Trades

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / "build" / "clients" / "bin" / "python"
COUNT = 200
MARKET = GeneratorConfig.preset("fine")
TRADES = Trades.concat(list(generate(MARKET, seed=3, trades_count=100_000)))

pytestmark = [
    pytest.mark.deep,
    pytest.mark.skipif(not PYTHON.exists(), reason="`make clients` installs them"),
]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    instrument = replace(MARKET.instrument, symbol="BTCUSDT")
    add_trades(TapeStore(tmp_path), instrument, [TRADES])
    flowtape = Path(sys.executable).with_name("flowtape")
    words = [flowtape, "serve", "BTCUSDT", "--tapes", tmp_path, "--port", "0", "--speed", "20"]
    server = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
    )
    try:
        assert server.stdout is not None
        said = next(line for line in server.stdout if "REST http://" in line)
        yield said.partition("REST http://")[2].strip()
    finally:
        server.terminate()
        server.communicate(timeout=20)


def expected(first: int) -> list[list[object]]:
    rows = []
    for at in range(first, first + COUNT):
        price = Decimal(int(TRADES.price_ticks[at])).scaleb(-MARKET.instrument.price_decimals)
        qty = Decimal(int(TRADES.qty_lots[at])).scaleb(-MARKET.instrument.qty_decimals)
        ts_ms = int(TRADES.ts_us[at]) // 1_000
        maker = bool(TRADES.side[at] == SELL)
        rows.append([int(TRADES.agg_id[at]), f"{price:.8f}", f"{qty:.8f}", ts_ms, maker])
    return rows


@pytest.mark.parametrize("client", ["sdk_spot_client", "python_binance_client", "ccxt_client"])
def test_a_client_gets_what_the_tape_has(address: str, client: str) -> None:
    words = [PYTHON, HERE / f"{client}.py", address, str(COUNT)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    first = int(found["stream"][0][0]) - int(TRADES.agg_id[0])
    assert found["stream"] == expected(first)
    assert found["rest"] == expected(first)
    assert found["symbol"] == "BTCUSDT"
    # The bars before the one that is open are as the trades make them.
    assert len(found["bars"]) >= 2
    for opened, *prices, _volume in found["bars"][:-1]:
        own = TRADES.ts_us // 1_000_000 == int(opened) // 1_000
        ticks = TRADES.price_ticks[own]
        made = (ticks[0], ticks.max(), ticks.min(), ticks[-1])
        scale = MARKET.instrument.price_decimals
        assert [Decimal(price) for price in prices] == [
            Decimal(int(t)).scaleb(-scale) for t in made
        ]
