"""Orders that are refused because the venue changed its rules while a session ran."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flowtape.connectors.venue.faults import Refilter
from flowtape.connectors.venue.server import VenueServer
from flowtape.stream.execution import VenueRules
from flowtape.stream.inputs import InputKind, Inputs
from flowtape.stream.session import Session
from flowtape.stream.venue_rules import RULE_NAMES
from tests.cli.test_live import command, flowtape, run_until, venue

OUTSIDER = Path(__file__).parents[2] / "docs" / "verify_session.py"
STRATEGY = '''
from typing import ClassVar

from flowtape.stream.config import Decide
from flowtape.stream.errors import KernelError
from flowtape.stream.strategy import Market, Orders, Strategy


class Least(Strategy):
    """Buys the least of a few sizes that the venue takes."""

    decide: ClassVar[Decide] = Decide(trades_count=20)

    def on_decision(self, market: Market, orders: Orders) -> None:
        for lots in (1_000, 3_000, 5_000):
            try:
                orders.buy(lots)
                return
            except KernelError as error:
                assert error.status == "LOT_SIZE"
'''


def least(server: VenueServer, qty: str) -> None:
    """Have the venue take no less than a quantity, from now on."""
    server.inject(Refilter(filter="LOT_SIZE", values={"minQty": qty}))


def own_inputs(session: Session) -> Inputs:
    return Inputs.concat(list(session.inputs()))


def placed_after(session: Session, inputs: Inputs) -> list[int]:
    """Return the sizes asked for between one change of the rules and the next."""
    changes = np.flatnonzero(inputs.kind == InputKind.INSTRUMENT) + 1
    commands = session.commands()
    spans = np.searchsorted(changes, commands["input"], "right")
    lots = commands["request"]["qty_lots"]
    sizes = [set(lots[spans == span].tolist()) for span in range(len(changes) + 1)]
    assert all(len(some) == 1 for some in sizes), sizes
    return [some.pop() for some in sizes]


def wait_for(session: Path, lots: int) -> None:
    ends_s = time.monotonic() + 20
    while time.monotonic() < ends_s:
        if lots in Session.open(session).commands()["request"]["qty_lots"].tolist():
            return
        time.sleep(0.1)
    pytest.fail(f"no order of {lots} lots was asked for")


def test_orders_obey_the_rules_there_are_now_also_behind_a_kill(tmp_path: Path) -> None:
    strategy = tmp_path / "least.py"
    strategy.write_text(STRATEGY)
    home = ("--home", tmp_path)
    live = ("live", "BTCUSDT", "--no-dashboard", *home)
    with venue(speed=1.0) as server:
        process = subprocess.Popen(
            command(server, *live, "--strategy", f"{strategy}:Least", "--rules-every", "200ms"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert "following BTCUSDT" in process.stdout.readline()
            (folder,) = (tmp_path / "sessions").iterdir()
            wait_for(folder, 1_000)
            least(server, "0.02")
            wait_for(folder, 3_000)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            _, err = process.communicate()
        assert "BTCUSDT: the venue's rules changed: least quantity 0.02" in err
        least(server, "0.04")
        code, out = run_until(
            command(server, *live, "--resume"), "goes on behind input", 2.0, signal.SIGINT
        )
    assert code == 0
    session = Session.open(folder)
    (settings,) = session.genesis.config.markets
    assert settings.rules is not None
    assert settings.rules.qty_min_lots == 1
    assert settings.rules.notional_min_ticklots == 5 * 10**7
    inputs = own_inputs(session)
    changes = inputs.take(np.flatnonzero(inputs.kind == InputKind.INSTRUMENT))
    number = RULE_NAMES.index("qty_min_lots")
    assert changes.price_ticks.tolist() == [number, number]
    assert changes.qty_lots.tolist() == [2_000, 4_000]
    assert placed_after(session, inputs) == [1_000, 3_000, 5_000]
    notes = map(json.loads, (folder / "meta" / "feed.jsonl").read_text().splitlines())
    assert [note["rules"] for note in notes if "rules" in note] == [{"qty_min_lots": 2_000}]
    (digest,) = re.findall("session [0-9A-Z]{26} digest ([0-9a-f]{64})", out)
    for words in (
        ("verify", "last"),
        ("verify", "last", "--deep"),
        ("replay", "last", "--no-dashboard"),
    ):
        again = flowtape(*words, *home)
        assert again.returncode == 0, again.stderr
        assert digest in again.stdout
    alone = subprocess.run(
        [sys.executable, str(OUTSIDER), str(folder)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr


def test_a_recording_has_the_rules_it_was_made_under(tmp_path: Path) -> None:
    with venue(speed=1.0) as server:
        least(server, "0.03")
        done = subprocess.run(
            command(server, "record", "BTCUSDT", "--for", "1s", "--out", tmp_path),
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    (settings,) = Session.open(folder).genesis.config.markets
    assert settings.rules is not None
    assert settings.rules.qty_min_lots == 3_000
    assert settings.rules != VenueRules()
    assert InputKind.INSTRUMENT not in own_inputs(Session.open(folder)).kind
