"""Bots that others wrote for Binance trade on a paper account as they are."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flowtape.replay.generate import GeneratorConfig, generate
from flowtape.replay.tape_writer import add_trades
from flowtape.replay.tapes import TapeStore

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / "build" / "clients" / "bin" / "python"
MARKET = GeneratorConfig.preset("fine")
CASH = Decimal(100_000)
QTY = Decimal("0.002")

pytestmark = [
    pytest.mark.deep,
    pytest.mark.skipif(not PYTHON.exists(), reason="`make clients` installs them"),
]


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[list[str]]:
    """A venue as a process: its address, and the keys it has printed."""
    instrument = replace(MARKET.instrument, symbol="BTCUSDT")
    add_trades(TapeStore(tmp_path), instrument, generate(MARKET, seed=3, trades_count=100_000))
    flowtape = Path(sys.executable).with_name("flowtape")
    words = [
        *(flowtape, "serve", "BTCUSDT", "--paper", "--cash", str(CASH), "--tapes", tmp_path),
        *("--port", "0", "--speed", "10", "--no-wait"),
    ]
    server = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
    )
    try:
        assert server.stdout is not None
        said = []
        for mark in ("REST http://", "API key ", "API secret "):
            line = next(line for line in server.stdout if mark in line)
            said.append(line.partition(mark)[2].strip())
        yield said
    finally:
        server.terminate()
        server.communicate(timeout=20)


def traded(client: str, venue: list[str]) -> dict[str, Any]:
    words = [PYTHON, HERE / f"{client}.py", *venue]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_bought(
    order: dict[str, Any], trades: list[dict[str, Any]], balance: dict[str, Decimal]
) -> None:
    """The order is filled as its trades say, and the balance is what they leave."""
    assert order["status"] == "FILLED"
    assert Decimal(order["executedQty"]) == QTY
    assert sum(Decimal(trade["qty"]) for trade in trades) == QTY
    paid = sum(Decimal(trade["quoteQty"]) for trade in trades)
    assert Decimal(order["cummulativeQuoteQty"]) == paid
    fees = sum(Decimal(trade["commission"]) for trade in trades)
    assert {trade["commissionAsset"] for trade in trades} == {"USDT"}
    assert balance == {"BTC": QTY, "USDT": CASH - paid - fees}


def test_python_binance_trades(venue: list[str]) -> None:
    found = traded("paper_python_binance", venue)
    balances = found["account"]["balances"]
    check_bought(
        found["bought"], found["trades"], {one["asset"]: Decimal(one["free"]) for one in balances}
    )
    assert [fill["tradeId"] for fill in found["bought"]["fills"]] == [
        trade["id"] for trade in found["trades"]
    ]
    resting = found["resting"]
    assert (resting["status"], resting["clientOrderId"]) == ("NEW", "mine-1")
    assert [order["orderId"] for order in found["opened"]] == [resting["orderId"]]
    assert found["asked"]["orderId"] == resting["orderId"]
    assert (found["twice"], found["gone"]) == (-2010, -2011)
    assert found["canceled"]["status"] == "CANCELED"
    assert found["canceled"]["origClientOrderId"] == "mine-1"
    assert found["status"]["status"] == "FILLED"
    assert [order["status"] for order in found["orders"]] == ["FILLED", "CANCELED"]
    reports = [event for event in found["events"] if event["e"] == "executionReport"]
    kinds = [report["x"] for report in reports]
    fills = len(found["trades"])
    assert kinds == ["NEW", *["TRADE"] * fills, "NEW", "CANCELED"]
    assert [report["t"] for report in reports[1 : fills + 1]] == [
        trade["id"] for trade in found["trades"]
    ]
    assert reports[-1]["C"] == "mine-1"
    assert {event["e"] for event in found["events"]} == {
        "executionReport",
        "outboundAccountPosition",
    }


def test_ccxt_trades(venue: list[str]) -> None:
    found = traded("paper_ccxt", venue)
    balance = {
        one["asset"]: Decimal(one["free"]) + Decimal(one["locked"]) for one in found["balance"]
    }
    check_bought(found["bought"], found["trades"], balance)
    assert found["watched"] == [[found["called"], "open"]]
    assert (found["status"], found["filled"]) == ("closed", float(QTY))
    assert sorted(found["opened"]) == sorted(found["ids"])
    assert found["after"] == "canceled"
    assert "insufficient balance" in found["refused"]


def test_the_official_sdk_trades(venue: list[str]) -> None:
    found = traded("paper_sdk_spot", venue)
    balance = {asset: Decimal(free) for asset, free, _ in found["balance"]}
    check_bought(found["bought"], found["trades"], balance)
    assert found["canceled"] == "CANCELED"
    assert found["asked"] == [
        "FILLED",
        found["bought"]["executedQty"],
        found["bought"]["cummulativeQuoteQty"],
    ]


def test_a_client_with_other_keys_is_refused(venue: list[str]) -> None:
    address, key, secret = venue
    words = [PYTHON, HERE / "paper_sdk_spot.py", address, key[::-1], secret]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode != 0
    assert "Invalid API-key, IP, or permissions for action." in done.stderr
