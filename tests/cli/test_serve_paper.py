"""`flowtape serve --paper` as a process of its own."""

import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore
from flowtape.stream.instrument import Instrument
from flowtape.stream.trades import Trades

COUNT = 2_000
START_US = 1_767_225_600_000_000


@pytest.fixture
def tapes(tmp_path: Path) -> Path:
    store = TapeStore(tmp_path / "tapes")
    c = np.arange(COUNT)
    trades = Trades(
        *(500 + c, START_US + 10_000 * c, 6_500_000 + c % 5, np.full(COUNT, 50_000)),
        *(900 + c, 900 + c, np.where(c % 2, 1, -1).astype(np.int8)),
    )
    for symbol, market in (("BTCUSDT", "spot"), ("ETHBTC", "spot"), ("BTCUSDT", "um")):
        add_trades(store, Instrument(symbol, market, 2, 5), iter([trades]))
    return store.root


def words(*said: str | Path) -> list[str]:
    return [sys.executable, "-u", "-m", "flowtape.cli.main", "serve", *map(str, said)]


def test_a_paper_account_has_the_cash_and_fees_that_were_asked_for(tapes: Path) -> None:
    options = ["--paper", "--cash", "2500", "--taker-fee-ppm", "400", "--latency", "1ms"]
    said = words("spot/BTCUSDT", "--tapes", tapes, "--port", "0", "--no-wait", *options)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(said, stdout=subprocess.PIPE, text=True, env=env) as server:
        try:
            assert server.stdout is not None
            found = []
            for mark in ("REST http://", "API key ", "API secret "):
                line = next(line for line in server.stdout if mark in line)
                found.append(line.partition(mark)[2].strip())
            address, key, secret = found
            assert key != secret

            def ask(method: str, path: str, params: str) -> dict[str, object]:
                text = f"{params}&timestamp={time.time_ns() // 1_000_000}"
                signed = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
                url = f"http://{address}/api/v3/{path}?{text}&signature={signed}"
                query = urllib.request.Request(url, method=method, headers={"X-MBX-APIKEY": key})
                with urllib.request.urlopen(query, timeout=10) as answer:
                    return json.loads(answer.read())

            account = ask("GET", "account", "omitZeroBalances=true")
            assert account["balances"] == [
                {"asset": "USDT", "free": "2500.00000000", "locked": "0.00000000"}
            ]
            assert account["commissionRates"]["taker"] == "0.00040000"
            order = ask("POST", "order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01")
            assert order["status"] == "FILLED"
        finally:
            server.terminate()
            server.wait(20)


@pytest.mark.parametrize(
    ("refs", "wrong"),
    [
        (["um/BTCUSDT"], "--paper trades spot"),
        (["spot/BTCUSDT", "ETHBTC"], "a paper account has one quote asset"),
    ],
)
def test_what_no_paper_account_can_hold_is_said(tapes: Path, refs: list[str], wrong: str) -> None:
    said = words(*refs, "--tapes", tapes, "--port", "0", "--paper")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(said, capture_output=True, text=True, env=env, check=False, timeout=30)
    assert done.returncode == 2
    assert wrong in done.stderr
