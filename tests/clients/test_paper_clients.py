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
    bought: dict[str, Any],
    spent: dict[str, Any],
    trades: list[dict[str, Any]],
    balance: dict[str, Decimal],
) -> None:
    """Both orders are filled as their trades say, and the balance is what they leave."""
    assert Decimal(bought["executedQty"]) == QTY
    # whole lots for 100 USDT at the last price, which moves a little
    assert abs(Decimal(spent["cummulativeQuoteQty"]) - 100) < 2
    assert Decimal(spent["origQuoteOrderQty"]) == 100
    for order in (bought, spent):
        assert order["status"] == "FILLED"
        own = [trade for trade in trades if trade["orderId"] == order["orderId"]]
        assert sum(Decimal(trade["qty"]) for trade in own) == Decimal(order["executedQty"])
        paid = sum(Decimal(trade["quoteQty"]) for trade in own)
        assert Decimal(order["cummulativeQuoteQty"]) == paid
    fees = sum(Decimal(trade["commission"]) for trade in trades)
    assert {trade["commissionAsset"] for trade in trades} == {"USDT"}
    paid = sum(Decimal(trade["quoteQty"]) for trade in trades)
    qty = sum(Decimal(trade["qty"]) for trade in trades)
    assert balance == {"BTC": qty, "USDT": CASH - paid - fees}


def test_python_binance_trades(venue: list[str]) -> None:
    found = traded("paper_python_binance", venue)
    balances = found["account"]["balances"]
    check_bought(
        *(found["bought"], found["spent"]),
        found["trades"],
        {one["asset"]: Decimal(one["free"]) + Decimal(one["locked"]) for one in balances},
    )
    fills = len(found["bought"]["fills"])
    first_ids = [trade["id"] for trade in found["trades"]][:fills]
    assert [fill["tradeId"] for fill in found["bought"]["fills"]] == first_ids
    resting = found["resting"]
    assert (resting["status"], resting["clientOrderId"]) == ("NEW", "mine-1")
    assert [order["orderId"] for order in found["opened"]] == [resting["orderId"]]
    assert found["asked"]["orderId"] == resting["orderId"]
    assert (found["twice"], found["gone"]) == (-2010, -2011)
    assert found["canceled"]["status"] == "CANCELED"
    assert found["canceled"]["origClientOrderId"] == "mine-1"
    assert found["status"]["status"] == "FILLED"
    assert [order["status"] for order in found["orders"]] == [
        *("FILLED", "CANCELED", "FILLED", "NEW", "NEW", "CANCELED", "NEW"),
    ]
    reports = [event for event in found["events"] if event["e"] == "executionReport"]
    kinds = [report["x"] for report in reports]
    assert kinds == ["NEW", *["TRADE"] * fills, "NEW", "CANCELED"]
    assert [report["t"] for report in reports[1 : fills + 1]] == first_ids
    assert reports[-1]["C"] == "mine-1"
    assert {event["e"] for event in found["events"]} == {
        "executionReport",
        "outboundAccountPosition",
    }
    pair = found["pair"]
    assert (pair["listOrderStatus"], len(pair["orderReports"])) == ("EXECUTING", 2)
    assert found["opened_lists"] == [found["asked_list"]]
    assert found["asked_list"]["orderListId"] == pair["orderListId"]
    (told,) = found["lists"]
    assert (told["g"], told["l"]) == (pair["orderListId"], "EXEC_STARTED")
    assert found["replaced"]["newOrderResponse"]["price"] == "11000.00000000"
    assert found["not_there"] == -2022


def test_ccxt_trades(venue: list[str]) -> None:
    found = traded("paper_ccxt", venue)
    balance = {
        one["asset"]: Decimal(one["free"]) + Decimal(one["locked"]) for one in found["balance"]
    }
    # cancel-replace, an order list and all that was left canceled
    assert (found["moved"]["price"], found["replaced"]) == ("11000.00000000", "canceled")
    assert found["lists"] == [found["pair"]["orderListId"]]
    assert (found["ended"], found["left"]) == (2, 0)
    check_bought(found["bought"], found["spent"], found["trades"], balance)
    assert found["watched"] == [[found["called"], "open"]]
    assert (found["status"], found["filled"]) == ("closed", float(QTY))
    assert sorted(found["opened"]) == sorted(found["ids"])
    assert found["after"] == "canceled"
    assert "insufficient balance" in found["refused"]


def test_the_official_sdk_trades(venue: list[str]) -> None:
    found = traded("paper_sdk_spot", venue)
    balance = {asset: Decimal(free) + Decimal(locked) for asset, free, locked in found["balance"]}
    check_bought(found["bought"], found["spent"], found["trades"], balance)
    assert (found["pair"]["listStatusType"], found["ended"]) == ("EXEC_STARTED", "ALL_DONE")
    assert found["replaced"]["cancelResponse"]["status"] == "CANCELED"
    assert found["amended"]["amendedOrder"]["qty"] == "0.00100000"
    # two filled, one canceled, two of the list, and two of the replacement count
    assert [interval for interval, _ in found["counts"]] == ["SECOND", "DAY"]
    assert found["counts"][1][1] == 5
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
